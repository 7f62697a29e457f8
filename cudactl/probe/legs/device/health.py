"""health on one GPU: everything NVML says of it, before and after a load of our own.

The load is copies (`copies.py`) where the request names libcuda; without it the same counters are
read twice with a short wait between, and the evidence says that there was no load. This part runs
last on its GPU, so that the counters also tell what the other legs' loads did to it.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any, Dict, List, Optional

from ... import nvml_readings as readings
from ...copies import Copies
from ...nvml import TEMPERATURE_GPU, Gpu, Nvml
from .. import Emit, Values, libraries

AT_REST = (
    ("health.recovery", readings.recovery),
    ("health.firmware", readings.firmware),
    ("health.ecc", readings.ecc),
    ("health.memory_repair", readings.memory_repair),
    ("health.repair", readings.repair),
    ("health.modes", readings.modes),
    ("health.processes", readings.processes),
    ("health.power", readings.power),
    ("health.clocks", readings.clocks),
)
AFTERWARDS = (
    ("health.nvlink", readings.nvlink),
    ("health.fabric", readings.fabric),
)
WAIT_S = 0.05


def measure(request: Values, emit: Emit) -> None:
    """Measure health.device and, where the GPU answers, everything else."""
    wanted = libraries(request).get("nvml")
    if wanted is None:
        return
    library = Nvml(*wanted)
    values: Dict[str, Any] = library.loaded.values()
    if library.loaded.library is None:
        emit("health.device", values, library.loaded.error)
        return
    values["init_code"] = library.call("nvmlInit_v2")
    gpu: Optional[Gpu] = None
    if values["init_code"] == 0:
        gpu, values["handle_code"] = library.gpu(str(request["gpu"]["id"]))
    if gpu is not None:
        readings.identity(gpu)
        values.update(gpu.take())
    emit("health.device", values, None)
    if gpu is not None:
        for check, read in AT_REST:
            read(gpu)
            emit(check, gpu.take(), None)
        _under_load(gpu, request, emit)
        for check, read in AFTERWARDS:
            read(gpu)
            emit(check, gpu.take(), None)
    library.call("nvmlShutdown")


def _under_load(gpu: Gpu, request: Values, emit: Emit) -> None:
    """Measure health.throttle, health.pcie and health.temperature before, during and after."""
    readings.throttle(gpu)
    throttled = gpu.take()
    readings.pcie(gpu)
    idle = gpu.take()
    begun = time.monotonic()
    load, seen = _load(gpu, request)
    load["seconds"] = time.monotonic() - begun
    readings.throttle(gpu)
    emit("health.throttle", {"before": throttled, "after": gpu.take(), "load": load, **seen}, None)
    readings.pcie(gpu)
    after = gpu.take()
    busy = seen["links"] or [[after["generation"], after["width"]]]
    emit(
        "health.pcie",
        dict(
            after,
            idle=idle,
            load=load,
            generation_busy=max((one[0] or 0 for one in busy), default=0),
            width_busy=max((one[1] or 0 for one in busy), default=0),
        ),
        None,
    )
    readings.temperature(gpu)
    emit("health.temperature", gpu.take(hottest_c=seen["hottest_c"]), None)


def _load(gpu: Gpu, request: Values) -> "tuple[Dict[str, Any], Dict[str, Any]]":
    """Keep the GPU busy for a while and look at it meanwhile; return the load and what was seen."""
    wanted = libraries(request).get("cuda")
    seconds = max(float(request.get("timed_s") or 0.0), WAIT_S)
    copies = Copies(*wanted) if wanted is not None else None
    if copies is not None:
        copies.start(request["gpu"])
    reasons, links, hottest = 0, [], 0
    end = time.monotonic() + seconds
    while True:
        busy = copies is not None and copies.once()
        link: List[ctypes.c_uint] = [ctypes.c_uint(0), ctypes.c_uint(0)]
        refused = gpu.call("nvmlDeviceGetCurrPcieLinkGeneration", ctypes.byref(link[0]))
        refused |= gpu.call("nvmlDeviceGetCurrPcieLinkWidth", ctypes.byref(link[1]))
        if not refused and [link[0].value, link[1].value] not in links:
            links.append([link[0].value, link[1].value])
        readings.reasons(gpu)
        gpu.number("now", "nvmlDeviceGetTemperature", TEMPERATURE_GPU)
        now = gpu.take()
        reasons |= now["reasons"] or 0
        hottest = max(hottest, now["now"] or 0)
        if time.monotonic() >= end:
            break
        if not busy:
            time.sleep(min(WAIT_S, seconds))
    if copies is not None:
        copies.stop()
    rounds = copies.rounds if copies is not None else 0
    load = {
        "kind": "copies" if rounds else "none",
        "rounds": rounds,
        "error": copies.error if copies is not None else None,
    }
    return load, {"reasons_seen": reasons, "links": links, "hottest_c": hottest or None}
