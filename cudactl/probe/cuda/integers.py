"""Matrices of small integers whose product is known exactly, in plain Python.

A row of integers is one long Python integer with a digit for each entry, so that adding rows is one
addition. That makes a full 512 × 512 × 512 product a matter of tenths of a second, and Freivalds'
check (D·x = B·(A·x) for a random x) of larger ones too.

Everywhere here: D[n][m] = Σ_k B[n][k] · A[m][k], both operands by rows of length K.
"""

from __future__ import annotations

import random
import struct
from array import array
from operator import mul
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

FOUR = (-2, -1, 1, 2)
TWO = (-1, 1)
# No zero among them: a sum that starts with 0 · -1 = -0.0 would differ in its sign bit only.
WEIGHTS = 1 << 20  # a wrong row escapes one random vector with a probability of at most 1/WEIGHTS
_SHIFT = bytes((value + 2) % 256 for value in range(256))


class Wrong(NamedTuple):
    """What is wrong with a product."""

    values: int
    """Wrong entries among those that were looked at one by one."""
    rows: int
    """Rows with at least one wrong entry."""
    row: int
    """The first of them."""
    column: int
    """Its first wrong entry."""
    found: str
    expected: str

    def told(self) -> Dict[str, object]:
        """Return it as measured values."""
        return {
            "wrong_values": self.values,
            "wrong_rows": self.rows,
            "first_wrong": [self.row, self.column],
            "first_found": self.found,
            "first_expected": self.expected,
        }


RIGHT = {"wrong_values": 0, "wrong_rows": 0}


def draw(seed: int, count: int, values: Sequence[int]) -> bytes:
    """Return `count` random values as signed bytes; the same for the same seed."""
    table = bytes(values[byte % len(values)] % 256 for byte in range(256))
    bits = random.Random(seed).getrandbits(8 * count)
    return bits.to_bytes(count, "little").translate(table)


def encode(kind: str, codes: bytes) -> bytes:
    """Return small integers as the GPU's type "fp64", "fp32", "bf16", "fp16", "fp8" or "int8"."""
    tables = [_encoded(kind, byte - 256 if byte > 127 else byte) for byte in range(256)]
    width = len(tables[0])
    out = bytearray(width * len(codes))
    for place in range(width):
        out[place::width] = codes.translate(bytes(one[place] for one in tables))
    return bytes(out)


def _encoded(kind: str, value: int) -> bytes:
    if kind == "fp64":
        return struct.pack("<d", value)
    if kind in ("fp32", "tf32"):
        return struct.pack("<f", value)
    if kind == "bf16":
        return struct.pack("<f", value)[2:]
    if kind == "fp16":
        return struct.pack("<e", value)
    if kind == "fp8":  # E4M3: 1.0 is 0x38, 2.0 is 0x40; nothing else is drawn
        known = {0: 0x00, 1: 0x38, 2: 0x40, -1: 0xB8, -2: 0xC0}
        return bytes([known.get(value, 0x7F)])
    return struct.pack("<b", value)


def _packed(codes: bytes, width: int) -> int:
    """Return Σ codes[j] · 2^(8·width·j)."""
    spread = bytearray(width * len(codes))
    spread[::width] = codes.translate(_SHIFT)
    return int.from_bytes(spread, "little") - 2 * _ones(len(codes), width)


def _ones(count: int, width: int) -> int:
    spread = bytearray(width * count)
    spread[::width] = b"\x01" * count
    return int.from_bytes(spread, "little")


def _unpacked(total: int, count: int, width: int) -> List[int]:
    """Return the digits of a packed row: signed, of `width` bytes (4 or 8)."""
    half = 1 << (8 * width - 1)
    data = (total + half * _ones(count, width)).to_bytes(width * count + 1, "little")
    return [digit - half for digit in array("I" if width == 4 else "Q", data[: width * count])]


class Product:
    """Two random matrices, and what is known of their product."""

    def __init__(self, seed: int, m: int, n: int, k: int, values: Sequence[int]) -> None:
        self.m, self.n, self.k = m, n, k
        self.a = draw(2 * seed, m * k, values)
        self.b = draw(2 * seed + 1, n * k, values)
        self._columns: Optional[List[int]] = None

    def row(self, n: int) -> List[int]:
        """Return a row of D."""
        if self._columns is None:
            self._columns = [_packed(self.a[k :: self.k], 4) for k in range(self.k)]
        line = array("b", self.b[n * self.k : (n + 1) * self.k])
        return _unpacked(sum(map(mul, line, self._columns)), self.m, 4)

    def compare(self, data: bytes, code: str) -> Dict[str, object]:
        """Compare every entry of D; return "wrong_values" and what the first wrong one is.

        Args:
            data: D by rows.
            code: Its type as `array` writes it: "f", "d" or "i".
        """
        size = array(code).itemsize * self.m
        rows = []
        for n in range(self.n):
            line = data[n * size : (n + 1) * size]
            expected = array(code, self.row(n))
            if line != expected.tobytes():
                wrong = _differing(array(code, line), expected)
                if wrong:
                    rows.append((n, wrong))
        return _wrong(rows, len(rows))

    def verify(self, data: bytes, code: str, seed: int) -> Dict[str, object]:
        """Check D by Freivalds; rows that do not fit are looked at entry by entry (the first 8)."""
        numbers = random.Random(seed)
        x = [numbers.randrange(1, WEIGHTS) for _ in range(self.m)]
        expected = self._times(x)
        weights = [float(one) for one in x] if code in ("f", "d") else x
        size = array(code).itemsize * self.m
        bad = []
        for n in range(self.n):
            line = array(code, data[n * size : (n + 1) * size])
            # Exact in a double: |D| ≤ 2^14, weights ≤ 2^20, at most 2^13 of them.
            if sum(map(mul, line, weights)) != expected[n]:
                bad.append(n)
        rows = []
        for n in bad[:8]:
            line = array(code, data[n * size : (n + 1) * size])
            rows.append((n, _differing(line, array(code, self.row(n)))))
        return _wrong(rows, len(bad))

    def _times(self, x: List[int]) -> List[int]:
        """Return D·x without D."""
        rows = (_packed(self.a[m * self.k : (m + 1) * self.k], 8) for m in range(self.m))
        inner = _unpacked(sum(map(mul, x, rows)), self.k, 8)
        columns = (_packed(self.b[k :: self.k], 8) for k in range(self.k))
        return _unpacked(sum(map(mul, inner, columns)), self.n, 8)


Row = Tuple[int, List[Tuple[int, object, object]]]


def _differing(
    found: Sequence[object], expected: Sequence[object]
) -> List[Tuple[int, object, object]]:
    pairs = enumerate(zip(found, expected))
    return [(place, one, other) for place, (one, other) in pairs if one != other]


def _wrong(rows: List[Row], count: int) -> Dict[str, object]:
    if not count:
        return dict(RIGHT)
    values = sum(len(wrong) for _, wrong in rows)
    for row, wrong in rows:
        if wrong:
            column, found, expected = wrong[0]
            return Wrong(values, count, row, column, repr(found), repr(expected)).told()
    # The sums differ and no entry does: only possible where the check itself is broken.
    return {"wrong_values": None, "wrong_rows": count}
