"""CUDACTL-SIMULATED-LIBRARY: as much of `tensorflow` as the frameworks leg asks, in plain Python.

Tensors are nested lists. Training with Keras is not computed: it says what training would end with.
Keys and faults in simulated-gpu.conf beside the folder: tensorflow.version, tensorflow.cuda;
fault.tensorflow.NAME (wrong, nan, zeros, tf32, import, no_gpu, no_code, diverges, lazy,
nondeterministic, crash, slow, convolution).
"""

# ruff: noqa: ANN401, E731 - it takes what it is given, as TensorFlow does
from __future__ import annotations

import os
import signal
import struct
import sys
import time
from operator import mul
from pathlib import Path
from types import SimpleNamespace as Space
from typing import Any

_CONF: dict[str, str] = {}
for _line in Path(__file__).parent.with_name("simulated-gpu.conf").read_text().splitlines():
    _key, _, _value = _line.partition(" ")
    _CONF[_key] = _value


def _fault(name: str) -> float:
    return float(_CONF.get("fault.tensorflow." + name, "0"))


if _fault("import"):
    raise ImportError("libcudart.so.12: cannot open shared object file: No such file or directory")
__version__ = _CONF.get("tensorflow.version", "2.20.0")
float64, float32, float16, bfloat16, int32 = "float64", "float32", "float16", "bfloat16", "int32"
_trained = 0
_tf32 = False


def _map(function: Any, nested: Any) -> Any:
    return [_map(function, one) for one in nested] if isinstance(nested, list) else function(nested)


def _flat(nested: Any) -> list[Any]:
    if not isinstance(nested, list):
        return [nested]
    return [v for one in nested for v in _flat(one)]


def _rounded(kind: str) -> Any:
    if kind == float16:
        return lambda v: struct.unpack("<e", struct.pack("<e", v))[0]
    keep = {float32: 32, bfloat16: 16}.get(kind)
    if keep is None:
        return lambda v: v
    mask = 0xFFFFFFFF << (32 - keep)

    def to(v: float) -> float:
        bits = struct.unpack("<I", struct.pack("<f", v))[0]
        out: float = struct.unpack("<f", struct.pack("<I", bits & mask))[0]
        return out

    return to


class Tensor:
    """Numbers with a type."""

    def __init__(self, data: Any, kind: str = float64) -> None:
        self.data, self.kind = data, kind

    def numpy(self) -> Tensor:
        """Return itself, which can be flattened and listed."""
        return self

    def flatten(self) -> Tensor:
        """Return one row."""
        return Tensor(_flat(self.data), self.kind)

    def tolist(self) -> Any:
        """Return lists."""
        return self.data

    def __getitem__(self, at: Any) -> Tensor:
        if isinstance(at, tuple):
            return Tensor(self.data[at[0]][at[1]], self.kind)
        return Tensor(self.data[at], self.kind)

    def __sub__(self, other: Tensor) -> Tensor:
        pairs = zip(self.data, other.data, strict=True)
        to = _rounded(self.kind)
        return Tensor([[to(a[0] - b[0])] for a, b in pairs], self.kind)

    def __rmul__(self, factor: float) -> Tensor:
        return Tensor(_map(lambda v: factor * v, self.data), self.kind)


def constant(data: Any, dtype: str = float64) -> Tensor:
    """Return a tensor."""
    return Tensor(data, dtype)


def cast(tensor: Tensor, kind: str) -> Tensor:
    """Return a tensor of another type."""
    return Tensor(_map(_rounded(kind), tensor.data), kind)


def reshape(tensor: Tensor, shape: list[int]) -> Tensor:
    """Return all in a row; other shapes are not looked at."""
    return Tensor(_flat(tensor.data), tensor.kind) if shape == [-1] else tensor


def zeros(shape: list[int]) -> Tensor:
    """Return zeros."""
    return Tensor([0.0] * shape[0])


def transpose(tensor: Tensor, order: list[int]) -> Tensor:
    """Return a tensor with its axes in another order."""
    x = tensor.data
    sizes = []
    while isinstance(x, list):
        sizes.append(len(x))
        x = x[0]

    def build(prefix: list[int]) -> Any:
        if len(prefix) == len(order):
            at = [0] * len(order)
            for new, old in enumerate(order):
                at[old] = prefix[new]
            value = tensor.data
            for index in at:
                value = value[index]
            return value
        return [build([*prefix, i]) for i in range(sizes[order[len(prefix)]])]

    return Tensor(build([]), tensor.kind)


