"""collectives: all GPUs of the machine together, in one process: NCCL, and copies between them.

Sums of whole numbers first, whose result every GPU must hold bit for bit; copies from every GPU to
every other one, compared; then the bus bandwidth of a large sum. Left alone where somebody else
computes on a GPU.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..cuda import nccl as sums
from ..cuda.calls import CallFailed
from ..cuda.driver_api import CudaError, Driver
from ..files import Root
from ..loading import Loaded
from ..tested import users
from . import Emit, Values, libraries

COUNT = (1 << 20) + 3  # no multiple of anything that a kernel takes at once
COPY_BYTES = 4 << 20
TIMED_BYTES = 256 << 20
PEER_ALREADY_ENABLED = 704  # cuda.h CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
NON_BLOCKING = 1
PRIME = 251


def measure(request: Values, emit: Emit) -> None:
    """Measure collectives.nccl, allreduce, peers and bandwidth."""
    wanted = libraries(request)
    if "nccl" not in wanted or "cuda" not in wanted:
        return
    cuda = Loaded(*wanted["cuda"])
    library = Loaded(*wanted["nccl"])
    values: Values = library.values()
    nccl: Optional[sums.Nccl] = None
    error = library.error
    try:
        nccl = sums.Nccl(library)
        values["version_number"] = nccl.version()
    except (AttributeError, CallFailed) as caught:
        error = error or str(caught)
    emit("collectives.nccl", values, error)
    busy = somebody()
    gpus: List[_Gpu] = []
    seen: Values = {"gpus": 0, "users": busy}
    wrong = cuda.error
    try:
        if cuda.library is not None and not busy:
            seen["gpus"], gpus = _gpus(cuda.library)
    except CudaError as caught:
        wrong = str(caught)
    for check, take in (
        ("collectives.peers", lambda: _peers(gpus)),
        ("collectives.allreduce", lambda: _all_reduce(nccl, gpus)),
        ("collectives.bandwidth", lambda: _bandwidth(nccl, gpus, request)),
    ):
        if gpus:
            _said(check, seen, take, emit)
        else:  # one GPU, or somebody is using them, or libcuda does not answer
            emit(check, dict(seen), wrong)


def _said(check: str, seen: Values, take: Callable[[], Values], emit: Emit) -> None:
    try:
        emit(check, dict(seen, **take()), None)
    except (CudaError, CallFailed, AttributeError) as error:
        emit(check, dict(seen), str(error))


def somebody() -> List[int]:
    """Return the processes that compute on GPUs and are none of this run's legs."""
    own = os.getppid()
    return sorted(pid for pid in users(Root()) if own not in _ancestors(pid))


def _ancestors(pid: int) -> List[int]:
    found: List[int] = []
    while pid > 1 and len(found) < 64:
        found.append(pid)
        try:
            with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
                pid = int(stream.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            break
    return found


class _Gpu:
    """One GPU: its context and its stream."""

    def __init__(self, driver: Driver, number: int) -> None:
        self.driver = driver
        self.device = driver.number("cuDeviceGet", number)
        self.context = ctypes.c_void_p()
        driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), self.device)
        self.enter()
        self.stream = ctypes.c_void_p()
        driver.call("cuStreamCreate", ctypes.byref(self.stream), NON_BLOCKING)

    def enter(self) -> None:
        """Make this the current GPU."""
        self.driver.call("cuCtxSetCurrent", self.context)

    def memory(self, data: bytes) -> int:
        """Return the address of a copy of `data`."""
        self.enter()
        at = self.driver.allocate(len(data))
        self.driver.upload(at, data)
        # A copy from pageable memory may still be under way, and our stream does not wait for it.
        self.driver.call("cuCtxSynchronize")
        return at

    def read(self, at: int, size: int) -> bytes:
        """Return what lies there, after all that was started has ended."""
        self.wait()
        return self.driver.download(at, size)

    def wait(self) -> None:
        """Wait for the stream."""
        self.enter()
        self.driver.call("cuStreamSynchronize", self.stream)

    def free(self, *addresses: int) -> None:
        """Give memory back."""
        self.enter()
        for at in addresses:
            self.driver.call("cuMemFree_v2", at)


def _gpus(library: ctypes.CDLL) -> Tuple[int, List[_Gpu]]:
    """Return how many GPUs CUDA sees and, where it sees several, all of them."""
    driver = Driver(library)
    driver.call("cuInit", 0)
    count = driver.number("cuDeviceGetCount")
    return count, [_Gpu(driver, number) for number in range(count)] if count > 1 else []


