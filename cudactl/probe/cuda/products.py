"""Small exact products on every SM: each block computes one, and says on which SM it ran.

A wrong element has a place on the chip then, and an SM that never ran anything is seen. In each
number type the answer is known to the last bit. As with the memory walk, an answer that is wrong on
purpose must be noticed, by every block.
"""

from __future__ import annotations

import ctypes
import struct
import time
from typing import Any, Dict, List, Tuple

from . import ptx
from .driver_api import Module

BLOCKS_PER_SM = 16
FORMATS = {"s32": "i", "f32": "f", "f64": "d"}
SEED = 20261124
MOST_ROUNDS = 100_000


class Product:
    """One number type's product, in device memory."""

    def __init__(self, module: Module, kind: str) -> None:
        self.kind = kind
        self._module = module
        self._driver = module.driver
        a, b, self.product = ptx.inputs(SEED)
        self._inputs = self._put(a + b)
        self._expected = self._put(self.product)
        self._tables = self._driver.allocate(8 * ptx.SM_SLOTS)
        self._report = self._driver.allocate(8 * ptx.REPORT_WORDS)
        self.clear()

    def _put(self, numbers: List[int]) -> int:
        at = self._driver.allocate(8 * len(numbers))
        self._driver.upload(at, self._packed(numbers))
        return at

    def _packed(self, numbers: List[int]) -> bytes:
        return struct.pack("<%d%s" % (len(numbers), FORMATS[self.kind]), *numbers)

    def expect(self, numbers: List[int]) -> None:
        """Let the kernel compare with other numbers."""
        self._driver.upload(self._expected, self._packed(numbers))

    def clear(self) -> None:
        """Begin anew to count."""
        self._driver.call("cuMemsetD8_v2", self._tables, 0, 8 * ptx.SM_SLOTS)
        self._driver.call("cuMemsetD8_v2", self._report, 0, 8 * ptx.REPORT_WORDS)

    def launch(self, blocks: int) -> None:
        """Start `blocks` blocks."""
        wrong = self._tables + 4 * ptx.SM_SLOTS
        pointers = (self._inputs, self._expected, self._tables, wrong, self._report)
        arguments = [ctypes.c_uint64(pointer) for pointer in pointers]
        self._module.launch("cudactl_matmul_" + self.kind, blocks, ptx.THREADS, *arguments)

    def counted(self) -> Tuple[Dict[int, int], Dict[int, int], Tuple[int, ...]]:
        """Wait, and return blocks by SM, wrong elements by SM, and the report's words."""
        self._driver.call("cuCtxSynchronize")
        table = self._driver.download(self._tables, 8 * ptx.SM_SLOTS)
        numbers = struct.unpack("<%dI" % (2 * ptx.SM_SLOTS), table)
        visited = {sm: count for sm, count in enumerate(numbers[: ptx.SM_SLOTS]) if count}
        wrong = {sm: count for sm, count in enumerate(numbers[ptx.SM_SLOTS :]) if count}
        report = self._driver.download(self._report, 8 * ptx.REPORT_WORDS)
        return visited, wrong, struct.unpack("<%dQ" % ptx.REPORT_WORDS, report)

    def number(self, bits: int) -> float:
        """Return what the bits of a report's word mean in this type."""
        data = struct.pack("<Q", bits)
        (found,) = struct.unpack_from("<" + FORMATS[self.kind], data)
        return float(found)

    def planted(self, blocks: int) -> bool:
        """Return whether every block notices one expected number that is wrong on purpose."""
        altered = list(self.product)
        altered[-1] += 1
        self.expect(altered)
        self.clear()
        self.launch(blocks)
        _, wrong, report = self.counted()
        self.expect(self.product)
        self.clear()
        return report[0] == blocks == sum(wrong.values()) and report[5] == len(altered) - 1

    def free(self) -> None:
        """Give its memory back."""
        for pointer in (self._inputs, self._expected, self._tables, self._report):
            self._driver.call("cuMemFree_v2", pointer)


def measure(module: Module, sm_count: int, timed_s: float) -> Dict[str, Any]:
    """Compute the products in every type, again and again for `timed_s` seconds.

    Returns:
        sms_visited; blocks_launched and blocks_counted; compared_elements and wrong_elements;
        wrong_sms (SM → wrong elements); first_wrong; planted_found, by type.
    """
    blocks = BLOCKS_PER_SM * sm_count
    seen: Dict[int, int] = {}
    bad: Dict[int, int] = {}
    first = None
    planted: Dict[str, bool] = {}
    launched = wrong_elements = 0
    for kind in ptx.KINDS:
        product = Product(module, kind)
        planted[kind] = product.planted(blocks)
        until = time.monotonic() + timed_s / len(ptx.KINDS)
        rounds = 0
        while not rounds or (time.monotonic() < until and rounds < MOST_ROUNDS):
            product.launch(blocks)
            rounds += 1
            if rounds % 64 == 0:  # the queue of launches must not run ahead of the clock
                module.driver.call("cuCtxSynchronize")
        visited, wrong, report = product.counted()
        launched += rounds * blocks
        wrong_elements += report[0]
        for total, some in ((seen, visited), (bad, wrong)):
            for sm, count in some.items():
                total[sm] = total.get(sm, 0) + count
        if report[0] and first is None:
            first = {
                "kind": kind,
                "sm": report[1] - 1,
                "element": report[5],
                "expected": "%g" % product.number(report[2]),
                "found": "%g" % product.number(report[3]),
            }
        product.free()
    return {
        "kinds": list(ptx.KINDS),
        "sms_visited": len(seen),
        "blocks_launched": launched,
        "blocks_counted": sum(seen.values()),
        "compared_elements": launched * ptx.ROWS * ptx.COLUMNS,
        "wrong_elements": wrong_elements,
        "wrong_sms": {str(sm): count for sm, count in sorted(bad.items())[:64]},
        "first_wrong": first,
        "planted_found": planted,
    }
