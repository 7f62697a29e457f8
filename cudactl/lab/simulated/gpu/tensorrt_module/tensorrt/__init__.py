"""CUDACTL-SIMULATED-LIBRARY: a `tensorrt` that computes small networks on the processor.

It has what 8.6, 10 or 11 has, under the names and with the numbers that each gives them, and
refuses what each refuses; and it does wrong on demand. "key value" lines in simulated-gpu.conf
beside it: tensorrt.version, and fault.tensorrt.NAME with a strength.

Written to be copied into a folder of its own, as the package `tensorrt`; nothing of cudactl is
needed there.
"""

# ruff: noqa: ANN401 - it takes what it is given, as the bindings do
from __future__ import annotations

import array
import ctypes
import enum
import hashlib
import json
import os
import signal
import struct
import time
from pathlib import Path
from typing import Any

from .computing import computed
from .kinds import ActivationType, DataType, MatrixOperation, MemoryPoolType, PoolingType

_CONF: dict[str, str] = {}
for _line in Path(__file__).parent.with_name("simulated-gpu.conf").read_text().splitlines():
    _key, _, _value = _line.partition(" ")
    _CONF[_key] = _value

__version__ = _CONF.get("tensorrt.version", "10.13.3.9")
_MAJOR = int(__version__.split(".")[0])


def _fault(name: str) -> float:
    return float(_CONF.get("fault.tensorrt." + name, "0"))


def _misbehave(call: str) -> None:
    if _fault("crash." + call):
        os.kill(os.getpid(), signal.SIGSEGV)
    if _fault("hang." + call):
        signal.pause()
    if _fault("exit." + call):
        os._exit(0)
    time.sleep(_fault("slow." + call))


if _fault("other_python"):
    # What Python says of an extension module that was built for another one.
    raise ModuleNotFoundError("No module named 'tensorrt.tensorrt'")


class Severity(enum.IntEnum):
    """nvinfer1::ILogger::Severity."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    """What takes TensorRT's messages."""

    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR

    def log(self, severity: Severity, message: str) -> None:
        """Take a message."""


class Logger(ILogger):
    """The plain one."""


