"""energy on one GPU: what a known amount of work costs, by NVML's energy counter.

The counter (millijoules since the driver was loaded; Volta and later) is read before and after a
load of multiply-adds; where it is missing, the power is sampled while the load runs. The idle power
is read before, with the context already made, so that both are of the same state.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from ...cuda.burn import Burn
from ...cuda.driver_api import CudaError, Driver
from ...loading import Loaded
from ...nvml import Gpu, Nvml
from .. import Emit, Values, libraries

IDLE_SAMPLES, IDLE_S = 5, 0.1
SAMPLE_S = 0.05
LEAST_S = 1.0
"""NVML's counters move every 20 to 100 ms; over a second that is a tenth at the most."""
UNDER_WAY = 3  # launches in the queue, so that the GPU never waits for the host


def measure(request: Values, emit: Emit) -> None:
    """Measure energy.draw."""
    wanted = libraries(request)
    values: Dict[str, Any] = {}
    try:
        _measure(request, wanted, values)
    except (CudaError, EnergyError, KeyError, AttributeError) as error:
        emit("energy.draw", values, str(error))
        return
    emit("energy.draw", values, None)


class EnergyError(Exception):
    """NVML does not answer."""


def _measure(request: Values, wanted: Dict[str, List[Any]], values: Dict[str, Any]) -> None:
    nvml = Nvml(*wanted["nvml"])
    cuda = Loaded(*wanted["cuda"])
    for library in (nvml.loaded, cuda):
        if library.library is None:
            raise EnergyError(str(library.error))
    assert cuda.library is not None
    code = nvml.call("nvmlInit_v2")
    if code:
        raise EnergyError("nvmlInit_v2 answers %d (%s)" % (code, nvml.explain(code)))
    gpu, code = nvml.gpu(str(request["gpu"]["id"]))
    if gpu is None:
        raise EnergyError("NVML does not know the GPU: %d (%s)" % (code, nvml.explain(code)))
    driver = Driver(cuda.library)
    driver.call("cuInit", 0)
    address = str(request["gpu"].get("address") or "")
    if driver.number("cuDeviceGetCount") > 1 and address:
        device = driver.number("cuDeviceGetByPCIBusId", address.encode())
    else:
        device = driver.number("cuDeviceGet", 0)
    driver.use(device)
    values["idle_w"] = _idle(gpu)
    values["limit_w"] = _watts(gpu, "nvmlDeviceGetEnforcedPowerLimit")
    burn = Burn(driver, driver.attribute(device, "MULTIPROCESSOR_COUNT"))
    seconds = max(LEAST_S, float(request.get("timed_s") or 0))
    values.update(_loaded(gpu, burn, seconds))
    values.update(burn.result())


def _loaded(gpu: Gpu, burn: Burn, seconds: float) -> Dict[str, Any]:
    """Keep the GPU busy and return what that took: time, energy, power, work."""
    burn.launch()
    burn.wait()  # clocks are up
    burn.launches = 0
    samples: List[float] = []
    before, begun = _joules(gpu), time.monotonic()
    while time.monotonic() - begun < seconds:
        for _ in range(UNDER_WAY):
            burn.launch()
        sampled = _watts(gpu, "nvmlDeviceGetPowerUsage")
        if sampled is not None:
            samples.append(sampled)
        burn.wait()
    took = time.monotonic() - begun
    after = _joules(gpu)
    joules: Optional[float] = None
    if before is not None and after is not None:
        joules, how = after - before, "counter"
    elif samples:
        joules, how = sum(samples) / len(samples) * took, "samples"
    else:
        how = "nothing"
    flops = float(burn.flops_per_launch) * burn.launches
    return {
        "by": how,
        "seconds": took,
        "joules": joules,
        "average_w": None if joules is None else joules / took,
        "sampled_w": max(samples, default=None),
        "samples": len(samples),
        "work": "fp32 multiply-adds",
        "tflop": flops / 1e12,
        "tflops": flops / took / 1e12,
        "tflops_per_w": None if not joules else flops / joules / 1e12,
    }


def _joules(gpu: Gpu) -> Optional[float]:
    gpu.number("energy", "nvmlDeviceGetTotalEnergyConsumption")
    millijoules = gpu.take()["energy"]
    return None if millijoules is None else millijoules / 1000.0


def _watts(gpu: Gpu, call: str) -> Optional[float]:
    gpu.number("power", call)
    milliwatts = gpu.take()["power"]
    return None if milliwatts is None else milliwatts / 1000.0


def _idle(gpu: Gpu) -> Optional[float]:
    """Return the least of a few readings: something may still be coming to rest."""
    found: List[float] = []
    for _ in range(IDLE_SAMPLES):
        sampled = _watts(gpu, "nvmlDeviceGetPowerUsage")
        if sampled is not None:
            found.append(sampled)
        time.sleep(IDLE_S)
    return min(found, default=None)
