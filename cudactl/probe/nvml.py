"""NVML through ctypes: what a GPU's driver says of it, call by call.

A call that is refused (not supported by this GPU, not known to this driver, a lost GPU) leaves its
key None and its return code in "codes": what cannot be had is recorded, never guessed. Prototypes,
constants and layouts are NVIDIA's nvml.h (CUDA 13.5); the tests hold them against that header and
against the pynvml module.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_char_p, c_int, c_uint, c_ulonglong

from . import TYPE_CHECKING
from .loading import Loaded

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Union

SUCCESS = 0
NOT_SUPPORTED = 3
INSUFFICIENT_SIZE = 7
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15

TEMPERATURE_GPU = 0
THRESHOLD_SHUTDOWN, THRESHOLD_SLOWDOWN, THRESHOLD_MEM_MAX = 0, 1, 2
CLOCK_SM, CLOCK_MEM = 1, 2
CORRECTED, UNCORRECTED = 0, 1
VOLATILE, AGGREGATE = 0, 1
IN_DRAM, IN_SRAM = 2, 7
RETIRED_FOR_SINGLE_BITS, RETIRED_FOR_DOUBLE_BITS = 0, 1
REMOTE_SWITCH = 2

FIELDS = {
    "sw_power_cap_ns": 74,
    "thermal_policy_ns": 75,
    "board_limit_ns": 77,
    "reliability_ns": 79,
    "sw_thermal_ns": 269,
    "hw_thermal_ns": 270,
    "hw_power_brake_ns": 271,
    "memory_temperature_c": 82,
    "link_count": 91,
    "pcie_replays": 94,
    "pcie_non_fatal": 179,
    "pcie_fatal": 180,
    "shutdown_margin_c": 193,
    "slowdown_margin_c": 194,
    "recovery_action": 230,
    "nvlink_crc_flit": 38,
    "nvlink_crc_data": 45,
    "nvlink_replays": 52,
    "nvlink_recoveries": 59,
    "nvlink_recovery_failed": 214,
    "nvlink_effective_errors": 219,
}
"""Key of a measured value → NVML_FI_… field id."""
THROTTLE = (
    *("sw_power_cap_ns", "thermal_policy_ns", "board_limit_ns", "reliability_ns"),
    *("sw_thermal_ns", "hw_thermal_ns", "hw_power_brake_ns"),
)
NVLINK_TOTALS = ("nvlink_crc_flit", "nvlink_crc_data", "nvlink_replays", "nvlink_recoveries")
NVLINK_BY_LINK = ("nvlink_recovery_failed", "nvlink_effective_errors")


class Handle(ctypes.c_void_p):
    """nvmlDevice_t."""

    c_name = "nvmlDevice_t"


class Value(ctypes.Union):
    """nvmlValue_t."""

    c_name = "nvmlValue_t"
    _fields_ = [
        ("dVal", ctypes.c_double),
        ("uiVal", c_uint),
        ("ulVal", ctypes.c_ulong),
        ("ullVal", c_ulonglong),
        ("sllVal", ctypes.c_longlong),
        ("siVal", c_int),
        ("usVal", ctypes.c_ushort),
    ]


KINDS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""nvmlValueType_t, by its number."""


class FieldValue(ctypes.Structure):
    """nvmlFieldValue_t."""

    c_name = "nvmlFieldValue_t"
    _fields_ = [
        ("fieldId", c_uint),
        ("scopeId", c_uint),
        ("timestamp", ctypes.c_longlong),
        ("latencyUsec", ctypes.c_longlong),
        ("valueType", c_uint),
        ("nvmlReturn", c_uint),
        ("value", Value),
    ]


class PciInfo(ctypes.Structure):
    """nvmlPciInfo_t."""

    c_name = "nvmlPciInfo_t"
    _fields_ = [
        ("busIdLegacy", c_char * 16),
        ("domain", c_uint),
        ("bus", c_uint),
        ("device", c_uint),
        ("pciDeviceId", c_uint),
        ("pciSubSystemId", c_uint),
        ("busId", c_char * 32),
    ]


