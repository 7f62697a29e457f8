"""TensorRT's Python bindings, of 8.6, 10 and 11 alike: build, deserialise, run.

Sources: NVIDIA/TensorRT headers and bindings at v8.6.1, v10.13 and v11.1 (release notes,
"Migrating from 10.x to 11.x"). No bit position is written down here: what a flag is called stays,
where it lies moves. Version 8 picks precisions by builder flags; from 10 on networks are strongly
typed, so that the tensors themselves are FP16 or quantised.
"""

from __future__ import annotations

import array
import ctypes
import glob
import importlib
import os
import struct
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .. import loading
from ..cuda.driver_api import Driver
from .classifier import CLASSES, FILTERS, INNER, INPUT_SHAPE, KERNEL, POOL, STRIDE, Network

WORKSPACE_BYTES = 1 << 28
MODULES = ("tensorrt", "tensorrt_bindings")
"""The wheels' bindings come without the package `tensorrt`, which only imports them."""
UNTOUCHED = 0xFF  # four of these are a NaN: an output that nobody wrote shows


class TensorRtError(Exception):
    """A step that TensorRT did not take; its own last words are in the text."""


def load(sites: Sequence[str]) -> Any:  # noqa: ANN401 - the bindings' module
    """Return the bindings' module from one of the folders; the libraries of wheels come first.

    Raises:
        ImportError: when there is none, or none for this Python.
    """
    for site in sites:
        for path in sorted(glob.glob(os.path.join(site, "tensorrt_libs", "libnvinfer.so.*"))):
            loading.announce(path)
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    sys.path[:0] = [site for site in sites if site not in sys.path]
    errors = []
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            errors.append(str(error))
    python = "%d.%d" % sys.version_info[:2]
    raise ImportError("Python %s: %s" % (python, "; ".join(dict.fromkeys(errors))))


class Bindings:
    """One imported TensorRT."""

    def __init__(self, trt: Any) -> None:  # noqa: ANN401
        self.trt = trt
        self.version = str(trt.__version__)
        self.major = int(self.version.split(".")[0])
        self.said: List[str] = []
        self.log = self._logger()

    def _logger(self) -> Any:  # noqa: ANN401
        trt, said = self.trt, self.said

        class Log(trt.ILogger):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
                # Severities are enumerations; below WARNING it is chatter.
                if severity in (trt.Logger.INTERNAL_ERROR, trt.Logger.ERROR):
                    said.append(str(message).strip())

        return Log()

    def why(self, what: str) -> TensorRtError:
        """Return the error for a step that was not taken."""
        return TensorRtError("; ".join([what, *self.said[-2:]])[:600])

    def precisions(self) -> List[str]:
        """Return what can be asked for: FP8 has a name from 8.6 on, and layers for it from 10."""
        found = ["fp32", "fp16", "int8"]
        if self.major >= 10 and hasattr(self.trt.DataType, "FP8"):
            found.append("fp8")
        return found

    def build(self, numbers: Network, precision: str, level: int) -> bytes:
        """Return the serialised engine.

        Args:
            numbers: The network's weights.
            precision: One of `precisions()`.
            level: How hard the builder tries, 0 to 5.

        Raises:
            TensorRtError: when the builder returns none.
        """
        trt = self.trt
        del self.said[:]
        builder = trt.Builder(self.log)
        flags, names = 0, trt.NetworkDefinitionCreationFlag
        if self.major <= 8:
            flags |= 1 << int(names.EXPLICIT_BATCH)
        elif self.major == 10:
            flags |= 1 << int(names.STRONGLY_TYPED)
        network = builder.create_network(flags)
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
        if hasattr(config, "builder_optimization_level"):
            config.builder_optimization_level = level
        if hasattr(trt.BuilderFlag, "TF32"):
            config.clear_flag(trt.BuilderFlag.TF32)  # FP32 means FP32
        if self.major <= 8 and precision in ("fp16", "int8"):
            config.set_flag(getattr(trt.BuilderFlag, precision.upper()))
        drawn = _Drawn(self, network, precision)
        drawn.draw(numbers)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise self.why("the builder returned no engine")
        content = bytes(plan)
        if not content:
            raise self.why("the engine is empty")
        return content


