"""What is read of a GPU through NVML, group by group: each is one check's values.

Shared by the health leg's two parts: the device part reads everything, the machine part (and with
it the prolog, which must not take time) only what `counters` reads, of every GPU.
"""

from __future__ import annotations

import ctypes
import os

from . import TYPE_CHECKING, nvml
from .nvml import Gpu, Nvml

if TYPE_CHECKING:
    from typing import Any, Dict

VENDOR_BITS = 0xFFFF
MOST_PROCESSES = 64
FABRIC = {"status": "status", "state": "state", "health_mask": "healthMask"}


def identity(gpu: Gpu) -> None:
    """Name, serial number, UUID, PCI id, and whether it is a virtual machine's."""
    gpu.text("name", "nvmlDeviceGetName", 96)
    gpu.text("serial", "nvmlDeviceGetSerial", 30)
    gpu.text("uuid", "nvmlDeviceGetUUID", 96)
    info = nvml.PciInfo()
    code = gpu.call("nvmlDeviceGetPciInfo_v3", ctypes.byref(info))
    gpu.keep("device", code, "%04x" % (info.pciDeviceId >> 16))
    gpu.keep("address", code, info.busId.decode("ascii", errors="replace").lower())
    gpu.number("virtualization", "nvmlDeviceGetVirtualizationMode")


def recovery(gpu: Gpu) -> None:
    """What the driver itself asks for."""
    gpu.fields("recovery_action")


def firmware(gpu: Gpu) -> None:
    """VBIOS, InfoROM and its own checksum, GSP firmware."""
    gpu.text("vbios", "nvmlDeviceGetVbiosVersion", 32)
    gpu.text("inforom", "nvmlDeviceGetInforomImageVersion", 16)
    code = gpu.call("nvmlDeviceValidateInforom")
    gpu.keep("inforom_valid", code, True)
    gpu.number(("gsp_enabled", "gsp_default"), "nvmlDeviceGetGspFirmwareMode")
    gpu.text("gsp", "nvmlDeviceGetGspFirmwareVersion", 64)


def ecc(gpu: Gpu) -> None:
    """ECC mode and every counter of it."""
    gpu.number(("mode", "pending_mode"), "nvmlDeviceGetEccMode")
    _ecc_totals(gpu)
    for place, where in (("dram", nvml.IN_DRAM), ("sram", nvml.IN_SRAM)):
        for kind, error in (("corrected", nvml.CORRECTED), ("uncorrected", nvml.UNCORRECTED)):
            gpu.number(
                "%s_%s" % (kind, place),
                "nvmlDeviceGetMemoryErrorCounter",
                error,
                nvml.VOLATILE,
                where,
            )
    members = {
        "sram_uncorrected_parity_total": "aggregateUncParity",
        "sram_uncorrected_secded_total": "aggregateUncSecDed",
        "sram_threshold_exceeded": "bThresholdExceeded",
    }
    gpu.structure("nvmlDeviceGetSramEccErrorStatus", nvml.Sram, members)


def _ecc_totals(gpu: Gpu) -> None:
    for when, counter in (("", nvml.VOLATILE), ("_ever", nvml.AGGREGATE)):
        for kind, error in (("corrected", nvml.CORRECTED), ("uncorrected", nvml.UNCORRECTED)):
            gpu.number(kind + when, "nvmlDeviceGetTotalEccErrors", error, counter)


def memory_repair(gpu: Gpu) -> None:
    """Rows of memory that were replaced (from Ampere on), pages that were retired (before)."""
    keys = ("correctable", "uncorrectable", "pending", "failure")
    gpu.number(keys, "nvmlDeviceGetRemappedRows")
    members = {"banks_" + name: name for name in ("max", "high", "partial", "low", "none")}
    gpu.structure("nvmlDeviceGetRowRemapperHistogram", nvml.Histogram, members)
    for key, cause in (
        ("retired_single", nvml.RETIRED_FOR_SINGLE_BITS),
        ("retired_double", nvml.RETIRED_FOR_DOUBLE_BITS),
    ):
        count = ctypes.c_uint(0)
        code = gpu.call("nvmlDeviceGetRetiredPages", cause, ctypes.byref(count), None)
        # Without room for the addresses it says how many there are, and that room is missing.
        gpu.keep(key, 0 if code == nvml.INSUFFICIENT_SIZE else code, count.value)
    gpu.number("retired_pending", "nvmlDeviceGetRetiredPagesPendingStatus")


