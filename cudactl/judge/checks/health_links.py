"""health: NVLink and the fabric behind it.

Only for GPUs that the GPU table gives NVLink, and boards with switches; and from Hopper on, which
register with the fabric manager through their driver.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..context import Answer, Context, entries, integer
from .nvml_answers import compute_capability, count, not_told, passed_through, refused
from .registry import Values, check, failed, no_reference, passed

TO_SWITCH = 2  # nvmlIntNvLinkDeviceType_t
HOPPER = (9, 0)
STATES = {1: "not started", 2: "in progress", 3: "completed"}
COMPLETED = 3
# NVML_GPU_FABRIC_HEALTH_MASK_… of nvml.h: shift, and what its value means where it is bad.
DEGRADED, ROUTE_RECOVERY, ROUTE_UNHEALTHY, TIMEOUT_RECOVERY = 0, 2, 4, 6
CONFIGURATION = 8
WRONG = {
    2: "the system GUID is wrong",
    3: "the chassis serial number is wrong",
    4: "it is in no partition",
    5: "it has too few NVLinks",
    6: "its firmware does not fit the fabric",
    7: "its location is invalid",
    8: "its state is invalid",
}
UNHEALTHY, LIMITED = 2, 3


@check(
    "health.nvlink",
    "health",
    "Every NVLink is up, and none was lost",
    needs=("codes",),
    per_gpu=True,
)
def health_nvlink(context: Context, values: Values, expect: Values) -> Answer:
    reference = context.reference
    if reference is not None and not reference.get("nvlink_gbs"):
        if "nvlink_gbs" in (reference.get("contested") or []):
            return no_reference("", "the GPU table's sources disagree on its NVLink")
        return "SKIP", "", "", "the GPU table knows no NVLink on %s" % reference.get("name")
    switched = bool((reference or {}).get("nvswitch"))
    if not_told(values, "link_count"):
        answer = refused(context, values, "link_count", must=switched)
        if answer:
            return answer
    answer = refused(context, values, "link_count", must=True)
    if answer:
        return answer
    links = entries(values, "links")
    down = [number for number, link in enumerate(links) if link.get("active") is not True]
    shown = "%d of %d links up" % (len(links) - len(down), len(links))
    if len(links) != integer(values, "link_count"):
        return failed(shown, "", "not every link was looked at")
    if down and len(down) == len(links):
        if not switched:
            return no_reference(shown, "no link is up; nothing says that there is a bridge")
        if passed_through(context):
            reason = "no link is up; this one GPU was passed through to a virtual machine"
            return no_reference(shown, reason)
    if down:
        named = ", ".join(str(number) for number in down[:8])
        if switched:
            reason = "links %s are down: restart the fabric manager, reset the GPU" % named
            return failed(shown, "all", reason)
        return "WARN", shown, "all", "links %s are down; is a bridge missing?" % named
    if count(values, "nvlink_recovery_failed"):
        reason = "%d times a link could not be recovered" % values["nvlink_recovery_failed"]
        return failed(shown, "none lost", reason)
    if count(values, "nvlink_recoveries"):
        reason = "links had to be recovered %d times" % values["nvlink_recoveries"]
        return "WARN", shown, "none recovered", reason
    crc = count(values, "nvlink_crc_flit") + count(values, "nvlink_crc_data")
    return passed(
        shown, "all", "%d CRC errors, %d replays" % (crc, count(values, "nvlink_replays"))
    )


def _leads_to_switch(context: Context) -> Optional[bool]:
    measured = context.measurement("health", "health.nvlink") or {}
    links: List[Dict[str, Any]] = (measured.get("values") or {}).get("links") or []
    remotes = [link.get("remote") for link in links if isinstance(link, dict)]
    known = [remote for remote in remotes if remote is not None]
    return TO_SWITCH in known if known else None


@check(
    "health.fabric",
    "health",
    "The GPU is registered with the fabric, and the fabric is healthy",
    needs=("codes",),
    per_gpu=True,
)
def health_fabric(context: Context, values: Values, expect: Values) -> Answer:
    reference, capability = context.reference, compute_capability(context)
    if reference is not None and not reference.get("nvswitch"):
        return "SKIP", "", "", "the GPU table: boards with %s have no switch" % reference["name"]
    if capability is not None and capability < HOPPER:
        return "SKIP", "", "", "the GPU table: before Hopper the driver does not register it"
    answer = refused(context, values, "state", must=False)
    if answer:
        if answer[0] == "NO_REFERENCE" and _leads_to_switch(context):
            return failed(
                "not told", "completed", "its links lead to a switch, and it has no fabric"
            )
        return answer
    state = integer(values, "state")
    shown = STATES.get(state, "state %d" % state)
    if state == 0:
        if _leads_to_switch(context):
            return failed("none", "completed", "its links lead to a switch, and it has no fabric")
        return no_reference("none", "no switch is seen at the end of its links")
    if state != COMPLETED:
        if passed_through(context) and not _leads_to_switch(context):
            reason = "this one GPU was passed through to a virtual machine, without the fabric"
            return no_reference(shown, reason)
        reason = "it is not registered with the fabric: look after the fabric manager"
        return failed(shown, "completed", reason)
    if integer(values, "status"):
        reason = "its registration with the fabric failed"
        return failed("NVML code %d" % values["status"], "completed", reason)
    return _health(values, shown)


def _health(values: Values, shown: str) -> Answer:
    mask = values.get("health_mask")
    mask = mask if isinstance(mask, int) else 0
    wrong = WRONG.get(mask >> CONFIGURATION & 0xF)
    if wrong:
        return failed(shown, "healthy", "the fabric is configured wrongly: %s" % wrong)
    if mask >> DEGRADED & 3 == 1:
        return failed(shown, "healthy", "the fabric has lost bandwidth")
    if mask >> ROUTE_UNHEALTHY & 3 == 1:
        return failed(shown, "healthy", "a route through the fabric is unhealthy")
    summary = values.get("health_summary")
    if summary == UNHEALTHY:
        return failed(shown, "healthy", "the fabric says that it is unhealthy")
    if summary == LIMITED:
        return "WARN", shown, "healthy", "the fabric says that its capacity is limited"
    if mask >> ROUTE_RECOVERY & 3 == 1 or mask >> TIMEOUT_RECOVERY & 3 == 1:
        return "WARN", shown, "healthy", "the fabric is recovering a route"
    return passed(shown, "completed", "registered, and healthy")
