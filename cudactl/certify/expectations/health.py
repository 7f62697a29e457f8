"""The GPUs' health and the machine's: every limit here has its unit and its source.

Nothing of it depends on the lock but the driver; limits that a site sees differently are the
policy's to change.
"""

from __future__ import annotations

from typing import Any

from cudactl.certify.builder import WITHOUT_GPU, PolicyBuilder
from cudactl.certify.layout import Place

NVML = "libnvidia-ml.so.1"
LOADER = ["loader"]
ECC = (
    "uncorrected: 0 errors since the driver was loaded (NVIDIA GPU memory error management; Meta's"
    " GCM); corrected: 20,000,000 in DRAM and 10,000 in SRAM (Azure's node health checks v0.4.5);"
    " SRAM: more than 4 uncorrected ones in its life (ml-engineering)"
)
REPAIR = (
    "fewer than 512 rows replaced, or 63 pages retired, 15 of them for double-bit errors (DCGM"
    " 4.6.0); none pending, none failed (NVIDIA GPU memory error management)"
)
THROTTLE = "ns held down, by the driver's own counters (nvml.h: 0 on a GPU that is cool and fed)"
PCIE = "generation and width at most of GPU and slot (nvml.h); 80 replays (DCGM 4.6.0's diagnostic)"
NVML_H = "nvml.h"
TABLE = "the GPU table, nvml.h"


def expect_health(policy: PolicyBuilder) -> None:
    """Add what a healthy machine shows."""
    driver = policy.lock.resolved.get("driver", "none")
    if driver == "none":
        return
    without = {} if policy.lock.spec.gpus else {"without_gpu": WITHOUT_GPU}
    nvml = policy.layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libnvidia-ml1")
    log = "buffer" if policy.tier.name == "prolog" else "whole"
    policy.ask("health", gpus=True, kernel_log=log, services=True)
    _library(policy, nvml, "nvml", NVML)
    _machine(policy, without)
    if policy.wants_device("health"):
        _library(policy, nvml, "nvml", NVML, device=True)
        cuda = policy.layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libcuda1")
        _library(policy, cuda, "cuda", "libcuda.so.1", device=True)
        _gpus(policy)


def _library(
    policy: PolicyBuilder, place: Place | None, name: str, soname: str, *, device: bool = False
) -> None:
    """Ask for a driver library: the lock's, or the machine's own where the lock holds none."""
    if place is not None:
        policy.library(["health"], name, soname, place, device=device)
    else:
        request = policy.ask_device("health") if device else policy.ask("health")
        request["libraries"][name] = {"soname": soname, "folders": LOADER}


def _machine(policy: PolicyBuilder, without: dict[str, str]) -> None:
    # Where nothing looks at each GPU by itself, the few counters of all of them are what there is.
    counters = not policy.wants_device("health")
    policy.expect("health.gpus", {"counters": counters, **without}, NVML_H)
    xids = {code: list(xid) for code, xid in policy.xids.items()}
    source = "the catalogue's table of XIDs (NVIDIA)" if xids else "no table of XIDs"
    # A prolog reads what the kernel's buffer holds; the nightly run looks for the rest.
    expect: dict[str, Any] = {
        "xids": xids,
        "ignore": [],
        "severity": {},
        "whole": policy.tier.name != "prolog",
        **without,
    }
    policy.expect("health.xids", expect, source)
    policy.expect("health.driver_log", {**without}, "NVIDIA's driver README")
    policy.expect("health.services", {**without}, "NVIDIA's fabric manager guide")
    if policy.tier.name != "prolog":  # it reads every process's memory map, which takes its time
        policy.ask("health")["stale"] = True
        policy.expect("health.stale", {**without}, "a file that was replaced is gone from the disk")


def _gpus(policy: PolicyBuilder) -> None:
    ecc = {
        "mode": "on",
        "uncorrected": 0,
        "corrected_dram": 20_000_000,
        "corrected_sram": 10_000,
        "sram_uncorrected_ever": 4,
    }
    policy.expect("health.device", {}, "the bus and NVML")
    policy.expect("health.recovery", {}, NVML_H)
    policy.expect("health.firmware", {"vbios": []}, "the loaded driver's version; nvml.h")
    policy.expect("health.ecc", ecc, ECC)
    repair = {"rows": 512, "pages": 63, "pages_double": 15}
    policy.expect("health.memory_repair", repair, REPAIR)
    policy.expect("health.repair", {}, NVML_H)
    policy.expect("health.modes", {"mig": "off"}, "whole GPUs are certified")
    policy.expect("health.processes", {"most": 0}, "figures beside another's load mean little")
    throttle = {
        "fails": ["hw_thermal_ns", "hw_power_brake_ns", "sw_thermal_ns", "thermal_policy_ns"],
        "warns": ["board_limit_ns"],
    }
    policy.expect("health.throttle", throttle, THROTTLE)
    policy.expect("health.temperature", {}, "°C, the limits that NVML tells of this GPU")
    policy.expect("health.clocks", {}, "MHz, the GPU's default application clocks (nvml.h)")
    policy.expect("health.power", {"limit_w": None}, "W, the GPU's default limit (nvml.h)")
    policy.expect("health.pcie", {"replays": 80}, PCIE)
    policy.expect("health.nvlink", {}, TABLE)
    policy.expect("health.fabric", {}, TABLE)
