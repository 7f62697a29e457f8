"""Problems with an exactly known answer, computed with plain Python integers and floats.

Sizes are small enough for plain Python and large enough that a GPU spreads them over many SMs.
"""

from __future__ import annotations

import operator
import random
from typing import Dict, List, NamedTuple, Sequence, Tuple

Matrix = List[List[int]]
ROWS, INNER, COLUMNS = 96, 256, 96
# Bounds of the entries of both factors, by type. Every product and every partial sum, in whatever
# order, is a whole number that the type (or the FP32 in which it accumulates) holds exactly, and so
# is the result: below 2^8 for BF16, 2^11 for FP16, 2^24 for FP32, 2^53 for FP64. TF32 keeps 11
# bits of an entry, so what FP32 is given does not fit: a matmul that is quietly TF32 is wrong.
BOUNDS: "Dict[str, Tuple[int, int]]" = {
    "fp64": (1 << 20, 1 << 20),
    "fp32": (4095, 15),
    "tf32": (1023, 15),
    "fp16": (1, 1),
    "bf16": (1, 1),
}
BATCH, CHANNELS, SIDE, FILTERS = 2, 4, 12, 8


class Matmul(NamedTuple):
    """Two factors and their product."""

    left: Matrix
    right: Matrix
    product: Matrix


def matmul(kind: str) -> Matmul:
    """Return the problem for a type."""
    left_bound, right_bound = BOUNDS[kind]
    source = random.Random("matmul %d %d" % (left_bound, right_bound))
    left = [[source.randint(-left_bound, left_bound) for _ in range(INNER)] for _ in range(ROWS)]
    right = [
        [source.randint(-right_bound, right_bound) for _ in range(COLUMNS)] for _ in range(INNER)
    ]
    columns = list(zip(*right))
    product = [[sum(map(operator.mul, row, column)) for column in columns] for row in left]
    return Matmul(left, right, product)


class Convolution(NamedTuple):
    """Images [n][c][y][x], filters [k][c][3][3], and the result with a border of 1, flat."""

    images: List[List[Matrix]]
    filters: List[List[Matrix]]
    result: List[int]


def convolution() -> Convolution:
    """Return a 3×3 convolution whose sums stay below 2^8."""
    source = random.Random("convolution")

    def block(planes: int, side: int, bound: int) -> List[Matrix]:
        return [
            [[source.randint(-bound, bound) for _ in range(side)] for _ in range(side)]
            for _ in range(planes)
        ]

    images = [block(CHANNELS, SIDE, 2) for _ in range(BATCH)]
    filters = [block(CHANNELS, 3, 1) for _ in range(FILTERS)]
    result = []
    for image in images:
        for one in filters:
            for y in range(SIDE):
                for x in range(SIDE):
                    result.append(_at(image, one, y, x))
    return Convolution(images, filters, result)


def _at(image: List[Matrix], one: List[Matrix], y: int, x: int) -> int:
    total = 0
    for plane, weights in zip(image, one):
        for dy in range(3):
            for dx in range(3):
                row, column = y + dy - 1, x + dx - 1
                if 0 <= row < SIDE and 0 <= column < SIDE:
                    total += plane[row][column] * weights[dy][dx]
    return total


class Regression(NamedTuple):
    """Points, targets, the closed-form solution, and how gradient descent gets there."""

    points: List[List[float]]
    targets: List[float]
    solution: List[float]
    rate: float
    steps: int


def regression() -> Regression:
    """Return a least-squares problem: noisy, well conditioned, solved by the normal equations."""
    source = random.Random("regression")
    truth = [1.5, -2.0, 0.75, 3.25, -0.5, 2.5, -1.25, 0.25]
    points = [[source.uniform(-1, 1) for _ in truth] for _ in range(512)]
    targets = [sum(map(operator.mul, point, truth)) + source.gauss(0, 0.1) for point in points]
    columns = list(zip(*points))
    normal = [[sum(map(operator.mul, a, b)) for b in columns] for a in columns]
    right = [sum(map(operator.mul, a, targets)) for a in columns]
    # The mean square's gradient is 2/n (XᵀXw − Xᵀy). Entries uniform in ±1 have the variance 1/3,
    # so every curvature lies near 2/3: at rate 1 each step leaves about a third of the error.
    return Regression(points, targets, solved(normal, right), 1.0, 200)


def solved(matrix: "Sequence[Sequence[float]]", right: Sequence[float]) -> List[float]:
    """Solve a linear system by elimination with pivots."""
    rows = [[float(v) for v in row] + [float(b)] for row, b in zip(matrix, right)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(i + 1, size):
            factor = rows[r][i] / rows[i][i]
            rows[r] = [v - factor * w for v, w in zip(rows[r], rows[i])]
    answer = [0.0] * size
    for i in reversed(range(size)):
        rest = sum(rows[i][j] * answer[j] for j in range(i + 1, size))
        answer[i] = (rows[i][size] - rest) / rows[i][i]
    return answer


class Pictures(NamedTuple):
    """Generated pictures of four patterns, flat rows of `side`² numbers, and what they show."""

    side: int
    train: List[List[float]]
    train_classes: List[int]
    test: List[List[float]]
    test_classes: List[int]


def pictures() -> Pictures:
    """Return noisy stripes (horizontal, vertical, diagonal) and checkers, 16 × 16."""
    source = random.Random("pictures")
    side = 16
    shows = (
        lambda y, x: y // 2,
        lambda y, x: x // 2,
        lambda y, x: (x + y) // 2,
        lambda y, x: y // 2 + x // 2,
    )

    def drawn(count: int) -> Tuple[List[List[float]], List[int]]:
        found, classes = [], []
        for number in range(count):
            kind = number % len(shows)
            down, right = source.randrange(4), source.randrange(4)
            found.append(
                [
                    (1.0 if shows[kind](y + down, x + right) % 2 else -1.0) + source.gauss(0, 0.5)
                    for y in range(side)
                    for x in range(side)
                ]
            )
            classes.append(kind)
        return found, classes

    train, train_classes = drawn(512)
    test, test_classes = drawn(256)
    return Pictures(side, train, train_classes, test, test_classes)


def weights(name: str, count: int, fan_in: int) -> List[float]:
    """Return starting weights that are the same everywhere, whatever the framework's own are."""
    source = random.Random(name)
    bound = (6.0 / fan_in) ** 0.5  # He's uniform start for layers followed by a rectifier
    return [source.uniform(-bound, bound) for _ in range(count)]