def _peers(gpus: List[_Gpu]) -> Values:
    """Copy from every GPU to every other one, and compare."""
    driver = gpus[0].driver
    pairs: List[Dict[str, Any]] = []
    for source_at, source in enumerate(gpus):
        # A prime period: what lands in the wrong place does not look right by chance.
        period = bytes((7 * i + 31 * source_at) % PRIME for i in range(PRIME))
        data = (period * (COPY_BYTES // PRIME + 1))[:COPY_BYTES]
        given = source.memory(data)
        for target_at, target in enumerate(gpus):
            if target is source:
                continue
            can = driver.number("cuDeviceCanAccessPeer", target.device, source.device)
            if can:
                _enable(driver, target, source)
            taken = target.memory(b"\xff" * COPY_BYTES)
            begun = time.perf_counter()
            driver.call("cuMemcpyPeer", taken, target.context, given, source.context, COPY_BYTES)
            driver.call("cuCtxSynchronize")
            took = time.perf_counter() - begun
            found = target.read(taken, COPY_BYTES)
            wrong = 0 if found == data else sum(a != b for a, b in zip(found, data))
            pairs.append(
                {
                    "from": source_at,
                    "to": target_at,
                    "direct": bool(can),
                    "checked_bytes": COPY_BYTES,
                    "wrong_bytes": wrong,
                    "gbs": COPY_BYTES / took / 1e9,
                }
            )
            target.free(taken)
        source.free(given)
    return {"pairs": pairs}


def _enable(driver: Driver, target: _Gpu, source: _Gpu) -> None:
    target.enter()
    try:
        driver.call("cuCtxEnablePeerAccess", source.context, 0)
    except CudaError as error:
        if error.code != PEER_ALREADY_ENABLED:
            raise


def _begun(nccl: Optional[sums.Nccl], gpus: List[_Gpu]) -> sums.Nccl:
    if nccl is None:
        raise AttributeError("libnccl is not loaded")
    nccl.begin([gpu.device for gpu in gpus])
    return nccl


def _all_reduce(library: Optional[sums.Nccl], gpus: List[_Gpu]) -> Values:
    """Sum whole numbers over all GPUs, in every type, and compare what each of them holds."""
    nccl = _begun(library, gpus)
    by_type: Dict[str, Any] = {}
    wanted = sums.total(min(len(gpus), sums.MOST_GPUS))
    for kind, (_, size) in sums.TYPES.items():
        if len(gpus) > sums.MOST_GPUS and size == 2:
            continue
        if len(gpus) > sums.MOST_GPUS:
            wanted = sums.total(len(gpus))
        blocks = [sums.encoded(kind, sums.contribution(rank), COUNT) for rank in range(len(gpus))]
        given = [gpu.memory(block) for gpu, block in zip(gpus, blocks)]
        taken = [gpu.memory(b"\xff" * (COUNT * size)) for gpu in gpus]
        nccl.all_reduce(kind, COUNT, given, taken, [gpu.stream for gpu in gpus])
        for gpu in gpus:
            gpu.wait()
        right = sums.encoded(kind, wanted, COUNT)
        by_type[kind] = [
            dict(sums.compared(kind, gpu.read(at, COUNT * size), right), gpu=number)
            for number, (gpu, at) in enumerate(zip(gpus, taken))
        ]
        for gpu, one, other in zip(gpus, given, taken):
            gpu.free(one, other)
    nccl.end()
    return {"by_type": by_type}


def _bandwidth(library: Optional[sums.Nccl], gpus: List[_Gpu], request: Values) -> Values:
    """Time large sums: bytes per second of each GPU's data, and of the bus (nccl-tests' factor)."""
    nccl = _begun(library, gpus)
    size = int(request.get("bytes") or TIMED_BYTES)
    count, seconds = size // 4, float(request.get("timed_s") or 1.0)
    streams = [gpu.stream for gpu in gpus]
    memory = []
    for gpu in gpus:
        gpu.enter()
        memory.append((gpu.driver.allocate(size), gpu.driver.allocate(size)))
        gpu.driver.call("cuMemsetD8_v2", memory[-1][0], 0x3C, size)
        gpu.driver.call("cuCtxSynchronize")
    given, taken = [one[0] for one in memory], [one[1] for one in memory]

    def timed(times: int) -> float:
        begun = time.perf_counter()
        for _ in range(times):
            nccl.all_reduce("fp32", count, given, taken, streams)
        for gpu in gpus:
            gpu.wait()
        return (time.perf_counter() - begun) / times

    timed(3)
    once = max(timed(3), 1e-6)
    times = max(1, min(1000, int(seconds / 5 / once)))
    samples = sorted(timed(times) for _ in range(5))
    nccl.end()
    for gpu, pair in zip(gpus, memory):
        gpu.free(*pair)
    ranks = len(gpus)
    algorithm = size / samples[len(samples) // 2] / 1e9
    return {
        "bytes": size,
        "algorithm_gbs": algorithm,
        # nccl-tests, doc/PERFORMANCE.md: an all-reduce moves 2 (n − 1) / n times the data.
        "bus_gbs": algorithm * 2 * (ranks - 1) / ranks,
        "slowest_gbs": size / samples[-1] / 1e9,
        "samples": len(samples),
    }
