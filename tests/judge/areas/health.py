"""The GPUs' health by NVML, the kernel's log, services and stale processes."""

from __future__ import annotations

from typing import Any

from tests.judge.healthy import DRIVER, GPU, SYSTEM, add_device_leg, add_leg, library, value
from tests.judge.red import Change, Evidence, Red, drop, on_gpu_outcome, put, state_is, unmeasured

COUNTERS = {
    "sw_power_cap_ns": 5_000_000_000,
    "thermal_policy_ns": 0,
    "board_limit_ns": 0,
    "reliability_ns": 0,
    "sw_thermal_ns": 0,
    "hw_thermal_ns": 0,
    "hw_power_brake_ns": 0,
    "reasons": 0,
}
LINK = {"code": 0, "active": True, "remote": 2}
LOADED = {"kind": "copies", "rounds": 40, "error": None, "seconds": 0.3}
NVML = f"{SYSTEM}/libnvidia-ml.so.{DRIVER}"


def machine(evidence: Evidence, *, gpu: bool) -> None:
    """The machine's part: every GPU's counters, the log, services, processes."""
    one = {
        **COUNTERS,
        "uuid": GPU["id"],
        "index": 0,
        "handle_code": 0,
        "recovery_action": 0,
        "corrected": 0,
        "uncorrected": 0,
        "corrected_ever": 0,
        "uncorrected_ever": 0,
        "remap_correctable": 0,
        "remap_uncorrectable": 0,
        "remap_pending": 0,
        "remap_failure": 0,
        "retired_pending": None,
        "pcie_replays": 0,
        "codes": {"retired_pending": 3},
    }
    log = {"readable": True, "source": "/dev/kmsg", "tried": [], "signs": {}}
    service = {"unit": gpu, "enabled": gpu, "running": gpu, "pid": 700 if gpu else None}
    add_leg(
        evidence,
        "health",
        {
            "health.gpus": {"gpus": [one] * gpu},
            "health.xids": {**log, "complete": True, "xids": [], "sxids": []},
            "health.driver_log": log,
            "health.services": {
                "nvswitches": 4 * gpu,
                "init": "systemd",
                "fabric_manager": service,
                "persistenced": service,
            },
            "health.stale": {"holders": [], "seen": 300, "unseen": 0},
        },
    )
    if gpu:
        # An HGX host has a fabric manager, which the driver's release brought.
        evidence["state"]["packages"]["nvidia-fabricmanager-580"] = f"{DRIVER}-1"