def repair(gpu: Gpu) -> None:
    """Repairs of memory channels and compute clusters that wait for a reset."""
    members = {"channel_pending": "bChannelRepairPending", "tpc_pending": "bTpcRepairPending"}
    gpu.structure("nvmlDeviceGetRepairStatus", nvml.Repair, members)


def temperature(gpu: Gpu) -> None:
    """Temperatures, thresholds, and the room that is left, in degrees Celsius."""
    gpu.number("gpu_c", "nvmlDeviceGetTemperature", nvml.TEMPERATURE_GPU)
    for key, threshold in (
        ("shutdown_c", nvml.THRESHOLD_SHUTDOWN),
        ("slowdown_c", nvml.THRESHOLD_SLOWDOWN),
        ("memory_max_c", nvml.THRESHOLD_MEM_MAX),
    ):
        gpu.number(key, "nvmlDeviceGetTemperatureThreshold", threshold)
    gpu.structure("nvmlDeviceGetMarginTemperature", nvml.Margin, {"margin_c": "marginTemperature"})
    gpu.fields("memory_temperature_c", "slowdown_margin_c", "shutdown_margin_c")


def clocks(gpu: Gpu) -> None:
    """Clocks in MHz: now, at most, and the ones that somebody set."""
    for name, clock in (("sm", nvml.CLOCK_SM), ("memory", nvml.CLOCK_MEM)):
        for key, call in (
            ("%s_mhz", "nvmlDeviceGetClockInfo"),
            ("%s_max_mhz", "nvmlDeviceGetMaxClockInfo"),
            ("%s_set_mhz", "nvmlDeviceGetApplicationsClock"),
            ("%s_default_mhz", "nvmlDeviceGetDefaultApplicationsClock"),
        ):
            gpu.number(key % name, call, clock)
    reasons(gpu)


def reasons(gpu: Gpu) -> None:
    """Why the clocks are what they are at this moment: a mask of bits."""
    gpu.number("reasons", "nvmlDeviceGetCurrentClocksEventReasons")
    if gpu.missing("reasons"):  # its name until driver 535
        gpu.number("reasons", "nvmlDeviceGetCurrentClocksThrottleReasons")


def power(gpu: Gpu) -> None:
    """Power limits and draw, mW."""
    gpu.number("draw_mw", "nvmlDeviceGetPowerUsage")
    gpu.number("limit_mw", "nvmlDeviceGetEnforcedPowerLimit")
    gpu.number("default_mw", "nvmlDeviceGetPowerManagementDefaultLimit")
    gpu.number(("least_mw", "most_mw"), "nvmlDeviceGetPowerManagementLimitConstraints")


def pcie(gpu: Gpu) -> None:
    """PCIe generation and width, now and at most in this machine; errors counted."""
    gpu.number("generation", "nvmlDeviceGetCurrPcieLinkGeneration")
    gpu.number("generation_max", "nvmlDeviceGetMaxPcieLinkGeneration")
    gpu.number("width", "nvmlDeviceGetCurrPcieLinkWidth")
    gpu.number("width_max", "nvmlDeviceGetMaxPcieLinkWidth")
    gpu.fields("pcie_replays", "pcie_non_fatal", "pcie_fatal")


def modes(gpu: Gpu) -> None:
    """MIG, persistence, compute mode."""
    gpu.number(("mig", "mig_pending"), "nvmlDeviceGetMigMode")
    gpu.number("persistence", "nvmlDeviceGetPersistenceMode")
    gpu.number("compute_mode", "nvmlDeviceGetComputeMode")