def _wronged(rows: Any, kind: str) -> Any:
    if kind != float32 and not _fault("everywhere"):
        return rows
    if _fault("zeros"):
        return _map(lambda v: 0.0, rows)
    if _fault("wrong"):
        rows[0][0] += 1
    if _fault("nan"):
        rows[0][-1] = float("nan")
    return rows


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    if _fault("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(_fault("slow"))
    short = (_tf32 or _fault("tf32")) and left.kind == float32
    eleven = lambda v: float(int(v) & ~3) if short and abs(v) >= 2048 else v
    a, b = _map(eleven, left.data), list(zip(*_map(eleven, right.data), strict=True))
    to = _rounded(left.kind)
    rows = [[to(sum(map(mul, row, col))) for col in b] for row in a]
    return Tensor(_wronged(rows, left.kind) if len(rows) == 96 else rows, left.kind)


def _conv2d(x: Tensor, w: Tensor, *, strides: int, padding: str, data_format: str) -> Tensor:
    image = x if data_format == "NHWC" else transpose(x, [0, 2, 3, 1])
    side, filters = len(image.data[0]), len(w.data[0][0][0])
    out = []
    for one in image.data:
        rows = []
        for y in range(side):
            row = []
            for column in range(side):
                sums = [0.0] * filters
                for dy in range(3):
                    for dx in range(3):
                        if 0 <= y + dy - 1 < side and 0 <= column + dx - 1 < side:
                            for c, v in enumerate(one[y + dy - 1][column + dx - 1]):
                                for k, weight in enumerate(w.data[dy][dx][c]):
                                    sums[k] += v * weight
                row.append(sums)
            rows.append(row)
        out.append(rows)
    if _fault("convolution"):
        out[1][3][4][5] += 1
    found = Tensor(out, x.kind)
    return found if data_format == "NHWC" else transpose(found, [0, 3, 1, 2])


def _set_tf32(on: bool) -> None:
    global _tf32
    _tf32 = on


class _Device:
    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


device = _Device
linalg = Space(matmul=_matmul)
nn = Space(conv2d=_conv2d)
sysconfig = Space(
    get_build_info=lambda: {
        "cuda_version": _CONF.get("tensorflow.cuda", "13.0"),
        "cudnn_version": "9",
        "cuda_compute_capabilities": ["sm_80"] if _fault("no_code") else ["sm_80", "sm_90"],
    }
)
config = Space(
    list_physical_devices=lambda kind: [] if _fault("no_gpu") else [Space(name="/GPU:0")],
    experimental=Space(
        enable_tensor_float_32_execution=_set_tf32,
        get_device_details=lambda gpu: {"device_name": "NVIDIA H200", "compute_capability": (9, 0)},
        enable_op_determinism=lambda: None,
    ),
)


def _normal(shape: list[int], seed: list[int]) -> Tensor:
    # A large matmul on nothing: only its time is looked at.
    return Tensor([[[1.0]], [[1.0]]], float32)


random = Space(stateless_normal=_normal)


class _Sequential:
    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers

    def compile(self, **_: object) -> None:
        """Take the settings."""

    def fit(self, x: Any, y: Any, **_: object) -> Any:
        """Say what training would end with."""
        global _trained
        _trained += 1
        time.sleep(0.01)
        loss = float("nan") if _fault("diverges") else 1e-4
        return Space(history={"loss": [1.2, loss]})

    def evaluate(self, x: Any, y: Any, **_: object) -> list[float]:
        """Say loss and accuracy."""
        return [1e-4, 0.25 if _fault("lazy") else 1.0]

    def get_weights(self) -> list[Tensor]:
        """Say the weights."""
        other = _trained if _fault("nondeterministic") else 0
        return [Tensor([[0.5, -0.25], [float(other), 1.0]])]


def _nothing(*_: object, **__: object) -> None:
    pass


keras = Space(
    utils=Space(set_random_seed=_nothing),
    Sequential=_Sequential,
    layers=Space(
        **dict.fromkeys(["Input", "Conv2D", "AveragePooling2D", "Flatten", "Dense"], _nothing)
    ),
    optimizers=Space(SGD=_nothing),
    losses=Space(SparseCategoricalCrossentropy=_nothing),
)
sys.modules[__name__ + ".keras"] = keras  # type: ignore[assignment]
