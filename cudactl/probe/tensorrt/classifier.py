"""The classifier: 3×224×224 → convolution → rectifier → maximum → matrix → 1000 classes.

Once with whole numbers, whose result is known bit for bit; once with real ones, to see how far
half precision drifts. Plain Python, so that nothing is checked with itself.
"""

from __future__ import annotations

import array
import functools
import operator
import random
import sys
from typing import List, NamedTuple, Sequence, Tuple

SIDE, CHANNELS, FILTERS, STRIDE, KERNEL = 224, 3, 8, 8, 3
CONVOLVED = 28  # (224 + 2·1 − 3) / 8 + 1
POOL = 4
POOLED = CONVOLVED // POOL
INNER = FILTERS * POOLED * POOLED
CLASSES = 1000
INPUT_SHAPE = (1, CHANNELS, SIDE, SIDE)
OUTPUT_SHAPE = (1, CLASSES)
# With pixels of 0 and 1 and at most 15 filter entries of ±1, a convolution stays within ±15, which
# FP8 (E4M3, 4 significant bits) and INT8 hold exactly; 24 matrix entries of ±1 then stay within
# ±360, which FP16 (11 bits) holds in whatever order they are added.
FILTER_ENTRIES, MATRIX_ENTRIES = 15, 24
# Their winning class leads by more than a twentieth of it (a test keeps this), so that no sound
# half precision can change it.
IMAGES = (9, 11, 17, 20)


class Network(NamedTuple):
    """Filters as [k][c][y][x] and the matrix as [inner][class], both flat."""

    filters: "array.array[float]"
    matrix: "array.array[float]"


@functools.lru_cache(maxsize=1)
def exact() -> Network:
    """Return the network of whole numbers."""
    source = random.Random("exact classifier")
    filters = array.array("f", [0.0]) * (FILTERS * CHANNELS * KERNEL * KERNEL)
    size = CHANNELS * KERNEL * KERNEL
    for number in range(FILTERS):
        for at in source.sample(range(size), FILTER_ENTRIES):
            filters[number * size + at] = source.choice((-1.0, 1.0))
    matrix = array.array("f", [0.0]) * (INNER * CLASSES)
    for column in range(CLASSES):
        for row in source.sample(range(INNER), MATRIX_ENTRIES):
            matrix[row * CLASSES + column] = source.choice((-1.0, 1.0))
    return Network(filters, matrix)


@functools.lru_cache(maxsize=1)
def exact_image() -> "array.array[float]":
    """Return the image of zeros and ones."""
    bits = random.Random("exact image").getrandbits(CHANNELS * SIDE * SIDE)
    digits = bin(bits)[2:].zfill(CHANNELS * SIDE * SIDE)
    return array.array("f", map(float, digits))


@functools.lru_cache(maxsize=1)
def exact_answer() -> Tuple[float, ...]:
    """Return what must come out of the network of whole numbers."""
    return tuple(answer(exact(), exact_image()))


def real() -> Network:
    """Return the network of real numbers."""
    source = random.Random("real classifier")
    count = FILTERS * CHANNELS * KERNEL * KERNEL
    filters = array.array("f", (source.uniform(-0.3, 0.3) for _ in range(count)))
    matrix = array.array("f", (source.uniform(-0.1, 0.1) for _ in range(INNER * CLASSES)))
    return Network(filters, matrix)


def real_image(number: int) -> "array.array[float]":
    """Return a generated image with entries within ±1."""
    source = random.Random("real image %d" % number)
    draw = source.random
    return array.array("f", (2.0 * draw() - 1.0 for _ in range(CHANNELS * SIDE * SIDE)))


def answer(network: Network, image: Sequence[float]) -> List[float]:
    """Return the 1000 numbers that must come out, in double precision."""
    size = CHANNELS * KERNEL * KERNEL
    filters = [network.filters[n * size : (n + 1) * size] for n in range(FILTERS)]
    convolved = [[0.0] * (CONVOLVED * CONVOLVED) for _ in filters]
    for y in range(CONVOLVED):
        for x in range(CONVOLVED):
            window = _window(image, y * STRIDE - 1, x * STRIDE - 1)
            for number, weights in enumerate(filters):
                total = sum(map(operator.mul, window, weights))
                convolved[number][y * CONVOLVED + x] = max(total, 0.0)
    inner = []
    for plane in convolved:
        for y in range(0, CONVOLVED, POOL):
            for x in range(0, CONVOLVED, POOL):
                at = [(y + dy) * CONVOLVED + x for dy in range(POOL)]
                inner.append(max(max(plane[row : row + POOL]) for row in at))
    columns = (network.matrix[column::CLASSES] for column in range(CLASSES))
    return [sum(map(operator.mul, inner, column)) for column in columns]


def _window(image: Sequence[float], top: int, left: int) -> List[float]:
    """Return the 3×3×3 pixels at a place, zeros outside of the image."""
    found: List[float] = []
    for channel in range(CHANNELS):
        for row in range(top, top + KERNEL):
            if row < 0:
                found += [0.0] * KERNEL
                continue
            begin = (channel * SIDE + row) * SIDE
            if left < 0:
                found += [0.0, *image[begin : begin + KERNEL - 1]]
            else:
                found += image[begin + left : begin + left + KERNEL]
    return found


def floats(data: bytes) -> "array.array[float]":
    """Return the FP32 numbers in little-endian bytes."""
    found = array.array("f")
    found.frombytes(data)
    if sys.byteorder != "little":
        found.byteswap()
    return found