class _Drawn:
    """The classifier, drawn into a network definition; holds the weights until it is built."""

    def __init__(self, bindings: Bindings, network: Any, precision: str) -> None:  # noqa: ANN401
        self.trt = bindings.trt
        self.network = network
        self.precision = precision
        # Strong typing: FP16 tensors where FP16 is meant. Version 8 lets the builder choose.
        self.half = precision == "fp16" and bindings.major >= 10
        self.keep: List[Any] = []

    def draw(self, numbers: Network) -> None:
        trt, network = self.trt, self.network
        image = network.add_input("image", trt.DataType.FLOAT, INPUT_SHAPE)
        if self.half:
            image = network.add_cast(image, trt.DataType.HALF).get_output(0)
        image = self._quantised(image, ("int8",))
        shape = (FILTERS, INPUT_SHAPE[1], KERNEL, KERNEL)
        if self.precision == "int8":
            layer = network.add_convolution_nd(image, FILTERS, (KERNEL, KERNEL), trt.Weights())
            filters = network.add_constant(shape, self._weights(numbers.filters))
            layer.set_input(1, self._quantised(filters.get_output(0), ("int8",)))
        else:
            weights = self._weights(numbers.filters)
            layer = network.add_convolution_nd(image, FILTERS, (KERNEL, KERNEL), weights)
        layer.stride_nd = (STRIDE, STRIDE)
        layer.padding_nd = (1, 1)
        active = network.add_activation(layer.get_output(0), trt.ActivationType.RELU)
        pool = network.add_pooling_nd(active.get_output(0), trt.PoolingType.MAX, (POOL, POOL))
        pool.stride_nd = (POOL, POOL)
        flat = network.add_shuffle(pool.get_output(0))
        flat.reshape_dims = (1, INNER)
        low = ("int8", "fp8")
        left = self._quantised(flat.get_output(0), low)
        matrix = network.add_constant((INNER, CLASSES), self._weights(numbers.matrix))
        right = self._quantised(matrix.get_output(0), low)
        none = trt.MatrixOperation.NONE
        answer = network.add_matrix_multiply(left, none, right, none).get_output(0)
        if self.half:
            answer = network.add_cast(answer, trt.DataType.FLOAT).get_output(0)
        answer.name = "classes"
        network.mark_output(answer)

    def _weights(self, numbers: "array.array[float]") -> Any:  # noqa: ANN401
        count, kind = len(numbers), self.trt.DataType.FLOAT
        memory: Any = numbers
        if self.half:
            kind = self.trt.DataType.HALF
            # array has no half precision; struct's "e" rounds as IEEE 754 says.
            memory = array.array("H", struct.unpack("<%dH" % count, _halves(numbers)))
        self.keep.append(memory)
        return self.trt.Weights(kind, memory.buffer_info()[0], count)

    def _quantised(self, tensor: Any, kinds: Tuple[str, ...]) -> Any:  # noqa: ANN401
        """Return the tensor rounded to the low precision and back, with a scale of exactly 1."""
        if self.precision not in kinds:
            return tensor
        low = getattr(self.trt.DataType, self.precision.upper())
        one = array.array("f", [1.0])
        self.keep.append(one)
        weights = self.trt.Weights(self.trt.DataType.FLOAT, one.buffer_info()[0], 1)
        scale = self.network.add_constant((), weights).get_output(0)
        down = _typed(self.network.add_quantize, low, tensor, scale).get_output(0)
        up = _typed(self.network.add_dequantize, self.trt.DataType.FLOAT, down, scale)
        return up.get_output(0)


def _typed(add: Any, kind: Any, tensor: Any, scale: Any) -> Any:  # noqa: ANN401
    """Add a layer that takes the type from version 10 on, and only knew INT8 before."""
    try:
        return add(tensor, scale, kind)
    except TypeError:
        return add(tensor, scale)


def _halves(numbers: "array.array[float]") -> bytes:
    return struct.pack("<%de" % len(numbers), *numbers)


class Engine:
    """A deserialised engine with its buffers on the GPU."""

    def __init__(self, bindings: Bindings, plan: bytes, driver: Driver) -> None:
        """Deserialise.

        Raises:
            TensorRtError: when TensorRT refuses, or the engine is not the one that was drawn.
            CudaError: when the GPU has no memory for it.
        """
        trt = bindings.trt
        self.bindings, self.driver = bindings, driver
        del bindings.said[:]
        self._runtime = trt.Runtime(bindings.log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise bindings.why("the engine was not deserialised")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise bindings.why("the engine gives no context to run in")
        self.shapes: Dict[str, List[int]] = {}
        self._memory: Dict[str, int] = {}
        for number in range(self._engine.num_io_tensors):
            name = str(self._engine.get_tensor_name(number))
            shape = [int(side) for side in self._engine.get_tensor_shape(name)]
            if self._engine.get_tensor_dtype(name) != trt.DataType.FLOAT or min(shape) < 1:
                raise TensorRtError("%s is not the FP32 tensor that was drawn" % name)
            self.shapes[name] = shape
            self._memory[name] = driver.allocate(self._bytes(name))
            if not self._context.set_tensor_address(name, self._memory[name]):
                raise bindings.why("the engine does not take the address of %s" % name)
        if set(self.shapes) != {"image", "classes"}:
            raise TensorRtError("the engine has the tensors %s" % ", ".join(sorted(self.shapes)))
        stream = ctypes.c_void_p()
        driver.call("cuStreamCreate", ctypes.byref(stream), 1)  # CU_STREAM_NON_BLOCKING
        self._stream = stream

    def _bytes(self, name: str) -> int:
        count = 4
        for side in self.shapes[name]:
            count *= side
        return count

    def set_image(self, image: "array.array[float]") -> None:
        """Copy an image to the GPU."""
        self._put("image", image.tobytes())

    def _put(self, name: str, data: bytes) -> None:
        self.driver.upload(self._memory[name], data)
        # A copy from pageable memory may still be under way when the call returns (cuda.h, "API
        # synchronization behavior"), and our stream does not wait for the default one.
        self.driver.call("cuCtxSynchronize")

    def run(self) -> None:
        """Run once and wait."""
        if not self._context.execute_async_v3(int(self._stream.value or 0)):
            raise self.bindings.why("the engine does not run")
        self.driver.call("cuStreamSynchronize", self._stream)

    def answer(self, image: "array.array[float]") -> bytes:
        """Return what comes out for an image, little-endian FP32."""
        self.set_image(image)
        size = self._bytes("classes")
        self._put("classes", bytes([UNTOUCHED]) * size)
        self.run()
        return self.driver.download(self._memory["classes"], size)

    def close(self) -> None:
        """Give the memory back."""
        for memory in self._memory.values():
            self.driver.call("cuMemFree_v2", memory)
        self._memory = {}
        self.driver.call("cuStreamDestroy_v2", self._stream)


def opened(sites: Sequence[str]) -> Tuple[Optional[Bindings], Optional[str]]:
    """Return the bindings, or why there are none."""
    try:
        return Bindings(load(sites)), None
    except Exception as error:  # importing runs anything
        return None, "%s: %s" % (type(error).__name__, error)
