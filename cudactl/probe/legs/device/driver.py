"""driver, on one GPU: libcuda and nothing else, so that what fails here is the driver or the GPU.

What the GPU says of itself; our kernels compiled by the driver; memory written and read; exact
products on every SM; copies, compared; and how fast its memory is.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any, Callable, Dict, Optional

from ...cuda import products, ptx, walk
from ...cuda.driver_api import CudaError, Driver, Module
from ...cuda.timing import Stopwatch
from ...loading import Loaded
from .. import Emit, Values, libraries

COPY_BYTES = 32 << 20
BANDWIDTH_BYTES = 1 << 30
ATTRIBUTES = {
    "sm_count": "MULTIPROCESSOR_COUNT",
    "clock_khz": "CLOCK_RATE",
    "memory_clock_khz": "MEMORY_CLOCK_RATE",
    "memory_bus_bits": "GLOBAL_MEMORY_BUS_WIDTH",
    "l2_bytes": "L2_CACHE_SIZE",
    "ecc": "ECC_ENABLED",
    "copy_engines": "ASYNC_ENGINE_COUNT",
    "compute_mode": "COMPUTE_MODE",
    "integrated": "INTEGRATED",
}


def measure(request: Values, emit: Emit) -> None:
    """Measure driver.device, kernels, memory, compute, copy and bandwidth."""
    wanted = libraries(request).get("cuda")
    if wanted is None:
        return
    # Compiling is measured, and nothing is left in the user's home.
    os.environ["CUDA_CACHE_DISABLE"] = "1"
    cuda = Loaded(*wanted)
    if cuda.library is None:
        emit("driver.device", cuda.values(), cuda.error)
        return
    part = _Part(Driver(cuda.library), request, emit)
    if not part.try_to("driver.device", part.device):
        return
    if part.try_to("driver.kernels", part.kernels):
        part.try_to("driver.memory", part.memory)
        part.try_to("driver.compute", part.compute)
    part.try_to("driver.copy", part.copy)
    if part.module is not None:
        part.try_to("driver.bandwidth", part.bandwidth)


class _Part:
    """The measurements, in order; after one that lost the context, nothing more can be had."""

    def __init__(self, driver: Driver, request: Values, emit: Emit) -> None:
        self.driver = driver
        self.request = request
        self.emit = emit
        self.timed_s = float(request.get("timed_s") or 0)
        self.sm_count = 0
        self.module: Optional[Module] = None
        self.lost = False

    def try_to(self, check: str, take: Callable[[Values], None]) -> bool:
        """Take one measurement and emit it: with what was measured until an error, if any."""
        if self.lost:
            return False
        values: Values = {}
        error: Optional[str] = None
        try:
            take(values)
        except (CudaError, AttributeError) as caught:
            error = str(caught)
            self.lost = self._context_is_lost()
        self.emit(check, values, error)
        return error is None

    def _context_is_lost(self) -> bool:
        try:
            self.driver.call("cuCtxSynchronize")
        except CudaError:
            return True
        return False

    def device(self, values: Values) -> None:
        """Which GPU this is, by its own word."""
        driver = self.driver
        driver.call("cuInit", 0)
        values["device_count"] = driver.number("cuDeviceGetCount")
        device = self._ours(values["device_count"])
        values["name"] = driver.text("cuDeviceGetName", device)
        values["bus_id"] = driver.text("cuDeviceGetPCIBusId", device)
        values["uuid"] = driver.uuid(device)
        parts = ("COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR")
        values["cc"] = "%d.%d" % tuple(driver.attribute(device, part) for part in parts)
        values["total_bytes"] = driver.total_memory(device)
        for key, name in ATTRIBUTES.items():
            values[key] = driver.attribute(device, name)
        self.sm_count = values["sm_count"]
        driver.use(device)
        values["free_bytes"] = driver.free_memory()

    def _ours(self, count: int) -> int:
        """Return the device of the GPU that was asked for, where more than one is visible."""
        address = str(self.request["gpu"].get("address") or "")
        if count > 1 and address:
            return self.driver.number("cuDeviceGetByPCIBusId", address.encode())
        return self.driver.number("cuDeviceGet", 0)

    def kernels(self, values: Values) -> None:
        """Whether the driver compiles our kernels for this GPU."""
        begun = time.monotonic()
        code = ptx.module()
        values["ptx_bytes"] = len(code)
        module = self.driver.load(code)
        for name in ptx.kernels():
            module.kernel(name)
        values["kernels"] = len(ptx.kernels())
        values["compile_s"] = time.monotonic() - begun
        self.module = module

    def memory(self, values: Values) -> None:
        """Write and read a share of the free memory."""
        assert self.module is not None
        share = float(self.request.get("memory_share") or 0)
        free = self.driver.free_memory()
        values["free_bytes"] = free
        values.update(walk.measure(self.module, self.sm_count, free, share, self.timed_s))

    def compute(self, values: Values) -> None:
        """Exact products on every SM."""
        assert self.module is not None
        values["sm_count"] = self.sm_count
        values.update(products.measure(self.module, self.sm_count, self.timed_s))

    def copy(self, values: Values) -> None:
        """Copies to the device, on it and back: timed, then compared byte by byte."""
        driver = self.driver
        size = int(self.request.get("copy_bytes") or COPY_BYTES)
        values["copied_bytes"] = size
        source, target = driver.allocate_host(size), driver.allocate_host(size)
        first, second = driver.allocate(size), driver.allocate(size)
        data = os.urandom(size)
        ctypes.memmove(source, data, size)
        ctypes.memset(target, 0, size)
        watch = Stopwatch(driver)
        ways: Dict[str, Callable[[], object]] = {
            "h2d": lambda: driver.call("cuMemcpyHtoDAsync_v2", first, source, size, None),
            "d2d": lambda: driver.call("cuMemcpyDtoDAsync_v2", second, first, size, None),
            "d2h": lambda: driver.call("cuMemcpyDtoHAsync_v2", target, second, size, None),
        }
        for way, work in ways.items():
            values.update(_rates(way, watch.rates(work, size / 1e9, self.timed_s / 6)))
        found = ctypes.string_at(target, size)
        values.update(_difference(found, data))
        # Once more across every alignment: one byte in, an odd length.
        driver.call("cuMemcpyHtoD_v2", first + 1, source, size - 3)
        driver.call("cuMemcpyDtoD_v2", second + 2, first + 1, size - 3)
        odd = driver.download(second + 2, size - 3)
        values["wrong_bytes_unaligned"] = _difference(odd, data[: size - 3])["wrong_bytes"]
        for pointer in (first, second):
            driver.call("cuMemFree_v2", pointer)
        for pointer in (source, target):
            driver.call("cuMemFreeHost", pointer)

    def bandwidth(self, values: Values) -> None:
        """How fast the memory is: copied, written and read, far beyond the caches."""
        assert self.module is not None
        driver = self.driver
        wanted = int(self.request.get("bandwidth_bytes") or BANDWIDTH_BYTES)
        size = min(wanted, driver.free_memory() // 4) // walk.PAIR_BYTES * walk.PAIR_BYTES
        values["buffer_bytes"] = size
        memory = walk.Walk(self.module, self.sm_count)
        first, second = (driver.allocate(size), size), (driver.allocate(size), size)
        _, select, mask = walk.PATTERNS[3]
        memory.clear()
        memory.fill(first, select, mask)
        watch = Stopwatch(driver)
        share = self.timed_s / 3
        copy: Callable[[], object] = lambda: driver.call(  # noqa: E731
            "cuMemcpyDtoDAsync_v2", second[0], first[0], size, None
        )
        # Each copied byte is read once and written once.
        values.update(_rates("copy", watch.rates(copy, 2 * size / 1e9, share)))
        read: Callable[[], object] = lambda: memory.verify(second, select, mask)  # noqa: E731
        values.update(_rates("read", watch.rates(read, size / 1e9, share)))
        values["wrong_words"] = memory.report()["wrong_words"]
        write: Callable[[], object] = lambda: memory.fill(first, select, mask)  # noqa: E731
        values.update(_rates("write", watch.rates(write, size / 1e9, share)))
        for pointer, _ in (first, second):
            driver.call("cuMemFree_v2", pointer)


def _rates(name: str, found: Dict[str, Any]) -> Values:
    values = {"%s_gbs_%s" % (name, key): found[key] for key in ("least", "median", "most")}
    values[name + "_repetitions"] = found["repetitions"]
    values[name + "_variation"] = found["variation"]
    return values


def _difference(found: bytes, expected: bytes) -> Values:
    """Return how many bytes differ, and the first."""
    if found == expected:
        return {"wrong_bytes": 0, "first_wrong": None}
    wrong = [at for at, (one, other) in enumerate(zip(found, expected)) if one != other]
    at = wrong[0]
    first = {"offset_bytes": at, "expected": expected[at], "found": found[at]}
    return {"wrong_bytes": len(wrong), "first_wrong": first}
