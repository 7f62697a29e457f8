"""tensorrt: libnvinfer's version, and for TensorRT for RTX a real engine, built without a GPU.

TensorRT for RTX builds ahead of time on the CPU (NVIDIA's documentation, "CPU engines"): a small
classifier, 3×224×224 to 1000 classes, for the compute capabilities that the request names.
"""

from __future__ import annotations

import array
import ctypes
import glob
import hashlib
import os
import sys
import time
from typing import Any, List

from ..loading import Loaded
from . import Emit, Values, libraries


def measure(request: Values, emit: Emit) -> None:
    """Measure tensorrt.library and tensorrt_rtx.build."""
    wanted = libraries(request).get("nvinfer")
    if wanted is not None:
        nvinfer = Loaded(*wanted)
        values = nvinfer.values()
        if nvinfer.library is not None:
            number = nvinfer.function("getInferLibVersion", ctypes.c_int)()
            values["version_number"] = number
        emit("tensorrt.library", values, nvinfer.error)
    rtx = request.get("rtx")
    if rtx:
        try:
            emit("tensorrt_rtx.build", build(str(rtx["site"]), list(rtx["targets"])), None)
        except Exception as error:  # the bindings raise what they like
            emit("tensorrt_rtx.build", {}, "%s: %s" % (type(error).__name__, error))


def build(site: str, targets: List[str]) -> Values:
    """Build the classifier and return what came out.

    Args:
        site: Folder that holds the bindings and their libraries.
        targets: Names of trt.ComputeCapability, e.g. "SM89".
    """
    for path in sorted(glob.glob(os.path.join(site, "tensorrt_rtx_libs", "*.so*"))):
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, site)
    import tensorrt_rtx_bindings as trt  # type: ignore[import-not-found,import-untyped,unused-ignore]

    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    keep: List[Any] = []

    def weights(count: int, seed: int) -> Any:  # noqa: ANN401
        # A plain deterministic sequence; the array must outlive the build.
        state, numbers = seed, array.array("f")
        for _ in range(count):
            state = (state * 1103515245 + 12345) % (1 << 31)
            numbers.append((state / float(1 << 31) - 0.5) * 0.1)
        keep.append(numbers)
        return trt.Weights(trt.DataType.FLOAT, numbers.buffer_info()[0], count)

    data = network.add_input("image", trt.DataType.FLOAT, (1, 3, 224, 224))
    convolution = network.add_convolution_nd(
        data, 16, (3, 3), weights(16 * 3 * 3 * 3, 1), weights(16, 2)
    )
    convolution.stride_nd = (2, 2)
    convolution.padding_nd = (1, 1)
    active = network.add_activation(convolution.get_output(0), trt.ActivationType.RELU)
    pooled = network.add_pooling_nd(active.get_output(0), trt.PoolingType.AVERAGE, (112, 112))
    pooled.stride_nd = (112, 112)
    flat = network.add_shuffle(pooled.get_output(0))
    flat.reshape_dims = (1, 16)
    matrix = network.add_constant((16, 1000), weights(16 * 1000, 3))
    none = trt.MatrixOperation.NONE
    product = network.add_matrix_multiply(flat.get_output(0), none, matrix.get_output(0), none)
    product.get_output(0).name = "classes"
    network.mark_output(product.get_output(0))

    config = builder.create_builder_config()
    config.num_compute_capabilities = len(targets)
    for number, name in enumerate(targets):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), number)
    begun = time.monotonic()
    engine = builder.build_serialized_network(network, config)
    took = time.monotonic() - begun
    if engine is None:
        raise RuntimeError("the builder returned no engine")
    content = bytes(engine)
    return {
        "version": trt.__version__,
        "path": trt.__file__,
        "targets": targets,
        "input_shape": [1, 3, 224, 224],
        "output_shape": list(product.get_output(0).shape),
        "layers": network.num_layers,
        "build_s": took,
        "engine_bytes": len(content),
        "engine_sha256": hashlib.sha256(content).hexdigest(),
    }
