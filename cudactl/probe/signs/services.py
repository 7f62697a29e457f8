"""Daemons that run, processes that still map replaced libraries, and the clock."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any, Dict, Optional

from ..files import Root
from ..services import daemons, replaced_libraries
from . import Unread

STA_UNSYNC = 0x0040  # linux/timex.h
SAVED_CLOCKS = ("/var/lib/systemd/timesync/clock", "/var/log/dpkg.log", "/var/lib/dpkg/status")


def processes(root: Root, unread: Unread) -> Dict[str, Any]:
    """Return which daemons run, and who maps a library of the driver that was replaced."""
    stale = replaced_libraries(root)
    if stale["unseen"] and os.geteuid() != 0:
        unread.append(
            {
                "what": "memory maps of %d processes of other users" % stale["unseen"],
                "needs": "root",
                "why": "whether they still use replaced libraries is not known",
            }
        )
    return {"running": daemons(root), "replaced": stale["holders"]}


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the kernel fills in 208 bytes on 64-bit machines."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    ]


def clock(root: Root) -> Dict[str, Any]:
    """Return the clock, whether something keeps it right, and a time that has surely passed."""
    known: Dict[str, Any] = {"path": None, "time": None}
    for path in SAVED_CLOCKS:
        try:
            changed = os.stat(root.at(path)).st_mtime
        except OSError:
            continue
        if known["time"] is None or changed > known["time"]:
            known = {"path": path, "time": changed}
    return {"now": time.time(), "surely_passed": known, "synchronised": _synchronised(root)}


def _synchronised(root: Root) -> Optional[bool]:
    if not root.live:
        text = root.line("/synchronised")
        return None if text is None else text == "yes"
    try:
        timex = _Timex()  # modes 0: it only asks
        if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
            return None
    except (AttributeError, OSError):
        return None
    return not timex.status & STA_UNSYNC