class ProcessInfo(ctypes.Structure):
    """nvmlProcessInfo_t."""

    c_name = "nvmlProcessInfo_t"
    _fields_ = [
        ("pid", c_uint),
        ("usedGpuMemory", c_ulonglong),
        ("gpuInstanceId", c_uint),
        ("computeInstanceId", c_uint),
    ]


class Histogram(ctypes.Structure):
    """nvmlRowRemapperHistogramValues_t: banks by how many spare rows they have left."""

    c_name = "nvmlRowRemapperHistogramValues_t"
    _fields_ = [(name, c_uint) for name in ("max", "high", "partial", "low", "none")]


class Margin(ctypes.Structure):
    """nvmlMarginTemperature_t."""

    c_name = "nvmlMarginTemperature_t"
    _fields_ = [("version", c_uint), ("marginTemperature", c_int)]


class Repair(ctypes.Structure):
    """nvmlRepairStatus_t."""

    c_name = "nvmlRepairStatus_t"
    _fields_ = [
        ("version", c_uint),
        ("bChannelRepairPending", c_uint),
        ("bTpcRepairPending", c_uint),
    ]


class Sram(ctypes.Structure):
    """nvmlEccSramErrorStatus_t."""

    c_name = "nvmlEccSramErrorStatus_t"
    _fields_ = [
        ("version", c_uint),
        *(
            (name, c_ulonglong)
            for name in (
                *("aggregateUncParity", "aggregateUncSecDed", "aggregateCor"),
                *("volatileUncParity", "volatileUncSecDed", "volatileCor"),
                *("aggregateUncBucketL2", "aggregateUncBucketSm", "aggregateUncBucketPcie"),
                *("aggregateUncBucketMcu", "aggregateUncBucketOther"),
            )
        ),
        ("bThresholdExceeded", c_uint),
    ]


class Fabric2(ctypes.Structure):
    """nvmlGpuFabricInfo_v2_t."""

    c_name = "nvmlGpuFabricInfo_v2_t"
    _fields_ = [
        ("version", c_uint),
        ("clusterUuid", ctypes.c_ubyte * 16),
        ("status", c_uint),
        ("cliqueId", c_uint),
        ("state", ctypes.c_ubyte),
        ("healthMask", c_uint),
    ]


class Fabric3(ctypes.Structure):
    """nvmlGpuFabricInfo_v3_t, which is nvmlGpuFabricInfoV_t since driver 570."""

    c_name = "nvmlGpuFabricInfo_v3_t"
    _fields_ = [*Fabric2._fields_, ("healthSummary", ctypes.c_ubyte)]


VERSIONS = {Margin: 1, Repair: 1, Sram: 1, Fabric2: 2, Fabric3: 3}
"""NVML_STRUCT_VERSION: the layout's number in the topmost byte, its size below."""


def versioned(layout: Any) -> Any:  # noqa: ANN401
    """Return an empty structure that says which layout it is."""
    return layout(version=ctypes.sizeof(layout) | VERSIONS[layout] << 24)


