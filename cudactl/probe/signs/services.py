"""Daemons that run, processes that still map replaced libraries, and the clock."""

from __future__ import annotations

import ctypes
import os
import re
import time
from typing import Any, Dict, List, Optional

from ..files import Root
from . import Unread

# /proc/PID/comm holds 15 characters.
DAEMONS = {
    "nv-fabricmanage": "fabricmanager",
    "nvidia-persiste": "persistenced",
    "nvidia-gridd": "gridd",
    "dockerd": "dockerd",
    "containerd": "containerd",
    "nv-hostengine": "hostengine",
    "unattended-upgr": "unattended-upgrades",
}
REPLACED = re.compile(r"(/\S*/lib(?:cuda|nvidia-[a-z0-9-]+|nvcuvid|cudnn\w*|nvinfer\w*)\.so\S*)")
MOST = 50
STA_UNSYNC = 0x0040  # linux/timex.h
SAVED_CLOCKS = ("/var/lib/systemd/timesync/clock", "/var/log/dpkg.log", "/var/lib/dpkg/status")


def processes(root: Root, unread: Unread) -> Dict[str, Any]:
    """Return which daemons run, and who maps a library of the driver that was replaced."""
    running: Dict[str, int] = {}
    replaced: List[Dict[str, Any]] = []
    hidden = 0
    for pid in root.list("/proc"):
        if not pid.isdigit():
            continue
        name = (root.text("/proc/%s/comm" % pid) or "").strip()
        if name in DAEMONS:
            running.setdefault(DAEMONS[name], int(pid))
        maps = root.text("/proc/%s/maps" % pid)
        if maps is None:
            hidden += bool(root.text("/proc/%s/cmdline" % pid))  # kernel threads have none
        elif "(deleted)" in maps and len(replaced) < MOST:
            gone = {m.group(1) for m in map(_replaced, maps.splitlines()) if m}
            if gone:
                replaced.append({"pid": int(pid), "name": name, "libraries": sorted(gone)[:5]})
    if hidden and os.geteuid() != 0:
        unread.append(
            {
                "what": "memory maps of %d processes of other users" % hidden,
                "needs": "root",
                "why": "whether they still use replaced libraries is not known",
            }
        )
    return {"running": running, "replaced": replaced}


def _replaced(line: str) -> "Optional[re.Match[str]]":
    return REPLACED.search(line) if line.endswith("(deleted)") else None


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
