"""health: is it the GPU it says, what does its own driver ask for, firmware, modes, who uses it."""

from __future__ import annotations

from typing import Dict, List, Optional

from ..context import Answer, Context, entries, integer, text
from .nvml_answers import GONE, count, refused
from .registry import Values, check, failed, passed

NOT_FOUND = 6  # nvmlReturn_t
CORRUPTED_INFOROM = 14
RECOVERY = {
    1: "a reset of the GPU",
    2: "a restart of the node",
    3: "an end of peer-to-peer traffic",
    4: "an end of peer-to-peer traffic, then a reset of the GPU",
    5: "a recovery of the IMEX domain",
    6: "a reset of its PCIe bus",
    7: "a restart of the system",
}
"""nvmlDeviceGpuRecoveryAction_t of nvml.h."""
PROHIBITED = 2  # nvmlComputeMode_t
EXCLUSIVE = {1: "exclusive by thread", 3: "exclusive by process"}


@check(
    "health.device",
    "health",
    "NVML finds the GPU, and it is the one that the bus says",
    needs=("init_code",),
    per_gpu=True,
)
def health_device(context: Context, values: Values, expect: Values) -> Answer:
    gpu = context.gpu or {}
    code = integer(values, "init_code")
    if code:
        return failed("NVML code %d" % code, "", "NVML does not start")
    code = integer(values, "handle_code")
    if code == NOT_FOUND:
        return failed("not found", str(gpu["id"]), "NVML does not know this GPU")
    if code:
        reason = GONE.get(code, "NVML does not hand out this GPU")
        return failed("NVML code %d" % code, str(gpu["id"]), reason)
    answer = refused(context, values, "name", "uuid", "device", must=True)
    if answer:
        return answer
    name = text(values, "name")
    if str(gpu["id"]).startswith("GPU-") and values["uuid"] != gpu["id"]:
        return failed(text(values, "uuid"), str(gpu["id"]), "NVML answers for another GPU")
    if values["device"] != gpu["device"]:
        reason = "the bus and NVML do not say the same of what GPU it is"
        return failed(text(values, "device"), str(gpu["device"]), reason)
    shown = name + (", serial %s" % values["serial"] if values.get("serial") else "")
    return passed(shown, str(gpu["device"]), "NVML and the bus agree")


@check(
    "health.recovery",
    "health",
    "The driver asks for no reset and no restart",
    needs=("codes",),
    per_gpu=True,
)
def health_recovery(context: Context, values: Values, expect: Values) -> Answer:
    answer = refused(context, values, "recovery_action", must=False)
    if answer:
        return answer
    action = integer(values, "recovery_action")
    if action:
        wanted = RECOVERY.get(action, "an action that this judge does not know")
        return failed("action %d" % action, "0", "the driver itself asks for %s" % wanted)
    return passed("0", "0", "the driver asks for nothing")


@check(
    "health.firmware",
    "health",
    "InfoROM is intact, and GSP firmware and VBIOS are the ones to expect",
    needs=("codes",),
    per_gpu=True,
)
def health_firmware(context: Context, values: Values, expect: Values) -> Answer:
    if (values["codes"] or {}).get("inforom_valid") == CORRUPTED_INFOROM:
        return failed("corrupt", "valid", "the InfoROM is corrupt; its counters cannot be trusted")
    answer = refused(context, values, "vbios", must=True)
    if answer:
        return answer
    vbios = text(values, "vbios")
    wanted: List[str] = list(expect.get("vbios") or [])
    if wanted and vbios not in wanted:
        return failed(vbios, " or ".join(wanted), "its VBIOS is not one of those that are expected")
    driver = context.state["module"].get("loaded")
    gsp = values.get("gsp") if values.get("gsp_enabled") else None
    if gsp and driver and gsp != driver:
        return failed("GSP %s" % gsp, str(driver), "the GSP firmware is of another driver; reboot")
    others = {v for v in _vbios_of_others(context) if v != vbios}
    shown = "VBIOS %s, InfoROM %s, GSP %s" % (vbios, values.get("inforom"), gsp or "off")
    if others and not wanted:
        reason = "GPUs of one kind with several VBIOS: %s" % ", ".join(sorted(others | {vbios}))
        return "WARN", shown, "one VBIOS", reason
    answer = refused(context, values, "inforom_valid", must=False)
    return answer or passed(shown, str(driver or ""), "InfoROM valid")


def _vbios_of_others(context: Context) -> List[str]:
    """Return the VBIOS of the tested GPUs of the same kind."""
    found = []
    kind = (context.gpu or {}).get("device")
    for gpu in context.tested:
        if gpu["device"] != kind:
            continue
        measured = context.at(gpu, {}).measurement("health", "health.firmware")
        vbios: Optional[str] = (measured or {}).get("values", {}).get("vbios")
        if isinstance(vbios, str):
            found.append(vbios)
    return found


@check(
    "health.modes",
    "health",
    "MIG, persistence and compute mode are as expected, with no change pending",
    needs=("codes",),
    per_gpu=True,
)
def health_modes(context: Context, values: Values, expect: Values) -> Answer:
    answer = refused(context, values, "compute_mode", must=True)
    if answer:
        return answer
    if integer(values, "compute_mode") == PROHIBITED:
        reason = "its compute mode forbids every computation: nvidia-smi -c DEFAULT"
        return failed("prohibited", "default", reason)
    wanted = expect.get("mig")
    # A GPU that cannot be divided has no MIG to be on.
    mig = {0: "off", 1: "on"}.get(values["mig"] if values.get("mig") is not None else 0, "?")
    if (values["codes"] or {}).get("mig") not in (None, 2, 3, 13):
        answer = refused(context, values, "mig")
        if answer:
            return answer
    if wanted and mig != wanted:
        reason = "MIG is %s; what was tested is not the whole GPU" % mig
        return failed("MIG " + mig, "MIG " + str(wanted), reason)
    if values.get("mig_pending") not in (None, values.get("mig")):
        return failed("MIG changes", "MIG " + mig, "MIG changes at the next reset of the GPU")
    held = {0: "off", 1: "on"}.get(count(values, "persistence"), "?")
    shown = "MIG %s, persistence %s" % (mig, held)
    if integer(values, "compute_mode") in EXCLUSIVE:
        reason = "its compute mode is %s" % EXCLUSIVE[values["compute_mode"]]
        return "WARN", shown, "default", reason
    answer = refused(context, values, "persistence")
    if answer:
        return answer
    if not integer(values, "persistence"):
        reason = "persistence is off: the driver lets go of the GPU between uses, which is slow and"
        return "WARN", shown, "on", reason + " clears counters; enable nvidia-persistenced"
    return passed(shown, "MIG %s, persistence on" % (wanted or "either"), "as expected")


@check(
    "health.processes",
    "health",
    "Nobody else computes on the GPU while it is tested",
    needs=("codes",),
    per_gpu=True,
)
def health_processes(context: Context, values: Values, expect: Values) -> Answer:
    answer = refused(context, values, "count")
    if answer:
        return answer
    users, most = integer(values, "count"), int(expect.get("most") or 0)
    if users > most:
        listed: List[Dict[str, object]] = entries(values, "processes")
        shown = ", ".join(str(one.get("pid")) for one in listed[:5]) or "not listed"
        reason = "processes %s compute on it; speeds measured beside them mean little" % shown
        return failed("%d processes" % users, str(most), reason)
    return passed("%d processes" % users, str(most), "nobody else computes on it")