def healthy(evidence: Evidence) -> None:
    """An H200 SXM as the simulated one answers."""
    device = {
        "soname": "libnvidia-ml.so.1",
        "path": NVML,
        "loaded": True,
        "init_code": 0,
        "handle_code": 0,
        "name": "NVIDIA H200",
        "serial": "1650000000001",
        "uuid": GPU["id"],
        "device": GPU["device"],
        "address": "00000000:17:00.0",
        "virtualization": 0,
    }
    firmware = {
        "vbios": "96.00.D0.00.02",
        "inforom": "G520.0283.00.03",
        "inforom_valid": True,
        "gsp_enabled": 1,
        "gsp_default": 1,
        "gsp": DRIVER,
    }
    ecc = {
        "mode": 1,
        "pending_mode": 1,
        **dict.fromkeys(("corrected", "uncorrected", "corrected_ever", "uncorrected_ever"), 0),
        **dict.fromkeys(("corrected_dram", "uncorrected_dram"), 0),
        **dict.fromkeys(("corrected_sram", "uncorrected_sram"), 0),
        "sram_uncorrected_parity_total": 0,
        "sram_uncorrected_secded_total": 0,
        "sram_threshold_exceeded": 0,
    }
    repair = {
        **dict.fromkeys(("correctable", "uncorrectable", "pending", "failure"), 0),
        "banks_max": 2560,
        **dict.fromkeys(("banks_high", "banks_partial", "banks_low", "banks_none"), 0),
        "retired_single": None,
        "retired_double": None,
        "retired_pending": None,
        "codes": {"retired_single": 3, "retired_double": 3, "retired_pending": 3},
    }
    clocks = {
        "sm_mhz": 1980,
        "sm_max_mhz": 1980,
        "sm_set_mhz": 1980,
        "sm_default_mhz": 1980,
        "memory_mhz": 3201,
        "memory_max_mhz": 3201,
        "memory_set_mhz": 3201,
        "memory_default_mhz": 3201,
        "reasons": 0,
    }
    power = {
        "draw_mw": 121_000,
        "limit_mw": 700_000,
        "default_mw": 700_000,
        "least_mw": 200_000,
        "most_mw": 700_000,
    }
    link = {
        "generation": 5,
        "generation_max": 5,
        "width": 16,
        "width_max": 16,
        "pcie_replays": 0,
        "pcie_non_fatal": 0,
        "pcie_fatal": 0,
        "codes": {},
    }
    temperature = {
        "gpu_c": 34,
        "hottest_c": 41,
        "shutdown_c": 92,
        "slowdown_c": 89,
        "memory_max_c": 95,
        "margin_c": 50,
        "memory_temperature_c": 42,
        "slowdown_margin_c": -2,
        "shutdown_margin_c": -8,
    }
    nvlink = {
        "link_count": 18,
        "links": [dict(LINK) for _ in range(18)],
        **dict.fromkeys(("nvlink_crc_flit", "nvlink_crc_data"), 0),
        **dict.fromkeys(("nvlink_replays", "nvlink_recoveries"), 0),
        "nvlink_recovery_failed": None,
        "nvlink_effective_errors": None,
        "codes": {"nvlink_recovery_failed": 3, "nvlink_effective_errors": 3},
    }
    after = dict(COUNTERS, codes={})
    measured: dict[str, dict[str, Any]] = {
        "health.device": device,
        "health.recovery": {"recovery_action": 0},
        "health.firmware": firmware,
        "health.ecc": ecc,
        "health.memory_repair": repair,
        "health.repair": {"channel_pending": 0, "tpc_pending": 0},
        "health.modes": {"mig": 0, "mig_pending": 0, "persistence": 1, "compute_mode": 0},
        "health.processes": {"processes": [], "count": 0},
        "health.power": power,
        "health.clocks": clocks,
        "health.throttle": {
            "before": dict(COUNTERS, codes={}),
            "after": after,
            "load": LOADED,
            "reasons_seen": 0,
            "links": [[5, 16]],
            "hottest_c": 41,
        },
        "health.pcie": {
            **link,
            "idle": dict(link),
            "load": LOADED,
            "generation_busy": 5,
            "width_busy": 16,
        },
        "health.temperature": temperature,
        "health.nvlink": nvlink,
        "health.fabric": {"status": 0, "state": 3, "health_mask": 426, "health_summary": 1},
    }
    whole = {check: {"codes": {}, **values} for check, values in measured.items()}
    add_device_leg(evidence, "health", whole, [library(NVML, "libnvidia-compute-580")])


def _refuse(check: str, code: int, *keys: str) -> Change:
    """Refuse values with a return code of NVML."""

    def change(evidence: Evidence) -> None:
        values = value(evidence, check)
        for key in keys:
            values[key] = None
            values["codes"][key] = code

    return change


def _counter(key: str, ns: int) -> Change:
    return lambda e: value(e, "health.throttle")["after"].update({key: ns})


def _links(*down: int) -> Change:
    def change(evidence: Evidence) -> None:
        for number in down:
            value(evidence, "health.nvlink")["links"][number]["active"] = False

    return change


def _gpus(**values: object) -> Change:
    return lambda e: value(e, "health.gpus")["gpus"][0].update(values)


def _xid(code: int, **more: object) -> Change:
    line = {"code": code, "address": "0000:17:00", "text": "pid=1", "count": 1, **more}
    return lambda e: value(e, "health.xids")["xids"].append(line)


def _sxid(*, fatal: bool) -> Change:
    kind = "Fatal" if fatal else "Non-fatal"
    line = {"code": 24007, "address": "0000:05:00.0", "fatal": fatal, "text": f"{kind}, Link 3"}
    return lambda e: value(e, "health.xids")["sxids"].append(line)


