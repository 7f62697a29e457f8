"""health: what the kernel's log says of NVIDIA GPUs since this boot, by NVIDIA's XID catalogue.

The policy brings the catalogue as dated data: code → [severity, action, name], and may override it
("severity", "ignore"). An application's own fault on a GPU is no fault of the GPU.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..context import Answer, Context, entries
from .registry import Values, check, failed, passed, unmeasured

UNREADABLE = "the kernel's log may not be read (%s): run as root, outside of a container"
SIGNS = {
    "api_mismatch": "the driver's library and module are of different versions; reboot",
    "init_failed": "the driver could not initialise a GPU",
    "needs_open_modules": "a GPU needs the open kernel modules, and the proprietary are loaded",
}


def _unread(context: Context, values: Values, expect: Values) -> Optional[Answer]:
    left_out = expect.get("without_gpu")
    if left_out and not context.gpus:
        return "SKIP", "", "", str(left_out)
    if values.get("readable") is not True:
        tried = values.get("tried")
        return unmeasured(
            UNREADABLE % "; ".join(map(str, tried if isinstance(tried, list) else []))
        )
    return None


@check(
    "health.xids",
    "health",
    "The kernel's log holds no error that asks for something to be done to a GPU or switch",
    needs=("readable",),
)
def health_xids(context: Context, values: Values, expect: Values) -> Answer:
    answer = _unread(context, values, expect)
    if answer:
        return answer
    bad: List[str] = []
    doubtful: List[str] = []
    noted: List[str] = []
    for xid in entries(values, "xids"):
        severity, text = _meaning(xid, expect)
        {"gpu": bad, "application": noted, "none": noted}.get(severity, doubtful).append(text)
    for sxid in entries(values, "sxids"):
        text = "SXID %s on switch %s (%s)" % (sxid["code"], sxid["address"], sxid.get("text", ""))
        (bad if sxid.get("fatal") else doubtful).append(text)
    if bad:
        return failed(bad[0], "none", _list(bad))
    if doubtful:
        return "WARN", doubtful[0], "none", _list(doubtful)
    if values.get("complete") is not True and expect.get("whole", True):
        reason = "the log's beginning is already overwritten; what it held is not known"
        return "WARN", "nothing in the rest", "the whole boot", reason
    said = "applications' own: " + _list(noted) if noted else "nothing since the machine started"
    return passed("%d noted" % len(noted), "none", said)


def _meaning(xid: Dict[str, Any], expect: Values) -> Tuple[str, str]:
    """Return an XID's severity and how it is told."""
    code = str(int(xid["code"]))
    known = (expect.get("xids") or {}).get(code)
    severity, action, name = known if known else ("", "", "not in the catalogue")
    severity = (expect.get("severity") or {}).get(code, severity)
    if code in [str(one) for one in expect.get("ignore") or []]:
        severity = "none"
    text = "XID %s (%s) on %s" % (code, name, xid["address"])
    if xid.get("count", 1) > 1:
        text += " %d times" % xid["count"]
    if action:
        text += ", NVIDIA: %s" % action
    return severity, text


def _list(texts: List[str]) -> str:
    more = len(texts) - 4
    return "; ".join(texts[:4]) + ("; %d more" % more if more > 0 else "")


@check(
    "health.driver_log",
    "health",
    "The kernel's log holds no complaint of the driver about itself",
    needs=("readable",),
)
def health_driver_log(context: Context, values: Values, expect: Values) -> Answer:
    answer = _unread(context, values, expect)
    if answer:
        return answer
    signs = values["signs"]
    for name, reason in SIGNS.items():
        if name in signs:
            return failed(name, "none", "%s: %s" % (reason, signs[name]))
    return passed("none", "none", "no complaint since the machine started")
