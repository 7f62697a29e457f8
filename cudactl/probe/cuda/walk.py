"""The memory walk: every word of a large part of the memory is written and read in six patterns.

All of it is written before any of it is read, so that a word which lands at another's address is
found by the patterns that are made of addresses. A word that is wrong on purpose comes first: a
walk that does not find it could not find another, either.
"""

from __future__ import annotations

import ctypes
import struct
import time
from typing import Any, Dict, List, Tuple

from . import ptx
from .driver_api import CONSTANTS, CudaError, Driver, Module

ALL = (1 << 64) - 1
PATTERNS: Tuple[Tuple[str, int, int], ...] = (
    ("zeros", 0, 0),
    ("ones", 0, ALL),
    ("0101", 0, ALL // 3),
    ("1010", 0, ALL // 3 * 2),
    ("address", ALL, 0),
    ("inverse address", ALL, ALL),
)
"""Name, select, mask: what each 64-bit word holds is (its address AND select) XOR mask."""
CHUNK_BYTES = 1 << 30
PAIR_BYTES = 16
BLOCKS_PER_SM = 8


class Walk:
    """The chunks of memory that are walked, and the report that the kernels write."""

    def __init__(self, module: Module, sm_count: int) -> None:
        self._module = module
        self._driver: Driver = module.driver
        self._blocks = BLOCKS_PER_SM * sm_count
        self._report = self._driver.allocate(8 * ptx.REPORT_WORDS)
        self.chunks: List[Tuple[int, int]] = []

    def allocate(self, wanted: int) -> int:
        """Allocate about `wanted` bytes in chunks, and return how many there are."""
        while sum(size for _, size in self.chunks) + PAIR_BYTES <= wanted:
            left = wanted - sum(size for _, size in self.chunks)
            size = min(CHUNK_BYTES, left) // PAIR_BYTES * PAIR_BYTES
            try:
                self.chunks.append((self._driver.allocate(size), size))
            except CudaError as error:
                # What is free need not be free in one piece; what was got is walked, and said.
                if error.code != CONSTANTS["CUDA_ERROR_OUT_OF_MEMORY"] or not self.chunks:
                    raise
                break
        return sum(size for _, size in self.chunks)

    def free(self) -> None:
        """Give all of it back."""
        while self.chunks:
            self._driver.call("cuMemFree_v2", self.chunks.pop()[0])

    def fill(self, chunk: Tuple[int, int], select: int, mask: int) -> None:
        """Start writing a pattern."""
        at, size = chunk
        arguments = [ctypes.c_uint64(x) for x in (at, size // PAIR_BYTES, select, mask)]
        self._module.launch("cudactl_fill", self._blocks, ptx.THREADS, *arguments)

    def verify(self, chunk: Tuple[int, int], select: int, mask: int) -> None:
        """Start reading a pattern; what is wrong is added to the report."""
        at, size = chunk
        words = (at, size // PAIR_BYTES, select, mask, self._report)
        arguments = [ctypes.c_uint64(x) for x in words]
        self._module.launch("cudactl_verify", self._blocks, ptx.THREADS, *arguments)

    def clear(self) -> None:
        """Begin a new report."""
        self._driver.call("cuMemsetD8_v2", self._report, 0, 8 * ptx.REPORT_WORDS)

    def report(self) -> Dict[str, int]:
        """Wait for the kernels and return the report: wrong_words, and the first of them."""
        self._driver.call("cuCtxSynchronize")
        words = struct.unpack("<5Q", self._driver.download(self._report, 40))
        return dict(zip(("wrong_words", "address", "expected", "found", "bits"), words))

    def planted(self) -> bool:
        """Return whether a word that is wrong on purpose, the very last one, is found."""
        at, size = self.chunks[-1]
        _, select, mask = PATTERNS[-1]
        last = at + size - 8
        self.clear()
        self.fill(self.chunks[-1], select, mask)
        self._driver.call("cuCtxSynchronize")
        wrong = (last & select) ^ mask ^ (1 << 17)
        self._driver.upload(last, struct.pack("<Q", wrong))
        self.verify(self.chunks[-1], select, mask)
        found = self.report()
        expected = {"wrong_words": 1, "address": last, "found": wrong, "bits": 1 << 17}
        return {key: found[key] for key in expected} == expected

    def once(self) -> List[Dict[str, Any]]:
        """Write and read all patterns once, and return what was wrong, by pattern."""
        found = []
        for name, select, mask in PATTERNS:
            self.clear()
            for chunk in self.chunks:
                self.fill(chunk, select, mask)
            for chunk in self.chunks:
                self.verify(chunk, select, mask)
            report = self.report()
            if report["wrong_words"]:
                found.append(described(name, report))
        return found


def described(pattern: str, report: Dict[str, int]) -> Dict[str, Any]:
    """Return a report as evidence: 64-bit numbers as text, which no JSON reader rounds."""
    hexadecimal = {key: "0x%016x" % report[key] for key in ("address", "expected", "found", "bits")}
    return dict(hexadecimal, pattern=pattern, wrong_words=report["wrong_words"])


def measure(
    module: Module, sm_count: int, free: int, share: float, timed_s: float
) -> Dict[str, Any]:
    """Walk over a share of the free memory, at least once, and for `timed_s` seconds.

    Returns:
        checked_bytes; rounds of all patterns; wrong_words; first_wrong (the first report with any);
        planted_found.
    """
    walk = Walk(module, sm_count)
    try:
        checked = walk.allocate(max(PAIR_BYTES, int(free * share)))
        planted = walk.planted()
        until = time.monotonic() + timed_s
        rounds = 0
        reports: List[Dict[str, Any]] = []
        while not rounds or (time.monotonic() < until and not reports):
            reports += walk.once()
            rounds += 1
    finally:
        walk.free()
    return {
        "checked_bytes": checked,
        "rounds": rounds,
        "patterns": [name for name, _, _ in PATTERNS],
        "wrong_words": sum(report["wrong_words"] for report in reports),
        "wrong_in": [report["pattern"] for report in reports],
        "first_wrong": reports[0] if reports else None,
        "planted_found": planted,
    }