def _unreadable(check: str) -> Change:
    return put(check, readable=False, tried=["/dev/kmsg: Operation not permitted"])


def _mask(shift: int, number: int, width: int = 3) -> Change:
    return put("health.fabric", health_mask=426 & ~(width << shift) | number << shift)


RED: list[Red] = [
    Red(
        "health.ran_on_gpu",
        "crashed in the vendor's library",
        "gpu",
        on_gpu_outcome("health", "crashed", "SIGSEGV"),
        "crashed: SIGSEGV",
    ),
    Red(
        "health.ran_on_gpu",
        "hangs in the kernel",
        "gpu",
        on_gpu_outcome("health", "stuck", "no end within 10 s"),
        "hangs in the kernel",
    ),
    # device
    Red(
        "health.device",
        "lost",
        "gpu",
        put("health.device", handle_code=15),
        "fell off the bus",
    ),
    Red("health.device", "reset", "gpu", put("health.device", handle_code=16), "needs a reset"),
    Red("health.device", "unknown", "gpu", put("health.device", handle_code=6), "does not know"),
    Red("health.device", "refused", "gpu", put("health.device", handle_code=999), "hand out"),
    Red("health.device", "no start", "gpu", put("health.device", init_code=18), "not start"),
    Red("health.device", "another kind", "gpu", put("health.device", device="2330"), "the same"),
    Red("health.device", "another one", "gpu", put("health.device", uuid="GPU-x"), "another GPU"),
    Red(
        "health.device",
        "lost at its name",
        "gpu",
        _refuse("health.device", 15, "name"),
        "fell off the bus",
    ),
    Red(
        "health.device",
        "no name",
        "gpu",
        _refuse("health.device", 999, "name"),
        "NVML answers 999 for name",
        status="ERROR",
    ),
    # recovery
    Red(
        "health.recovery",
        "reset",
        "gpu",
        put("health.recovery", recovery_action=1),
        "asks for a reset of the GPU",
    ),
    Red(
        "health.recovery",
        "restart",
        "gpu",
        put("health.recovery", recovery_action=2),
        "asks for a restart of the node",
    ),
    Red(
        "health.recovery",
        "new action",
        "gpu",
        put("health.recovery", recovery_action=99),
        "does not know",
    ),
    Red(
        "health.recovery",
        "older driver",
        "gpu",
        _refuse("health.recovery", 2, "recovery_action"),
        "does not tell recovery_action",
        status="NO_REFERENCE",
    ),
    # firmware
    Red(
        "health.firmware",
        "InfoROM",
        "gpu",
        _refuse("health.firmware", 14, "inforom_valid"),
        "InfoROM is corrupt",
    ),
    Red(
        "health.firmware",
        "GSP of another driver",
        "gpu",
        put("health.firmware", gsp="570.86.10"),
        "GSP firmware is of another driver",
    ),
    # ECC
    Red("health.ecc", "off", "gpu", put("health.ecc", mode=0), "ECC is off"),
    Red(
        "health.ecc",
        "uncorrected in DRAM",
        "gpu",
        put("health.ecc", uncorrected=1, uncorrected_dram=1),
        "since the driver was loaded: 1 in DRAM",
    ),
    Red(
        "health.ecc",
        "uncorrected in SRAM",
        "gpu",
        put("health.ecc", uncorrected=2, uncorrected_sram=2),
        "2 in SRAM",
    ),
    Red(
        "health.ecc",
        "SRAM threshold",
        "gpu",
        put("health.ecc", sram_threshold_exceeded=1),
        "NVIDIA's own threshold",
    ),
    Red(
        "health.ecc",
        "SRAM in its life",
        "gpu",
        put("health.ecc", sram_uncorrected_parity_total=2, sram_uncorrected_secded_total=3),
        "in its life",
    ),
    Red(
        "health.ecc",
        "corrected in DRAM",
        "gpu",
        put("health.ecc", corrected=20_000_001, corrected_dram=20_000_001),
        "so many corrected DRAM errors",
    ),
    Red(
        "health.ecc",
        "corrected in SRAM",
        "gpu",
        put("health.ecc", corrected=10_001, corrected_sram=10_001),
        "so many corrected SRAM errors",
    ),
    Red(
        "health.ecc",
        "mode changes",
        "gpu",
        put("health.ecc", pending_mode=0),
        "at the next reset",
        status="WARN",
    ),
    Red(
        "health.ecc",
        "not told of a data-centre GPU",
        "gpu",
        _refuse("health.ecc", 3, "mode"),
        "which a data-centre GPU has",
        status="ERROR",
    ),
    Red(
        "health.ecc",
        "counters not told",
        "gpu",
        _refuse("health.ecc", 3, "uncorrected"),
        "which a data-centre GPU has",
        status="ERROR",
    ),
    # memory repair
    Red(
        "health.memory_repair",
        "failure",
        "gpu",
        put("health.memory_repair", failure=1),
        "could not be replaced",
    ),
    Red(
        "health.memory_repair",
        "pending",
        "gpu",
        put("health.memory_repair", pending=1),
        "at the next reset",
    ),
    Red(
        "health.memory_repair",
        "too many rows",
        "gpu",
        put("health.memory_repair", correctable=500, uncorrectable=12),
        "more than it can replace",
    ),
    Red(
        "health.memory_repair",
        "no spare rows",
        "gpu",
        put("health.memory_repair", banks_none=1),
        "1 memory banks have no spare row left",
        status="WARN",
    ),
    Red(
        "health.memory_repair",
        "not told",
        "gpu",
        _refuse("health.memory_repair", 3, "pending"),
        "does not tell pending",
        status="ERROR",
    ),
    Red("health.repair", "channel", "gpu", put("health.repair", channel_pending=1), "channel"),
    Red("health.repair", "cluster", "gpu", put("health.repair", tpc_pending=1), "cluster"),
    Red(
        "health.repair",
        "older driver",
        "gpu",
        _refuse("health.repair", 13, "channel_pending", "tpc_pending"),
        "does not tell",
        status="NO_REFERENCE",
    ),
    # modes, processes
    Red("health.modes", "MIG", "gpu", put("health.modes", mig=1, mig_pending=1), "MIG is on"),
    Red("health.modes", "MIG soon", "gpu", put("health.modes", mig_pending=1), "MIG changes"),
    Red("health.modes", "prohibited", "gpu", put("health.modes", compute_mode=2), "forbids"),
    Red(
        "health.modes",
        "exclusive",
        "gpu",
        put("health.modes", compute_mode=3),
        "exclusive by process",
        status="WARN",
    ),
    Red(
        "health.modes",
        "persistence",
        "gpu",
        put("health.modes", persistence=0),
        "persistence is off",
        status="WARN",
    ),
    Red(
        "health.modes",
        "lost at its MIG mode",
        "gpu",
        _refuse("health.modes", 15, "mig", "mig_pending"),
        "fell off the bus",
    ),
    Red(
        "health.processes",
        "somebody computes",
        "gpu",
        put("health.processes", count=1, processes=[{"pid": 4242, "used_bytes": 1}]),
        "processes 4242 compute on it",
    ),
    # running
    Red(
        "health.power",
        "lowered",
        "gpu",
        put("health.power", limit_mw=500_000),
        "was lowered: nvidia-smi -pl 700",
    ),
    Red("health.clocks", "lowered", "gpu", put("health.clocks", sm_set_mhz=1200), "somebody set"),
    Red(
        "health.clocks",
        "memory lowered",
        "gpu",
        put("health.clocks", memory_set_mhz=1600),
        "the clock of its memory",
    ),
    Red(
        "health.clocks",
        "set, and not told to what",
        "gpu",
        put("health.clocks", sm_set_mhz=None, memory_set_mhz=None, reasons=2),
        "to what is not told",
        status="WARN",
    ),
    *(
        Red("health.throttle", name, "gpu", _counter(key, 1_000_000), name)
        for key, name in (
            ("hw_thermal_ns", "hardware thermal slowdown"),
            ("hw_power_brake_ns", "power brake"),
            ("sw_thermal_ns", "software thermal slowdown"),
            ("thermal_policy_ns", "thermal policy"),
        )
    ),
    *(
        Red("health.throttle", name, "gpu", _counter(key, 1_000_000), name, status="WARN")
        for key, name in (("board_limit_ns", "board limit"),)
    ),
    Red(
        "health.throttle",
        "seen in the mask",
        "gpu",
        put("health.throttle", reasons_seen=0x48),
        "hardware slowdown, hardware thermal slowdown",
    ),
    Red(
        "health.throttle",
        "counters fell",
        "gpu",
        _counter("sw_power_cap_ns", 1),
        "loaded anew",
    ),
    Red(
        "health.throttle",
        "before an earlier load",
        "gpu",
        lambda e: [
            value(e, "health.throttle")[when].update(hw_thermal_ns=7_000_000)
            for when in ("before", "after")
        ],
        "hardware thermal slowdown",
    ),
    Red("health.temperature", "hot", "gpu", put("health.temperature", hottest_c=89), "as hot as"),
    Red(
        "health.temperature",
        "no room",
        "gpu",
        put("health.temperature", margin_c=0),
        "no room is left",
    ),
    Red(
        "health.temperature",
        "hot memory",
        "gpu",
        put("health.temperature", memory_temperature_c=95),
        "its memory is at its highest",
    ),
    Red(
        "health.temperature",
        "no limit told",
        "gpu",
        put("health.temperature", margin_c=None, slowdown_c=None, memory_max_c=None),
        "no limit",
        status="NO_REFERENCE",
    ),
    # PCIe
    Red("health.pcie", "x8", "gpu", put("health.pcie", width_busy=8), "lanes are missing"),
    Red(
        "health.pcie",
        "slow under load",
        "gpu",
        put("health.pcie", generation_busy=3),
        "slow under load",
    ),
    Red(
        "health.pcie",
        "slow, no load",
        "gpu",
        put("health.pcie", generation_busy=1, load={"kind": "none"}),
        "no load that would have trained it up",
        status="WARN",
    ),
    Red("health.pcie", "fatal errors", "gpu", put("health.pcie", pcie_fatal=1), "1 fatal errors"),
    Red(
        "health.pcie",
        "errors",
        "gpu",
        put("health.pcie", pcie_non_fatal=2),
        "that were not fatal",
        status="WARN",
    ),
    Red("health.pcie", "replays", "gpu", put("health.pcie", pcie_replays=81), "sent again"),
    # links
    Red("health.nvlink", "one down", "gpu", _links(7), "links 7 are down"),
    Red("health.nvlink", "all down", "gpu", _links(*range(18)), "restart the fabric manager"),
    Red(
        "health.nvlink",
        "lost for good",
        "gpu",
        put("health.nvlink", nvlink_recovery_failed=1),
        "could not be recovered",
    ),
    Red(
        "health.nvlink",
        "recovered",
        "gpu",
        put("health.nvlink", nvlink_recoveries=3),
        "had to be recovered 3 times",
        status="WARN",
    ),
    Red(
        "health.nvlink",
        "not looked at",
        "gpu",
        put("health.nvlink", links=[]),
        "not every link",
    ),
    Red("health.fabric", "not begun", "gpu", put("health.fabric", state=1), "not registered"),
    Red("health.fabric", "in progress", "gpu", put("health.fabric", state=2), "not registered"),
    Red("health.fabric", "none", "gpu", put("health.fabric", state=0), "it has no fabric"),
    Red("health.fabric", "failed", "gpu", put("health.fabric", status=999), "failed"),
    Red("health.fabric", "bandwidth lost", "gpu", _mask(0, 1), "lost bandwidth"),
    Red("health.fabric", "unhealthy route", "gpu", _mask(4, 1), "a route"),
    Red("health.fabric", "no partition", "gpu", _mask(8, 4, 0xF), "in no partition"),
    Red("health.fabric", "firmware", "gpu", _mask(8, 6, 0xF), "firmware does not fit"),
    Red("health.fabric", "recovering", "gpu", _mask(2, 1), "recovering a route", status="WARN"),
    Red("health.fabric", "unhealthy", "gpu", put("health.fabric", health_summary=2), "unhealthy"),
    Red(
        "health.fabric",
        "limited",
        "gpu",
        put("health.fabric", health_summary=3),
        "capacity is limited",
        status="WARN",
    ),
    Red(
        "health.fabric",
        "not told",
        "gpu",
        _refuse("health.fabric", 3, "state"),
        "its links lead to a switch",
    ),
    # the machine
    Red("health.gpus", "none", "gpu", put("health.gpus", gpus=[]), "sees no GPU"),
    Red("health.gpus", "lost", "gpu", _gpus(handle_code=15, uuid=None), "GPU number 0: the GPU is"),
    Red("health.gpus", "unmeasured", "gpu", unmeasured("health.gpus"), "no health.gpus", "ERROR"),
    Red("health.xids", "XID 79", "gpu", _xid(79), "XID 79 (ROBUST_CHANNEL_GPU_HAS_FALLEN_OFF"),
    Red("health.xids", "XID 48", "gpu", _xid(48), "WORKFLOW_XID_48"),
    Red("health.xids", "XID 119", "gpu", _xid(119), "RESET_GPU"),
    Red("health.xids", "XID 144", "gpu", _xid(144), "WORKFLOW_NVLINK5_ERR", status="WARN"),
    Red("health.xids", "new XID", "gpu", _xid(999), "not in the catalogue", status="WARN"),
    Red("health.xids", "fatal SXID", "gpu", _sxid(fatal=True), "SXID 24007 on switch 0000:05:00.0"),
    Red("health.xids", "SXID", "gpu", _sxid(fatal=False), "Non-fatal", status="WARN"),
    Red(
        "health.xids",
        "log is not readable",
        "gpu",
        _unreadable("health.xids"),
        "/dev/kmsg: Operation not permitted",
        status="ERROR",
    ),
    Red(
        "health.xids",
        "log is overwritten",
        "gpu",
        put("health.xids", complete=False),
        "already overwritten",
        status="WARN",
    ),
    Red(
        "health.driver_log",
        "library and module differ",
        "gpu",
        put("health.driver_log", signs={"api_mismatch": "NVRM: API mismatch: …"}),
        "different versions; reboot: NVRM: API mismatch",
    ),
    Red(
        "health.driver_log",
        "no initialisation",
        "gpu",
        put("health.driver_log", signs={"init_failed": "NVRM: RmInitAdapter failed!"}),
        "could not initialise",
    ),
    Red(
        "health.driver_log",
        "wrong flavour",
        "gpu",
        put("health.driver_log", signs={"needs_open_modules": "NVRM: requires use of …"}),
        "needs the open kernel modules",
    ),
    Red(
        "health.driver_log",
        "signs left out",
        "gpu",
        drop("health.driver_log", "signs"),
        "cannot be read",
        status="ERROR",
    ),
    Red(
        "health.services",
        "fabric manager is off",
        "gpu",
        lambda e: value(e, "health.services")["fabric_manager"].update(running=False),
        "the fabric manager is off: systemctl enable",
    ),
    Red(
        "health.services",
        "fabric manager of another driver",
        "gpu",
        state_is("packages/nvidia-fabricmanager-580", "580.82.07-1"),
        "not of the loaded driver's version",
    ),
    Red(
        "health.services",
        "fabric manager of nobody knows which version",
        "gpu",
        lambda e: e["state"]["packages"].pop("nvidia-fabricmanager-580"),
        "no package of it is known",
        status="WARN",
    ),
    Red(
        "health.stale",
        "a daemon on replaced libraries",
        "gpu",
        put("health.stale", holders=[{"pid": 9, "name": "nvidia-persiste", "paths": ["/x"]}]),
        "nvidia-persiste (9) still run on libraries that were replaced",
    ),
    Red(
        "health.stale",
        "others' processes unseen",
        "gpu",
        lambda e: [e["state"].update(euid=1000), value(e, "health.stale").update(unseen=7)],
        "7 processes of other users",
        status="WARN",
    ),
]
