"""Convolutions of small integers in plain Python: what cuDNN's must be, number by number.

Tensors are flat lists in the order n, c, h, w (filters k, c, r, s); 3 × 3, stride 1, border 1.
"""

from __future__ import annotations

import struct
from array import array
from operator import mul
from typing import Dict, List, Sequence, Tuple

from .dnn import Shape
from .integers import FOUR, draw

Dimensions = Tuple[int, int, int, int]


def forward(shape: Shape, x: Sequence[int], w: Sequence[int]) -> List[int]:
    """Return y."""
    rows = _rows(x, shape.x)
    out: List[int] = []
    for n in range(shape.n):
        for k in range(shape.k):
            for p in range(shape.h):
                line = [0] * shape.w
                for c in range(shape.c):
                    for r in range(3):
                        source = rows.get((n, c, p + r - 1))
                        if source is None:
                            continue
                        at = ((k * shape.c + c) * 3 + r) * 3
                        a, b, d = w[at], w[at + 1], w[at + 2]
                        line = [
                            total + a * source[q] + b * source[q + 1] + d * source[q + 2]
                            for q, total in enumerate(line)
                        ]
                out += line
    return out


def backward_data(shape: Shape, w: Sequence[int], dy: Sequence[int]) -> List[int]:
    """Return dx: a forward convolution of dy with the filter turned around."""
    turned = [
        w[((k * shape.c + c) * 3 + 2 - r) * 3 + 2 - s]
        for c in range(shape.c)
        for k in range(shape.k)
        for r in range(3)
        for s in range(3)
    ]
    return forward(Shape(shape.n, shape.k, shape.h, shape.w, shape.c), dy, turned)


def backward_filter(shape: Shape, x: Sequence[int], dy: Sequence[int]) -> List[int]:
    """Return dw."""
    rows, lines = _rows(x, shape.x), _rows(dy, shape.y)
    out = []
    for k in range(shape.k):
        for c in range(shape.c):
            for r in range(3):
                for s in range(3):
                    total = 0
                    for n in range(shape.n):
                        for p in range(max(0, 1 - r), min(shape.h, shape.h + 1 - r)):
                            source = rows[n, c, p + r - 1][s : s + shape.w]
                            total += sum(map(mul, source, lines[n, k, p][1:]))
                    out.append(total)
    return out


def _rows(data: Sequence[int], sizes: Dimensions) -> Dict[Tuple[int, int, int], List[int]]:
    """Return (n, c, h) → that row, with the border's zeros at both ends."""
    n, c, h, w = sizes
    return {
        (i, j, k): [0, *data[((i * c + j) * h + k) * w : ((i * c + j) * h + k + 1) * w], 0]
        for i in range(n)
        for j in range(c)
        for k in range(h)
    }


def ordered(data: Sequence[int], sizes: Dimensions, layout: str) -> List[int]:
    """Return a tensor in a layout's order."""
    if layout == "nchw":
        return list(data)
    n, c, h, w = sizes
    return [
        data[((i * c + j) * h + k) * w + m]
        for i in range(n)
        for k in range(h)
        for m in range(w)
        for j in range(c)
    ]


def encoded(data: Sequence[int], kind: str) -> bytes:
    """Return integers as "fp16" or, for the others, as FP32."""
    return struct.pack("<%d%s" % (len(data), "e" if kind == "fp16" else "f"), *data)


def decoded(data: bytes, kind: str) -> Sequence[float]:
    """Return what came back."""
    if kind == "fp16":
        return struct.unpack("<%de" % (len(data) // 2), data)
    return array("f", data)


class Example:
    """Random operands, and the three results."""

    def __init__(self, seed: int, shape: Shape) -> None:
        def drawn(number: int, sizes: Dimensions) -> List[int]:
            count = sizes[0] * sizes[1] * sizes[2] * sizes[3]
            return list(array("b", draw(3 * seed + number, count, FOUR)))

        self.shape = shape
        x, w, dy = drawn(0, shape.x), drawn(1, shape.filter), drawn(2, shape.y)
        self.operands = {
            "forward": ((x, shape.x), (w, shape.filter)),
            "backward_data": ((w, shape.filter), (dy, shape.y)),
            "backward_filter": ((x, shape.x), (dy, shape.y)),
        }
        self.results = {
            "forward": (forward(shape, x, w), shape.y),
            "backward_data": (backward_data(shape, w, dy), shape.x),
            "backward_filter": (backward_filter(shape, x, dy), shape.filter),
        }