def nvlink(gpu: Gpu) -> None:
    """The links: which are up, to what they lead, and their errors."""
    gpu.fields("link_count", *nvml.NVLINK_TOTALS)
    count = gpu.value("link_count")
    links = []
    for link in range(count if isinstance(count, int) else 0):
        state, remote = ctypes.c_uint(0), ctypes.c_uint(0)
        code = gpu.call("nvmlDeviceGetNvLinkState", link, ctypes.byref(state))
        led = gpu.call("nvmlDeviceGetNvLinkRemoteDeviceType", link, ctypes.byref(remote))
        links.append(
            {
                "code": code,
                "active": None if code else bool(state.value),
                "remote": None if led else remote.value,
            }
        )
    gpu.keep("links", 0, links)
    failed, errors = 0, 0
    for link in range(len(links)):
        gpu.fields(*nvml.NVLINK_BY_LINK, scope=link)
        failed += gpu.value("nvlink_recovery_failed") or 0
        errors += gpu.value("nvlink_effective_errors") or 0
    if links and not gpu.missing("nvlink_recovery_failed"):
        gpu.keep("nvlink_recovery_failed", 0, failed)
    if links and not gpu.missing("nvlink_effective_errors"):
        gpu.keep("nvlink_effective_errors", 0, errors)


def fabric(gpu: Gpu) -> None:
    """How far the GPU's registration with the fabric manager came, and the fabric's health."""
    members = dict(FABRIC, health_summary="healthSummary")
    code = gpu.structure("nvmlDeviceGetGpuFabricInfoV", nvml.Fabric3, members)
    if code not in (nvml.SUCCESS, nvml.NOT_SUPPORTED, nvml.FUNCTION_NOT_FOUND):
        gpu.structure("nvmlDeviceGetGpuFabricInfoV", nvml.Fabric2, FABRIC)


def processes(gpu: Gpu) -> None:
    """Who computes on the GPU, this process left out; used memory in bytes."""
    count = ctypes.c_uint(MOST_PROCESSES)
    there = (nvml.ProcessInfo * MOST_PROCESSES)()
    code = gpu.call("nvmlDeviceGetComputeRunningProcesses_v3", ctypes.byref(count), there)
    more = code == nvml.INSUFFICIENT_SIZE
    kept = [] if code else there[: count.value]
    listed = [
        {"pid": one.pid, "used_bytes": one.usedGpuMemory} for one in kept if one.pid != os.getpid()
    ]
    gpu.keep("processes", 0 if more else code, listed)
    gpu.keep("count", 0 if more else code, count.value if more else len(listed))


def throttle(gpu: Gpu) -> None:
    """How long the clocks were held down so far, by reason, in ns; and the reasons of now."""
    gpu.fields(*nvml.THROTTLE)
    reasons(gpu)


def counters(gpu: Gpu) -> None:
    """What a prolog needs to know, and what is compared with later readings."""
    gpu.text("uuid", "nvmlDeviceGetUUID", 96)
    recovery(gpu)
    _ecc_totals(gpu)
    keys = ("remap_correctable", "remap_uncorrectable", "remap_pending", "remap_failure")
    gpu.number(keys, "nvmlDeviceGetRemappedRows")
    gpu.number("retired_pending", "nvmlDeviceGetRetiredPagesPendingStatus")
    throttle(gpu)
    gpu.fields("pcie_replays")


def every_gpu(library: Nvml, count: int) -> Any:  # noqa: ANN401
    """Return the counters of every GPU; one that does not answer is there with its code."""
    found = []
    for index in range(count):
        gpu, code = library.at(index)
        values: Dict[str, Any] = {"codes": {}}
        if gpu is not None:
            counters(gpu)
            values = gpu.take()
        found.append(dict(values, index=index, handle_code=code))
    return found
