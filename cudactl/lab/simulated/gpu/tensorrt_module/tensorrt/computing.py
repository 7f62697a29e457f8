"""What the simulated `tensorrt` computes: its steps, on lists of numbers, rounded by type."""

from __future__ import annotations

import struct
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
        return [
            sum(a * b for a, b in zip(inputs[0], inputs[1][c::columns], strict=True) if a)
            for c in range(columns)
            if rows
        ]
    return inputs[0]


def _convolved(image: list[float], weights: list[float], maps: int, stride: int) -> list[float]:
    """3 × 3, three channels of 224 × 224, a border of one zero."""
    found = []
    for number in range(maps):
        mine = weights[27 * number : 27 * (number + 1)]
        for top in range(-1, 223, stride):
            for left in range(-1, 223, stride):
                total = 0.0
                for at, weight in enumerate(mine):
                    y, x = top + at // 3 % 3, left + at % 3
                    if weight and 0 <= y < 224 and 0 <= x < 224:
                        total += weight * image[(at // 9 * 224 + y) * 224 + x]
                found.append(total)
    return found


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