_U, _ULL = POINTER(c_uint), POINTER(c_ulonglong)
_DEVICE = (Handle,)
CALLS: Dict[str, Tuple[Any, ...]] = {
    "nvmlInit_v2": (),
    "nvmlShutdown": (),
    "nvmlSystemGetDriverVersion": (c_char_p, c_uint),
    "nvmlSystemGetNVMLVersion": (c_char_p, c_uint),
    "nvmlDeviceGetCount_v2": (_U,),
    "nvmlDeviceGetHandleByIndex_v2": (c_uint, POINTER(Handle)),
    "nvmlDeviceGetHandleByUUID": (c_char_p, POINTER(Handle)),
    "nvmlDeviceGetHandleByPciBusId_v2": (c_char_p, POINTER(Handle)),
    **dict.fromkeys(
        [
            "nvmlDeviceGetName",
            "nvmlDeviceGetSerial",
            "nvmlDeviceGetUUID",
            "nvmlDeviceGetVbiosVersion",
            "nvmlDeviceGetInforomImageVersion",
        ],
        (*_DEVICE, c_char_p, c_uint),
    ),
    "nvmlDeviceGetGspFirmwareVersion": (*_DEVICE, c_char_p),
    "nvmlDeviceGetGspFirmwareMode": (*_DEVICE, _U, _U),
    "nvmlDeviceGetPciInfo_v3": (*_DEVICE, POINTER(PciInfo)),
    "nvmlDeviceValidateInforom": _DEVICE,
    "nvmlDeviceGetEccMode": (*_DEVICE, _U, _U),
    "nvmlDeviceGetTotalEccErrors": (*_DEVICE, c_uint, c_uint, _ULL),
    "nvmlDeviceGetMemoryErrorCounter": (*_DEVICE, c_uint, c_uint, c_uint, _ULL),
    "nvmlDeviceGetSramEccErrorStatus": (*_DEVICE, POINTER(Sram)),
    "nvmlDeviceGetRetiredPages": (*_DEVICE, c_uint, _U, _ULL),
    "nvmlDeviceGetRemappedRows": (*_DEVICE, _U, _U, _U, _U),
    "nvmlDeviceGetRowRemapperHistogram": (*_DEVICE, POINTER(Histogram)),
    "nvmlDeviceGetRepairStatus": (*_DEVICE, POINTER(Repair)),
    "nvmlDeviceGetFieldValues": (*_DEVICE, c_int, POINTER(FieldValue)),
    "nvmlDeviceGetCurrentClocksEventReasons": (*_DEVICE, _ULL),
    "nvmlDeviceGetCurrentClocksThrottleReasons": (*_DEVICE, _ULL),
    "nvmlDeviceGetMarginTemperature": (*_DEVICE, POINTER(Margin)),
    **dict.fromkeys(
        [
            "nvmlDeviceGetTemperature",
            "nvmlDeviceGetTemperatureThreshold",
            "nvmlDeviceGetClockInfo",
            "nvmlDeviceGetMaxClockInfo",
            "nvmlDeviceGetApplicationsClock",
            "nvmlDeviceGetDefaultApplicationsClock",
            "nvmlDeviceGetNvLinkState",
            "nvmlDeviceGetNvLinkRemoteDeviceType",
        ],
        (*_DEVICE, c_uint, _U),
    ),
    **dict.fromkeys(
        [
            "nvmlDeviceGetPowerUsage",
            "nvmlDeviceGetEnforcedPowerLimit",
            "nvmlDeviceGetPowerManagementDefaultLimit",
            "nvmlDeviceGetCurrPcieLinkGeneration",
            "nvmlDeviceGetMaxPcieLinkGeneration",
            "nvmlDeviceGetCurrPcieLinkWidth",
            "nvmlDeviceGetMaxPcieLinkWidth",
            "nvmlDeviceGetPersistenceMode",
            "nvmlDeviceGetComputeMode",
            "nvmlDeviceGetRetiredPagesPendingStatus",
            "nvmlDeviceGetVirtualizationMode",
        ],
        (*_DEVICE, _U),
    ),
    "nvmlDeviceGetPowerManagementLimitConstraints": (*_DEVICE, _U, _U),
    "nvmlDeviceGetTotalEnergyConsumption": (*_DEVICE, _ULL),
    "nvmlDeviceGetMigMode": (*_DEVICE, _U, _U),
    "nvmlDeviceGetComputeRunningProcesses_v3": (*_DEVICE, _U, POINTER(ProcessInfo)),
    "nvmlDeviceGetGpuFabricInfoV": (*_DEVICE, POINTER(Fabric3)),
}
"""Function → its parameters; every one returns nvmlReturn_t."""


