"""What the simulated `tensorrt` computes: its steps, on lists of numbers, rounded by type."""

from __future__ import annotations

import struct
from operator import mul
from typing import Any

HALF, INT8 = 1, 2  # DataType


def computed(plan: dict[str, Any], image: list[float]) -> list[float]:
    """Return what comes out of a plan for an image."""
    steps = plan["steps"]
    done: dict[int, list[float]] = {}

    def value(number: int) -> list[float]:
        # A step may read from one that was added after it: convolutions get filters that way.
        if number not in done:
            inputs = [value(n) for n in steps[number]["inputs"]]
            found = _step(steps[number], inputs, image)
            done[number] = _rounded(found, steps[number], plan["half"])
        return done[number]

    return value(plan["out"])


def _step(step: dict[str, Any], inputs: list[list[float]], image: list[float]) -> list[float]:
    op = step["op"]
    if op in ("input", "constant"):
        return image if op == "input" else list(step["numbers"])
    if op == "convolution":
        weights = inputs[1] if len(inputs) > 1 else step["numbers"]
        return _convolved(inputs[0], weights, step["maps"], step["stride_nd"][0])
    if op == "relu":
        return [max(v, 0.0) for v in inputs[0]]
    if op == "pool":
        return _pooled(inputs[0], step["window"][0])
    if op == "matmul":
        rows, columns = len(inputs[0]), len(inputs[1]) // len(inputs[0])
        return [sum(map(mul, inputs[0], inputs[1][c::columns])) for c in range(columns) if rows]
    return inputs[0]


def _convolved(image: list[float], weights: list[float], maps: int, stride: int) -> list[float]:
    """3 × 3, three channels of 224 × 224, a border of one zero."""
    row, rows = [0.0] * 226, range(224)
    padded = [
        [row, *([0.0, *image[(c * 224 + y) * 224 : (c * 224 + y + 1) * 224], 0.0] for y in rows)]
        for c in range(3)
    ]
    windows = [
        [v for plane in padded for line in plane[y : y + 3] for v in line[x : x + 3]]
        for y in range(0, 224, stride)
        for x in range(0, 224, stride)
    ]
    filters = [weights[27 * number : 27 * (number + 1)] for number in range(maps)]
    return [sum(map(mul, window, mine)) for mine in filters for window in windows]


def _pooled(planes: list[float], size: int) -> list[float]:
    return [
        max(planes[p * 784 + (y + d // size) * 28 + x + d % size] for d in range(size * size))
        for p in range(len(planes) // 784)
        for y in range(0, 28, size)
        for x in range(0, 28, size)
    ]


def _rounded(numbers: list[float], step: dict[str, Any], half: bool) -> list[float]:
    kind = step["kind"]
    if step["op"] == "quantise" and kind == INT8:
        return [float(max(-128, min(127, round(v)))) for v in numbers]
    if kind == HALF or (half and step["op"] in ("convolution", "matmul")):
        return list(struct.unpack(f"<{len(numbers)}e", struct.pack(f"<{len(numbers)}e", *numbers)))
    return numbers
