"""Random normal numbers in the GPU's types: what speed is measured on.

Zeros and ones switch fewer transistors, so a GPU that its power limit holds back looks fine on them
(validate.md, section 1.4). The block's length is prime, so no two rows of a matrix are the same.
"""

from __future__ import annotations

import random
import struct
from array import array
from typing import List

BLOCK = 262_147


class Normals:
    """One block of random normal numbers, encoded as each type when it is asked for."""

    def __init__(self, seed: int, count: int = BLOCK) -> None:
        numbers = random.Random(seed)
        self._values = [numbers.gauss(0.0, 1.0) for _ in range(count)]

    def block(self, kind: str) -> bytes:
        """Return the block as one of blas_lt.KINDS."""
        if kind == "fp64":
            return array("d", self._values).tobytes()
        if kind in ("fp32", "tf32"):
            return array("f", self._values).tobytes()
        if kind == "fp16":
            return struct.pack("<%de" % len(self._values), *self._values)
        if kind == "bf16":
            single = array("f", self._values).tobytes()
            out = bytearray(len(single) // 2)
            out[0::2], out[1::2] = single[2::4], single[3::4]
            return bytes(out)
        if kind == "fp8":
            half = struct.pack("<%de" % len(self._values), *self._values)
            upper = half[1::2].translate(bytes(_e4m3(byte) for byte in range(256)))
            lower = half[0::2].translate(bytes(byte >> 7 for byte in range(256)))
            joined = int.from_bytes(upper, "little") | int.from_bytes(lower, "little")
            return joined.to_bytes(len(upper), "little")
        whole = (max(-127, min(127, round(32 * value))) for value in self._values)
        return array("b", whole).tobytes()


def _e4m3(upper: int) -> int:
    """Return the E4M3 byte, but for its last bit, of a half's upper byte (s eeeee mm)."""
    exponent = (upper >> 2 & 0x1F) - 15 + 7
    if exponent < 1:
        return upper & 0x80  # next to zero
    return upper & 0x80 | exponent << 3 | (upper & 3) << 1


def decode(kind: str, data: bytes) -> List[float]:
    """Return what encoded numbers are worth; `kind` may also be a result's type, "int32"."""
    if kind == "fp64":
        return list(array("d", data))
    if kind in ("fp32", "tf32"):
        return list(array("f", data))
    if kind == "fp16":
        return list(struct.unpack("<%de" % (len(data) // 2), data))
    if kind == "bf16":
        wide = bytearray(2 * len(data))
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        return list(array("f", bytes(wide)))
    if kind == "int32":
        return [float(one) for one in array("i", data)]
    if kind == "int8":
        return [float(one) for one in array("b", data)]
    table = [_from_e4m3(byte) for byte in range(256)]
    return [table[byte] for byte in data]


def _from_e4m3(byte: int) -> float:
    sign = -1.0 if byte & 0x80 else 1.0
    exponent, mantissa = byte >> 3 & 0x0F, byte & 7
    if exponent == 15 and mantissa == 7:
        return float("nan")
    if exponent == 0:
        return float(sign * mantissa * 2.0**-9)
    return float(sign * (1 + mantissa / 8) * 2.0 ** (exponent - 7))
