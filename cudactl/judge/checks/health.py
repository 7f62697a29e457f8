"""health: NVML, every GPU's counters, NVIDIA's services, processes on replaced libraries."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from ..context import Answer, Context, entries, integer, text
from .health_gpu import RECOVERY
from .nvml_answers import GONE, count
from .provenance import answered, wrong_place
from .registry import Values, check, failed, no_reference, passed

DRIVER_NOT_LOADED = 9  # nvmlReturn_t of nvml.h
STARTS = {
    **GONE,
    DRIVER_NOT_LOADED: "no driver is loaded",
    18: "the driver's library and module are of different versions; reboot",
}
INITS = ("systemd", "init")
FABRIC_MANAGER = re.compile(r"nvidia-fabricmanager(-\d+)?")


@check(
    "health.nvml",
    "health",
    "NVML answers for the locked driver and sees every GPU on the bus",
    needs=("path", "loaded", "init_code"),
)
def health_nvml(context: Context, values: Values, expect: Values) -> Answer:
    wanted = str(expect["version"])
    wrong = wrong_place(context, text(values, "path"), expect)
    if wrong:
        return failed("", wanted, wrong)
    code = integer(values, "init_code")
    if code:
        found = "%s (%d)" % (values.get("init_text"), code)
        left_out = expect.get("without_gpu")
        # Only "no driver is loaded" belongs to a machine without a GPU; any other code is a fault.
        if left_out and not context.gpus and code == DRIVER_NOT_LOADED:
            return "SKIP", found, wanted, str(left_out)
        why = STARTS.get(code)
        return failed(found, wanted, "NVML does not start" + (": " + why if why else ""))
    version = text(values, "driver_version")
    if version != wanted:
        return failed(version, wanted, "NVML answers for another driver; reboot?")
    refused = answered(integer(values, "count_code"), "nvmlDeviceGetCount")
    if refused:
        return refused
    seen, on_bus = integer(values, "gpu_count"), len(context.gpus)
    if seen < on_bus:
        reason = "a GPU is on the bus that the driver does not see"
        return failed("%d of %d GPUs" % (seen, on_bus), wanted, reason)
    return passed("%s, %d GPUs" % (wanted, seen), wanted, "NVML answers")


@check(
    "health.gpus",
    "health",
    "Every GPU answers, and none asks for a reset or has lost memory",
    needs=("gpus",),
)
def health_gpus(context: Context, values: Values, expect: Values) -> Answer:
    gpus = entries(values, "gpus")
    if not gpus:
        left_out = expect.get("without_gpu")
        if left_out and not context.gpus:
            return "SKIP", "none", "", str(left_out)
        return failed("none", "every GPU", "NVML sees no GPU")
    for gpu in gpus:
        wrong = _silent(gpu) or (_counted(gpu) if expect.get("counters") else None)
        if wrong:
            name = gpu.get("uuid") or "number %d" % integer(gpu, "index")
            return failed("%d GPUs" % len(gpus), "all well", "GPU %s: %s" % (name, wrong))
    return passed("%d GPUs" % len(gpus), "all well", "every one answers")


def _silent(gpu: Dict[str, Any]) -> Optional[str]:
    code = integer(gpu, "handle_code")
    return GONE.get(code, "NVML does not hand it out (%d)" % code) if code else None


def _counted(gpu: Dict[str, Any]) -> Optional[str]:
    """Return what is wrong by the few counters that a prolog reads."""
    lost = [code for code in (gpu.get("codes") or {}).values() if code in GONE]
    if lost:
        return GONE[lost[0]]
    if count(gpu, "recovery_action"):
        return "the driver asks for %s" % RECOVERY.get(gpu["recovery_action"], "some action")
    if count(gpu, "uncorrected"):
        return "%d errors that ECC could not correct" % gpu["uncorrected"]
    if count(gpu, "remap_failure"):
        return "a row of its memory could not be replaced"
    if count(gpu, "remap_pending") or count(gpu, "retired_pending"):
        return "a repair of its memory waits for a reset"
    return None


@check(
    "health.services",
    "health",
    "Where there are NVSwitches the fabric manager runs, of the driver's version",
    needs=("nvswitches", "fabric_manager"),
)
def health_services(context: Context, values: Values, expect: Values) -> Answer:
    left_out = expect.get("without_gpu")
    if left_out and not context.gpus:
        return "SKIP", "", "", str(left_out)
    switches = integer(values, "nvswitches")
    manager: Dict[str, Any] = values["fabric_manager"]
    if not switches:
        return passed("no NVSwitch", "", "no fabric manager is needed")
    shown = "%d NVSwitches" % switches
    if manager["running"] is not True and values.get("init") not in INITS:
        reason = "the switches are the host's, whose services are not seen from inside a container"
        return no_reference(shown, reason)
    if manager["running"] is not True:
        remedy = "systemctl enable --now nvidia-fabricmanager" if manager["unit"] else "install it"
        return failed(shown + ", not running", "running", "the fabric manager is off: " + remedy)
    driver = context.state["module"].get("loaded")
    version = _fabric_manager(context)
    if version is None:
        return "WARN", shown, "running", "the fabric manager runs, and no package of it is known"
    if driver and version != driver:
        reason = "the fabric manager is not of the loaded driver's version"
        return failed("fabric manager " + version, str(driver), reason)
    return passed("%s, fabric manager %s" % (shown, version), str(driver or ""), "it runs")


def _fabric_manager(context: Context) -> Optional[str]:
    """Return the installed fabric manager's upstream version."""
    for name, version in sorted(context.state["packages"].items()):
        if FABRIC_MANAGER.fullmatch(str(name)):
            return str(version).split(":")[-1].split("-")[0]
    return None


@check(
    "health.stale",
    "health",
    "No process still runs on NVIDIA libraries that were replaced",
    needs=("holders", "seen"),
)
def health_stale(context: Context, values: Values, expect: Values) -> Answer:
    left_out = expect.get("without_gpu")
    if left_out and not context.gpus:
        return "SKIP", "", "", str(left_out)
    holders: List[Dict[str, Any]] = entries(values, "holders")
    if holders:
        named = ", ".join("%s (%s)" % (one["name"], one["pid"]) for one in holders[:5])
        reason = "%s still run on libraries that were replaced: restart them" % named
        return failed("%d processes" % len(holders), "none", reason)
    seen = integer(values, "seen")
    unseen = count(values, "unseen")
    if unseen and context.state.get("euid") != 0:
        reason = "%d processes of other users could not be looked at; run as root" % unseen
        return "WARN", "none of %d" % seen, "none", reason
    return passed("none of %d" % seen, "none", "all processes run on what is installed")