class Nvml:
    """libnvidia-ml, loaded, or the reason why not (`loaded.error`)."""

    def __init__(self, soname: str, folders: List[str]) -> None:
        self.loaded = Loaded(soname, folders)

    def call(self, name: str, *arguments: Any) -> int:  # noqa: ANN401
        """Call a function and return its code; FUNCTION_NOT_FOUND where this library has none."""
        try:
            function = self.loaded.function(name, c_uint, *CALLS[name])
        except AttributeError:
            return FUNCTION_NOT_FOUND
        code: int = function(*arguments)
        return code

    def explain(self, code: int) -> str:
        """Return what the library calls a return code."""
        try:
            said = self.loaded.function("nvmlErrorString", c_char_p, c_uint)(code)
        except AttributeError:
            return ""
        return (said or b"").decode("utf-8", errors="replace")

    def gpu(self, name: str) -> "Tuple[Optional[Gpu], int]":
        """Return a GPU by its UUID or PCI address, and the call's code."""
        handle = Handle()
        by_uuid = name.startswith("GPU-")
        how = "nvmlDeviceGetHandleByUUID" if by_uuid else "nvmlDeviceGetHandleByPciBusId_v2"
        code = self.call(how, name.encode(), ctypes.byref(handle))
        return (None if code else Gpu(self, handle)), code

    def at(self, index: int) -> "Tuple[Optional[Gpu], int]":
        """Return a GPU by its number."""
        handle = Handle()
        code = self.call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        return (None if code else Gpu(self, handle)), code


class Gpu:
    """One GPU; readings gather until `take` hands them out."""

    def __init__(self, nvml: Nvml, handle: Handle) -> None:
        self._nvml = nvml
        self._handle = handle
        self._values: Dict[str, Any] = {}
        self._codes: Dict[str, int] = {}

    def take(self, **more: Any) -> Dict[str, Any]:  # noqa: ANN401
        """Return what was read since the last time, and of what was refused the codes."""
        values = dict(self._values, codes=self._codes, **more)
        self._values, self._codes = {}, {}
        return values

    def keep(self, key: str, code: int, value: Any) -> bool:  # noqa: ANN401
        """Keep a value, or the code of its refusal; return whether there is a value."""
        self._values[key] = None if code else value
        self._codes.pop(key, None)
        if code:
            self._codes[key] = code
        return not code

    def value(self, key: str) -> Any:  # noqa: ANN401
        """Return a value that was kept since the last `take`."""
        return self._values.get(key)

    def missing(self, key: str) -> bool:
        """Return whether a value was refused."""
        return key in self._codes

    def call(self, name: str, *arguments: Any) -> int:  # noqa: ANN401
        """Call a function on this GPU and return its code."""
        return self._nvml.call(name, self._handle, *arguments)

    def text(self, key: str, name: str, size: int) -> None:
        """Read a text of at most `size` bytes."""
        buffer = ctypes.create_string_buffer(size)
        length = (size,) if len(CALLS[name]) > 2 else ()
        code = self.call(name, buffer, *length)
        self.keep(key, code, buffer.value.decode("utf-8", errors="replace"))

    def number(self, keys: Union[str, Tuple[str, ...]], name: str, *arguments: int) -> None:
        """Read one number, or as many as there are keys."""
        named = (keys,) if isinstance(keys, str) else keys
        kind: Any = c_ulonglong if CALLS[name][-1] is _ULL else c_uint
        cells = [kind() for _ in named]
        code = self.call(name, *arguments, *(ctypes.byref(cell) for cell in cells))
        for number, key in enumerate(named):
            self.keep(key, code, cells[number].value)

    def structure(self, name: str, layout: Any, keys: Dict[str, str]) -> int:  # noqa: ANN401
        """Read a structure's members: key → member; return the call's code."""
        there = versioned(layout) if layout in VERSIONS else layout()
        code = self.call(name, ctypes.cast(ctypes.byref(there), CALLS[name][-1]))
        for key, member in keys.items():
            self.keep(key, code, getattr(there, member))
        return code

    def fields(self, *keys: str, scope: int = 0) -> None:
        """Read field values; each has a code of its own.

        A driver that refuses all of them because it does not know one is asked again, one by one.
        """
        for group in (keys, *((key,) for key in keys)):
            cells = (FieldValue * len(group))()
            for number, key in enumerate(group):
                cells[number].fieldId, cells[number].scopeId = FIELDS[key], scope
            whole = self.call("nvmlDeviceGetFieldValues", len(group), cells)
            for number, key in enumerate(group):
                cell = cells[number]
                kind = KINDS[cell.valueType] if cell.valueType < len(KINDS) else "ullVal"
                self.keep(key, whole or cell.nvmlReturn, getattr(cell.value, kind))
            if not whole and group is keys:
                return
