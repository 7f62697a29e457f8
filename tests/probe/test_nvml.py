"""What we know of NVML is what NVIDIA's own header and Python module know."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pynvml
import pytest

from cudactl.judge.checks import health_gpu, health_links, health_running, nvml_answers
from cudactl.lab import gpus
from cudactl.probe import nvml, nvml_readings

CONSTANTS = {
    "SUCCESS": "NVML_SUCCESS",
    "NOT_SUPPORTED": "NVML_ERROR_NOT_SUPPORTED",
    "INSUFFICIENT_SIZE": "NVML_ERROR_INSUFFICIENT_SIZE",
    "FUNCTION_NOT_FOUND": "NVML_ERROR_FUNCTION_NOT_FOUND",
    "GPU_IS_LOST": "NVML_ERROR_GPU_IS_LOST",
    "TEMPERATURE_GPU": "NVML_TEMPERATURE_GPU",
    "THRESHOLD_SHUTDOWN": "NVML_TEMPERATURE_THRESHOLD_SHUTDOWN",
    "THRESHOLD_SLOWDOWN": "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN",
    "THRESHOLD_MEM_MAX": "NVML_TEMPERATURE_THRESHOLD_MEM_MAX",
    "CLOCK_SM": "NVML_CLOCK_SM",
    "CLOCK_MEM": "NVML_CLOCK_MEM",
    "CORRECTED": "NVML_MEMORY_ERROR_TYPE_CORRECTED",
    "UNCORRECTED": "NVML_MEMORY_ERROR_TYPE_UNCORRECTED",
    "VOLATILE": "NVML_VOLATILE_ECC",
    "AGGREGATE": "NVML_AGGREGATE_ECC",
    "IN_DRAM": "NVML_MEMORY_LOCATION_DRAM",
    "IN_SRAM": "NVML_MEMORY_LOCATION_SRAM",
    "RETIRED_FOR_SINGLE_BITS": "NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS",
    "RETIRED_FOR_DOUBLE_BITS": "NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR",
}
FIELDS = {
    "sw_power_cap_ns": "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP",
    "thermal_policy_ns": "NVML_FI_DEV_PERF_POLICY_THERMAL",
    "board_limit_ns": "NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT",
    "reliability_ns": "NVML_FI_DEV_PERF_POLICY_RELIABILITY",
    "sw_thermal_ns": "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN",
    "hw_thermal_ns": "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN",
    "hw_power_brake_ns": "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN",
    "memory_temperature_c": "NVML_FI_DEV_MEMORY_TEMP",
    "link_count": "NVML_FI_DEV_NVLINK_LINK_COUNT",
    "pcie_replays": "NVML_FI_DEV_PCIE_REPLAY_COUNTER",
    "pcie_non_fatal": "NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR",
    "pcie_fatal": "NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR",
    "shutdown_margin_c": "NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT",
    "slowdown_margin_c": "NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT",
    "recovery_action": "NVML_FI_DEV_GET_GPU_RECOVERY_ACTION",
    "nvlink_crc_flit": "NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL",
    "nvlink_crc_data": "NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL",
    "nvlink_replays": "NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL",
    "nvlink_recoveries": "NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL",
    "nvlink_recovery_failed": "NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS",
    "nvlink_effective_errors": "NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS",
}
LAYOUTS = {
    nvml.FieldValue: pynvml.c_nvmlFieldValue_t,
    nvml.PciInfo: pynvml.nvmlPciInfo_t,
    nvml.ProcessInfo: pynvml.c_nvmlProcessInfo_t,
    nvml.Histogram: pynvml.c_nvmlRowRemapperHistogramValues,
    nvml.Margin: pynvml.c_nvmlMarginTemperature_v1_t,
    nvml.Repair: pynvml.c_nvmlRepairStatus_t,
    nvml.Sram: pynvml.c_nvmlEccSramErrorStatus_v1_t,
    nvml.Fabric2: pynvml.c_nvmlGpuFabricInfo_v2_t,
    nvml.Fabric3: pynvml.c_nvmlGpuFabricInfo_v3_t,
}
LAYOUT_VERSIONS = {
    nvml.Margin: pynvml.nvmlMarginTemperature_v1,
    nvml.Repair: pynvml.nvmlRepairStatus_v1,
    nvml.Sram: pynvml.nvmlEccSramErrorStatus_v1,
    nvml.Fabric2: pynvml.nvmlGpuFabricInfo_v2,
    nvml.Fabric3: pynvml.nvmlGpuFabricInfo_v3,
}


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_a_constant_is_nvidias(name: str) -> None:
    assert getattr(nvml, name) == getattr(pynvml, CONSTANTS[name])


def test_every_field_is_nvidias() -> None:
    assert {key: getattr(pynvml, name) for key, name in FIELDS.items()} == nvml.FIELDS


def test_value_types_are_numbered_as_nvidia_does() -> None:
    kinds = ("DOUBLE", "UNSIGNED_INT", "UNSIGNED_LONG", "UNSIGNED_LONG_LONG", "SIGNED_LONG_LONG")
    for number, kind in enumerate((*kinds, "SIGNED_INT", "UNSIGNED_SHORT")):
        assert getattr(pynvml, f"NVML_VALUE_TYPE_{kind}") == number
    assert tuple(name for name, _ in pynvml.c_nvmlValue_t._fields_) == nvml.KINDS


def test_what_the_judge_reads_into_numbers_is_nvidias() -> None:
    assert nvml_answers.LOST == pynvml.NVML_ERROR_GPU_IS_LOST
    assert nvml_answers.RESET_REQUIRED == pynvml.NVML_ERROR_RESET_REQUIRED
    assert set(nvml_answers.NOT_TOLD) == {
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
    assert nvml_answers.VGPU == pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU
    assert health_gpu.CORRUPTED_INFOROM == pynvml.NVML_ERROR_CORRUPTED_INFOROM
    assert health_gpu.NOT_FOUND == pynvml.NVML_ERROR_NOT_FOUND
    assert health_gpu.PROHIBITED == pynvml.NVML_COMPUTEMODE_PROHIBITED
    actions = {
        getattr(pynvml, name)
        for name in vars(pynvml)
        if name.startswith("NVML_GPU_RECOVERY_ACTION")
    }
    assert set(health_gpu.RECOVERY) == actions - {pynvml.NVML_GPU_RECOVERY_ACTION_NONE}
    assert set(health_running.BITS) == {
        pynvml.nvmlClocksEventReasonHwSlowdown,
        pynvml.nvmlClocksEventReasonSwThermalSlowdown,
        pynvml.nvmlClocksEventReasonHwThermalSlowdown,
        pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    }
    bit = pynvml.nvmlClocksEventReasonApplicationsClocksSetting
    assert bit == health_running.SET_BY_SOMEBODY
    assert health_links.TO_SWITCH == pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH
    assert health_links.COMPLETED == pynvml.NVML_GPU_FABRIC_STATE_COMPLETED
    mask = "NVML_GPU_FABRIC_HEALTH_MASK_"
    for name in ("DEGRADED_BW", "ROUTE_RECOVERY", "ROUTE_UNHEALTHY", "ACCESS_TIMEOUT_RECOVERY"):
        assert getattr(pynvml, f"{mask}{name}_TRUE") == 1
    assert health_links.DEGRADED == pynvml.NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW
    assert getattr(pynvml, f"{mask}SHIFT_ROUTE_RECOVERY") == health_links.ROUTE_RECOVERY
    assert getattr(pynvml, f"{mask}SHIFT_ROUTE_UNHEALTHY") == health_links.ROUTE_UNHEALTHY
    assert getattr(pynvml, f"{mask}SHIFT_ACCESS_TIMEOUT_RECOVERY") == health_links.TIMEOUT_RECOVERY
    assert getattr(pynvml, f"{mask}SHIFT_INCORRECT_CONFIGURATION") == health_links.CONFIGURATION
    assert pynvml.NVML_GPU_FABRIC_HEALTH_MASK_INCORRECT_CONFIGURATION_NONE not in health_links.WRONG
    summary = "NVML_GPU_FABRIC_HEALTH_SUMMARY_"
    assert getattr(pynvml, summary + "UNHEALTHY") == health_links.UNHEALTHY
    assert getattr(pynvml, summary + "LIMITED_CAPACITY") == health_links.LIMITED


@pytest.mark.parametrize("ours", LAYOUTS, ids=lambda one: one.__name__)
def test_a_structure_is_laid_out_as_nvidias(ours: Any) -> None:
    theirs = LAYOUTS[ours]
    assert ctypes.sizeof(ours) == ctypes.sizeof(theirs)
    offsets = [getattr(ours, name).offset for name, _ in ours._fields_]
    assert offsets == [getattr(theirs, field[0]).offset for field in theirs._fields_]
    if ours in LAYOUT_VERSIONS:
        assert nvml.versioned(ours).version == LAYOUT_VERSIONS[ours]


# --- the header ---------------------------------------------------------------------------------

SIMPLE = {
    ctypes.c_uint: "unsigned int",
    ctypes.c_int: "int",
    ctypes.c_ulonglong: "unsigned long long",
    ctypes.c_char_p: "char *",
}
# A text that a call only reads is const in C, which ctypes has no word for.
CONST = ("nvmlDeviceGetHandleByUUID", "nvmlDeviceGetHandleByPciBusId_v2")


def c_type(kind: Any) -> str:
    """Return a ctypes type as C writes it."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    pointed = getattr(kind, "_type_", None)
    if isinstance(pointed, type) and kind.__name__.startswith("LP_"):
        return c_type(pointed) + " *"
    return str(kind.c_name)


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with NVIDIA's nvml.h, from its wheel."""
    folder = tmp_path_factory.mktemp("nvml")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest"]
    subprocess.run([*command, str(folder), "nvidia-nvml-dev==13.5.37"], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("nvidia/cu13/include/nvml.h", folder)
    return folder / "nvidia" / "cu13" / "include"


@pytest.mark.wheels
def test_every_prototype_layout_and_number_is_the_headers(header: Path, tmp_path: Path) -> None:
    lines = ["#include <stddef.h>", "#include <nvml.h>"]
    for number, (name, parameters) in enumerate(nvml.CALLS.items()):
        typed = [c_type(kind) for kind in parameters] or ["void"]
        if name in CONST:
            typed[0] = "const " + typed[0]
        # nvmlReturn_t and the other enumerations are unsigned int to the compiler.
        lines.append(f"unsigned int (*call{number})({', '.join(typed)}) = {name};")
    for layout in (*LAYOUTS, nvml.Value):
        name = layout.c_name
        lines.append(f'_Static_assert(sizeof({name}) == {ctypes.sizeof(layout)}, "{name}");')
        for member, _ in layout._fields_:
            at = getattr(layout, member).offset
            lines.append(f'_Static_assert(offsetof({name}, {member}) == {at}, "{member}");')
    for ours, theirs in CONSTANTS.items():
        lines.append(f'_Static_assert({theirs} == {getattr(nvml, ours)}, "{ours}");')
    for key, field in FIELDS.items():
        lines.append(f'_Static_assert({field} == {nvml.FIELDS[key]}, "{key}");')
    source = tmp_path / "check.c"
    source.write_text("\n".join(lines) + "\n")
    command = ["gcc", "-std=gnu11", "-fsyntax-only", "-Wall", "-Werror", "-I", str(header)]
    command += ["-Wno-deprecated-declarations", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


# --- the simulated one ---------------------------------------------------------------------------


def test_the_simulated_nvml_has_every_call_that_we_make(tmp_path: Path) -> None:
    folder = gpus.build(tmp_path / "gpu", ["libnvidia-ml.so.1"])
    library = ctypes.CDLL(str(folder / "libnvidia-ml.so.1"))
    assert [name for name in nvml.CALLS if not hasattr(library, name)] == []


# --- NVIDIA's own module reads the simulated GPU as we do ---------------------------------------

READ = """
import json, pynvml as p
p.nvmlInit()
d = p.nvmlDeviceGetHandleByUUID({uuid!r})
field = p.nvmlDeviceGetFieldValues(d, [230, 91, 194])
print(json.dumps({{
    "name": p.nvmlDeviceGetName(d), "serial": p.nvmlDeviceGetSerial(d),
    "device": "%04x" % (p.nvmlDeviceGetPciInfo(d).pciDeviceId >> 16),
    "mode": p.nvmlDeviceGetEccMode(d), "rows": p.nvmlDeviceGetRemappedRows(d),
    "uncorrected": p.nvmlDeviceGetTotalEccErrors(d, 1, 0),
    "dram": p.nvmlDeviceGetMemoryErrorCounter(d, 1, 0, 2),
    "limit_mw": p.nvmlDeviceGetEnforcedPowerLimit(d),
    "margin": p.nvmlDeviceGetMarginTemperature(d),
    "repair": p.nvmlDeviceGetRepairStatus(d),
    "recovery": field[0].value.uiVal, "links": field[1].value.uiVal,
    "tlimit": field[2].value.siVal,
    "spare": p.nvmlDeviceGetRowRemapperHistogram(d).none,
    "users": [x.pid for x in p.nvmlDeviceGetComputeRunningProcesses(d)],
}}))
"""


def test_nvidias_own_module_reads_the_same_of_a_simulated_gpu(tmp_path: Path) -> None:
    faults: dict[str, object] = {
        "nvml.ecc.uncorrectable": 7,
        "nvml.remap.correctable": 3,
        "nvml.remap.pending": 1,
        "nvml.remap.no_spare": 5,
        "nvml.power.limit_mw": 650_000,
        "nvml.margin": -4,
        "nvml.recovery": 2,
        "nvml.process": 4242,
        "nvml.repair.tpc": 1,
    }
    folder = gpus.build(tmp_path / "gpu", ["libnvidia-ml.so.1"], faults=faults)
    done = subprocess.run(
        [sys.executable, "-c", READ.format(uuid=gpus.H200.uuid)],
        capture_output=True,
        text=True,
        env={"LD_LIBRARY_PATH": str(folder), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)

    library = nvml.Nvml("libnvidia-ml.so.1", [str(folder)])
    assert library.call("nvmlInit_v2") == 0
    gpu, code = library.gpu(gpus.H200.uuid)
    assert gpu is not None
    assert code == 0
    for read in (
        *(nvml_readings.identity, nvml_readings.ecc, nvml_readings.memory_repair),
        *(nvml_readings.power, nvml_readings.temperature, nvml_readings.recovery),
        *(nvml_readings.repair, nvml_readings.processes, nvml_readings.nvlink),
    ):
        read(gpu)
    ours = gpu.take()
    assert theirs == {
        "name": ours["name"],
        "serial": ours["serial"],
        "device": ours["device"],
        "mode": [ours["mode"], ours["pending_mode"]],
        "rows": [ours[key] for key in ("correctable", "uncorrectable", "pending", "failure")],
        "uncorrected": ours["uncorrected"],
        "dram": ours["uncorrected_dram"],
        "limit_mw": ours["limit_mw"],
        "margin": ours["margin_c"],
        "repair": [ours["channel_pending"], ours["tpc_pending"]],
        "recovery": ours["recovery_action"],
        "links": ours["link_count"],
        "tlimit": ours["slowdown_margin_c"],
        "spare": ours["banks_none"],
        "users": [one["pid"] for one in ours["processes"]],
    }
    assert ours["uncorrected"] == 7, "the fault is there, in both"


def test_a_library_that_lacks_a_function_says_so(tmp_path: Path) -> None:
    library = nvml.Nvml("libm.so.6", ["loader"])
    assert library.call("nvmlDeviceGetRepairStatus", None, None) == nvml.FUNCTION_NOT_FOUND
    assert library.explain(3) == ""