# Where the flags lie is what moved between the versions (headers at v8.6.1, v10.13, v11.1).
_CREATION = {
    8: {"EXPLICIT_BATCH": 0, "EXPLICIT_PRECISION": 1},
    10: {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
    11: {"STRONGLY_TYPED": 0, "PREFER_JIT_PYTHON_PLUGINS": 1},
}
_FLAGS = {
    8: {"FP16": 0, "INT8": 1, "TF32": 7},
    10: {"FP16": 0, "INT8": 1, "TF32": 7},
    11: {"TF32": 6},
}
_made: Any = enum.IntEnum  # what the flags are is known when the version is
NetworkDefinitionCreationFlag: Any = _made("NetworkDefinitionCreationFlag", _CREATION[_MAJOR])
BuilderFlag: Any = _made("BuilderFlag", _FLAGS[_MAJOR])


class Weights:
    """Numbers in the caller's memory."""

    def __init__(self, kind: DataType = DataType.FLOAT, pointer: int = 0, count: int = 0) -> None:
        self.kind, self.count = kind, count
        code, size = ("e", 2) if kind == DataType.HALF else ("f", 4)
        data = ctypes.string_at(pointer, count * size) if count else b""
        self.numbers = list(struct.unpack(f"<{count}{code}", data))


class _Tensor:
    def __init__(self, step: dict[str, Any], shape: list[int], kind: DataType) -> None:
        self.step, self.shape, self.kind = step, shape, kind
        self.name = step.get("name", "")


class _Layer:
    network: INetworkDefinition
    step: dict[str, Any]

    def __init__(self, network: INetworkDefinition, step: dict[str, Any]) -> None:
        self.__dict__["network"], self.__dict__["step"] = network, step

    def __setattr__(self, name: str, value: Any) -> None:
        self.step[name] = [int(v) for v in value]

    def set_input(self, index: int, tensor: _Tensor) -> None:
        """Connect an input."""
        assert index == 1
        self.step["inputs"].append(self.network.at(tensor))
        self.step["kinds"].append(int(tensor.kind))

    def get_output(self, index: int) -> _Tensor:
        """Return an output."""
        assert index == 0
        return self.network.output_of(self.step)


class INetworkDefinition:
    """A network in the making: steps, each with the numbers of those it reads from."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.steps: list[dict[str, Any]] = []
        self.outputs: list[_Tensor] = []
        self.strong = _MAJOR >= 11 or bool(
            _MAJOR == 10 and flags & 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        )

    def at(self, tensor: _Tensor) -> int:
        """Return the number of the step that makes a tensor."""
        return next(n for n, step in enumerate(self.steps) if step is tensor.step)

    def output_of(self, step: dict[str, Any]) -> _Tensor:
        """Return the one tensor that a step makes."""
        if "tensor" not in step:
            step["tensor"] = _Tensor(step, [], DataType(step["kind"]))
        tensor: _Tensor = step["tensor"]
        return tensor

    def _add(self, op: str, kind: int, *inputs: _Tensor, **more: Any) -> _Layer:
        step = {"op": op, "inputs": [self.at(t) for t in inputs], "kind": int(kind), **more}
        step["kinds"] = [int(t.kind) for t in inputs]
        self.steps.append(step)
        return _Layer(self, step)

    def add_input(self, name: str, kind: DataType, shape: tuple[int, ...]) -> _Tensor:
        """Declare an input."""
        layer = self._add("input", kind, name=name, shape=list(shape))
        return self.output_of(layer.step)

    def add_cast(self, tensor: _Tensor, kind: DataType) -> _Layer:
        """Change a tensor's type."""
        return self._add("cast", kind, tensor)

    def add_constant(self, shape: tuple[int, ...], weights: Weights) -> _Layer:
        """Add numbers."""
        return self._add("constant", weights.kind, shape=list(shape), numbers=weights.numbers)

    def add_convolution_nd(
        self, tensor: _Tensor, maps: int, kernel: tuple[int, ...], weights: Weights
    ) -> _Layer:
        """Convolve; empty weights come as an input later."""
        more = {"maps": maps, "kernel": list(kernel), "numbers": weights.numbers}
        layer = self._add("convolution", tensor.kind, tensor, **more)
        if weights.count:
            layer.step["kinds"].append(int(weights.kind))
        return layer

    def add_activation(self, tensor: _Tensor, kind: ActivationType) -> _Layer:
        """Rectify."""
        return self._add("relu", tensor.kind, tensor)

    def add_pooling_nd(self, tensor: _Tensor, kind: PoolingType, window: tuple[int, ...]) -> _Layer:
        """Take the maximum of windows."""
        assert kind == PoolingType.MAX
        return self._add("pool", tensor.kind, tensor, window=list(window))

    def add_shuffle(self, tensor: _Tensor) -> _Layer:
        """Reshape."""
        return self._add("shuffle", tensor.kind, tensor)

    def add_matrix_multiply(
        self, left: _Tensor, how: MatrixOperation, right: _Tensor, other: MatrixOperation
    ) -> _Layer:
        """Multiply."""
        return self._add("matmul", left.kind, left, right)

    def add_quantize(self, tensor: _Tensor, scale: _Tensor, *kind: DataType) -> _Layer:
        """Round to a low precision; version 8 knows INT8 only and takes no type, 11 wants one."""
        if len(kind) != int(_MAJOR > 8) and not (_MAJOR == 10 and not kind):
            raise TypeError("add_quantize(): incompatible function arguments")
        return self._add("quantise", kind[0] if kind else DataType.INT8, tensor, scale)

    def add_dequantize(self, tensor: _Tensor, scale: _Tensor, *kind: DataType) -> _Layer:
        """Go back."""
        if len(kind) != int(_MAJOR > 8) and not (_MAJOR == 10 and not kind):
            raise TypeError("add_dequantize(): incompatible function arguments")
        return self._add("cast", kind[0] if kind else DataType.FLOAT, tensor, scale)

    def mark_output(self, tensor: _Tensor) -> None:
        """Declare an output."""
        self.outputs.append(tensor)


class IBuilderConfig:
    """How to build."""

    def __init__(self) -> None:
        self.builder_optimization_level = 3
        self.flags: set[str] = set()

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        """Limit memory."""

    def set_flag(self, flag: Any) -> None:
        """Turn on."""
        self.flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        """Turn off."""
        self.flags.discard(flag.name)


class Builder:
    """Makes engines."""

    def __init__(self, log: ILogger) -> None:
        self.log = log

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        """Return an empty network."""
        if _MAJOR == 8 and not flags & 1:
            raise RuntimeError("implicit batch is not simulated")
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        """Return the defaults."""
        return IBuilderConfig()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> bytes | None:
        """Return the engine, or None after an error was logged."""
        _misbehave("build")
        wrong = self._wrong(network, config)
        if wrong or _fault("build_none"):
            said = wrong or "Error Code 10: Could not find any implementation for node"
            self.log.log(Severity.ERROR, "[optimizer.cpp] " + said)
            return None
        if _fault("empty_plan"):
            return b""
        half = "FP16" in config.flags
        steps = [{k: v for k, v in s.items() if k != "tensor"} for s in network.steps]
        out = network.outputs[0]
        plan = {"steps": steps, "out": network.at(out), "name": out.name, "half": half}
        return json.dumps(plan).encode()

    @staticmethod
    def _wrong(network: INetworkDefinition, config: IBuilderConfig) -> str | None:
        if network.strong and config.flags & {"FP16", "INT8"}:
            return "Error Code 3: precision flags and strongly typed networks exclude each other"
        if network.strong:
            for step in network.steps:
                if step["op"] in ("convolution", "matmul") and len(set(step["kinds"])) != 1:
                    return f"Error Code 4: types of {step['op']} do not match"
        halves = any(step["kind"] == DataType.HALF for step in network.steps)
        if not network.strong and halves and "FP16" not in config.flags:
            return "Error Code 4: half precision without the flag FP16"
        eighths = any(step["op"] == "quantise" for step in network.steps)
        if not network.strong and eighths and "INT8" not in config.flags:
            return "Error Code 4: quantisation without the flag INT8"
        if any(step["kind"] == DataType.FP8 for step in network.steps) and _fault("no_fp8"):
            return "Error Code 9: FP8 is not supported on this GPU"
        return None


class Runtime:
    """Takes engines."""

    def __init__(self, log: ILogger) -> None:
        self.log = log

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        """Return the engine, or None after an error was logged."""
        _misbehave("deserialise")
        if _fault("deserialise_none"):
            said = "Error Code 1: Serialization (version tag mismatch)"
            self.log.log(Severity.ERROR, "[runtime.cpp] " + said)
            return None
        return ICudaEngine(json.loads(plan), hashlib.sha256(plan).hexdigest())


class ICudaEngine:
    """An engine."""

    def __init__(self, plan: dict[str, Any], key: str) -> None:
        self.plan, self.key = plan, key
        self.num_io_tensors = 2

    def get_tensor_name(self, number: int) -> str:
        """Return a tensor's name."""
        return ("image", str(self.plan["name"]))[number]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return tuple(self.plan["steps"][0]["shape"]) if name == "image" else (1, 1000)

    def get_tensor_dtype(self, name: str) -> DataType:
        """Return a tensor's type."""
        return DataType.FLOAT

    def create_execution_context(self) -> IExecutionContext | None:
        """Return a context."""
        return None if _fault("context_none") else IExecutionContext(self)


class IExecutionContext:
    """Runs an engine on what lies at the addresses it was given."""

    _known: dict[str, list[float]] = {}  # noqa: RUF012 - one for all
    _runs = 0

    def __init__(self, engine: ICudaEngine) -> None:
        self.plan, self.key = engine.plan, engine.key
        self.addresses: dict[str, int] = {}
        kinds = {step["kind"] for step in self.plan["steps"]}
        self.half = self.plan["half"] or DataType.HALF in kinds

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Say where a tensor lies."""
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Run; it has ended when this returns."""
        _misbehave("execute")
        if _fault("execute_false"):
            return False
        if _fault("nothing_written"):
            return True
        IExecutionContext._runs += 1
        if _fault("spike") and IExecutionContext._runs % 20 == 0:
            time.sleep(_fault("spike"))
        data = ctypes.string_at(self.addresses["image"], 3 * 224 * 224 * 4)
        key = self.key + hashlib.sha256(data).hexdigest()
        if key not in self._known:
            self._known[key] = computed(self.plan, list(struct.unpack(f"<{len(data) // 4}f", data)))
        numbers = array.array("f", self._wronged(self._known[key]))
        ctypes.memmove(self.addresses[self.plan["name"]], numbers.tobytes(), 4 * len(numbers))
        return True

    def _wronged(self, right: list[float]) -> list[float]:
        out = list(right)
        if _fault("flip_bit"):
            bits = struct.unpack("<I", struct.pack("<f", out[123]))[0] ^ 1 << 20
            out[123] = struct.unpack("<f", struct.pack("<I", bits))[0]
        if _fault("nan"):
            out[456] = float("nan")
        if _fault("zeros"):
            out = [0.0] * len(out)
        if _fault("swapped"):
            out[10], out[11] = out[11], out[10]
        if _fault("nondeterministic") and IExecutionContext._runs % 3 == 0:
            out[7] += 1.0
        if _fault("fp16_drift") and self.half:
            out = [v + (_fault("fp16_drift") if abs(v - round(v)) > 1e-6 else 0) for v in out]
        if _fault("fp32_drift") and not self.half:
            out = [v + (_fault("fp32_drift") if abs(v - round(v)) > 1e-6 else 0) for v in out]
        if _fault("fp16_argmax") and self.half and any(v != round(v) for v in out):
            best = max(range(len(out)), key=out.__getitem__)
            out[best], out[0] = out[0], out[best]
        return out
