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
