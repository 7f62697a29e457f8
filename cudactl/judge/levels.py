"""How much was shown: linkage, execution or performance, and what of each GPU was reached.

A level is claimed only when a check of that level passed, on every tested GPU, and none failed.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .checks import CHECKS
from .context import Context

SHOWN = {
    "linkage": "right files, right versions, they load, compile and link",
    "execution": "it computed on the GPU, and the numbers are right",
    "performance": "it computed, the numbers are right, and it is as fast as this GPU should be",
}
ORDER = ("none", "linkage", "execution", "performance")


def level_of(context: Context, verdict: str, verdicts: List[Dict[str, Any]]) -> Tuple[str, str]:
    """Return the level and why it is this and no higher."""
    simulated = [library for library in context.libraries if library["simulated"]]
    if simulated:
        count = "%d of %d" % (len(simulated), len(context.libraries))
        return "simulated", "%s libraries are the lab's simulated ones, and %s" % (
            count,
            _used(context, verdicts),
        )
    if verdict in ("FAIL", "ERROR"):
        return "none", "a check did not pass, so nothing is certified; %s" % _used(
            context, verdicts
        )
    if not context.libraries:
        return "none", "no vendor library was loaded, so nothing was shown; %s" % _used(
            context, verdicts
        )
    if not _everywhere(context, verdicts, "execution"):
        return "linkage", "%s; %s" % (SHOWN["linkage"], _used(context, verdicts))
    if not _everywhere(context, verdicts, "performance"):
        return "execution", "%s; its speed was not judged" % SHOWN["execution"]
    return "performance", SHOWN["performance"]


def lowered(level: str, reason: str, policy: Dict[str, Any]) -> Tuple[str, str]:
    """Return the level without what somebody chose to leave out: what was not asked is not shown.

    A check of a level that was left out takes that level and those above it.
    """
    left_out = [
        str(one["check"])
        for one in policy["expectations"]
        if one.get("left_out") and one.get("skip") and one["check"] in CHECKS
    ]
    if not left_out:
        return level, reason
    count = "1 check was" if len(left_out) == 1 else "%d checks were" % len(left_out)
    if level not in ORDER:
        return level, "%s; %s left out" % (reason, count)
    # That a leg ended well goes with what it measures, and is not lost for itself.
    legs = {CHECKS[name].leg for name in left_out if not _ended(name)}
    counted = [name for name in left_out if not _ended(name) or CHECKS[name].leg not in legs]
    highest = min(ORDER.index(CHECKS[name].level) for name in counted) - 1
    if ORDER.index(level) <= highest:
        return level, "%s; %s left out" % (reason, count)
    lost = "%s left out, so this is not shown: %s" % (count, SHOWN[ORDER[highest + 1]])
    return ORDER[highest], lost


def _ended(name: str) -> bool:
    return name.endswith((".ran", ".ran_on_gpu"))


def _everywhere(context: Context, verdicts: List[Dict[str, Any]], level: str) -> bool:
    """Return True when some check of a level passed on every GPU of the machine."""
    passed = {
        verdict["gpu"]
        for verdict in verdicts
        if verdict["status"] == "PASS" and CHECKS[verdict["check"]].level == level
    }
    tested = {gpu["id"] for gpu in context.tested}
    return bool(tested) and len(tested) >= len(context.gpus) and tested <= passed


def _used(context: Context, verdicts: List[Dict[str, Any]]) -> str:
    if not context.gpus and not context.tested:
        return "no GPU was there"
    if not any(CHECKS[v["check"]].level != "linkage" and v["gpu"] for v in verdicts):
        return "no GPU was used (no execution checks were asked for)"
    if len(context.tested) < len(context.gpus):
        return "%d of %d GPUs were tested" % (len(context.tested), len(context.gpus))
    return "not every GPU passed an execution check"


def coverage(context: Context) -> Dict[str, Any]:
    """Return, by GPU, how much of it the driver leg reached: SMs and bytes of memory."""
    found: Dict[str, Any] = {}
    for gpu in context.tested:
        view = context.at(gpu, {})
        reached: Dict[str, Any] = {}
        for check, keys in (
            ("driver.compute", ("sms_visited", "sm_count")),
            ("driver.memory", ("checked_bytes", "total_bytes")),
        ):
            values = (view.measurement("driver", check) or {}).get("values") or {}
            for key in keys:
                if isinstance(values.get(key), int) and not isinstance(values.get(key), bool):
                    reached[key] = values[key]
        if reached:
            found[str(gpu["id"])] = reached
    return found
