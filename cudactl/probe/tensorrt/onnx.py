"""Writes the classifier as an ONNX model, for trtexec, which takes no other.

ONNX is protocol buffers; the few messages that this needs are written by hand. Field numbers:
onnx/onnx.proto (ONNX 1.x, IR version 8, operator set 13).
"""

from __future__ import annotations

import struct
from typing import List, Sequence, Tuple, Union

from .classifier import (
    CHANNELS,
    CLASSES,
    FILTERS,
    INNER,
    INPUT_SHAPE,
    KERNEL,
    OUTPUT_SHAPE,
    POOL,
    STRIDE,
    Network,
)

FLOAT, INT64, FLOAT16 = 1, 7, 10  # TensorProto.DataType
Field = Tuple[int, Union[int, str, bytes]]


def message(*fields: Field) -> bytes:
    """Return a protocol-buffers message: (field number, value); texts and bytes by length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def varint(value: int) -> bytes:
    """Return a number in groups of seven bits."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def model(network: Network, half: bool) -> bytes:
    """Return the model; with `half` its inside is FP16, its input and output stay FP32."""
    kind = FLOAT16 if half else FLOAT
    filters = (FILTERS, CHANNELS, KERNEL, KERNEL)
    nodes = [
        _node(
            "Conv",
            ["in", "filters"],
            "conv",
            _ints("strides", STRIDE, STRIDE),
            _ints("pads", *[1] * 4),
        ),
        _node("Relu", ["conv"], "relu"),
        _node(
            "MaxPool",
            ["relu"],
            "pool",
            _ints("kernel_shape", POOL, POOL),
            _ints("strides", POOL, POOL),
        ),
        _node("Reshape", ["pool", "shape"], "flat"),
        _node("MatMul", ["flat", "matrix"], "out"),
    ]
    first = _node("Cast", ["image"], "in", _number("to", kind)) if half else None
    nodes.insert(0, first or _node("Identity", ["image"], "in"))
    last = _node("Cast", ["out"], "classes", _number("to", FLOAT)) if half else None
    nodes.append(last or _node("Identity", ["out"], "classes"))
    shape = struct.pack("<2q", 1, INNER)
    graph = message(
        *[(1, node) for node in nodes],
        (2, "classifier"),
        (5, _tensor("filters", filters, kind, _packed(network.filters, half))),
        (5, _tensor("matrix", (INNER, CLASSES), kind, _packed(network.matrix, half))),
        (5, _tensor("shape", (2,), INT64, shape)),
        (11, _described("image", INPUT_SHAPE)),
        (12, _described("classes", OUTPUT_SHAPE)),
    )
    return message((1, 8), (2, "cudactl"), (7, graph), (8, message((1, ""), (2, 13))))


def _packed(numbers: Sequence[float], half: bool) -> bytes:
    return struct.pack("<%d%s" % (len(numbers), "e" if half else "f"), *numbers)


def _node(kind: str, inputs: List[str], output: str, *attributes: bytes) -> bytes:
    fields: List[Field] = [(1, name) for name in inputs]
    fields += [(2, output), (3, output), (4, kind)]
    return message(*fields, *[(5, attribute) for attribute in attributes])


def _ints(name: str, *numbers: int) -> bytes:
    return message((1, name), *[(8, number) for number in numbers], (20, 7))


def _number(name: str, number: int) -> bytes:
    return message((1, name), (3, number), (20, 2))


def _tensor(name: str, shape: Sequence[int], kind: int, data: bytes) -> bytes:
    return message(*[(1, side) for side in shape], (2, kind), (8, name), (9, data))


def _described(name: str, shape: Sequence[int]) -> bytes:
    sides = message(*[(1, message((1, side))) for side in shape])
    return message((1, name), (2, message((1, message((1, FLOAT), (2, sides))))))
