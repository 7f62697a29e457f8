"""NVIDIA's services on a machine, and processes that still run on replaced NVIDIA libraries.

Read from /proc, /sys and systemd's unit files: no subprocess, and nothing is woken.
"""

from __future__ import annotations

import re

from . import TYPE_CHECKING
from .files import Root
from .machine import switches

if TYPE_CHECKING:
    from typing import Any, Dict, List

UNITS = {
    "fabric_manager": "nvidia-fabricmanager.service",
    "persistenced": "nvidia-persistenced.service",
}
# The kernel keeps the first 15 characters of a process's name.
DAEMONS = {
    "nv-fabricmanage": "fabric_manager",
    "nvidia-persiste": "persistenced",
    "nvidia-gridd": "gridd",
    "dockerd": "dockerd",
    "containerd": "containerd",
    "nv-hostengine": "hostengine",
    "unattended-upgr": "unattended-upgrades",
}
UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
WANTS = "/etc/systemd/system/multi-user.target.wants"
SWITCHES = "/proc/driver/nvidia-nvswitch/devices"
LIBRARY = (
    r"\s(/\S*/(?:libcuda|libnvidia-[\w-]+|libnvcuvid|libcudart|libcublas|libcublasLt|libcudnn\w*"
    r"|libnvinfer\w*|libnvrtc)\.so[.\d]*) \(deleted\)$"
)
MOST = 50


def services(root: Root) -> Dict[str, Any]:
    """Return which services are there, enabled and running, and how many NVSwitches there are."""
    running = daemons(root)
    # In a container the first process is not the host's init, and the host's are not to be seen.
    found: Dict[str, Any] = {
        "nvswitches": len(root.list(SWITCHES)) or switches(root),
        "init": root.line("/proc/1/comm"),
    }
    for name, unit in UNITS.items():
        found[name] = {
            "unit": any(root.exists("%s/%s" % (folder, unit)) for folder in UNIT_FOLDERS),
            "enabled": root.exists("%s/%s" % (WANTS, unit)),
            "running": name in running,
            "pid": running.get(name),
        }
    return found


def daemons(root: Root) -> Dict[str, int]:
    """Return the daemons of DAEMONS that run, and their process ids."""
    running: Dict[str, int] = {}
    for pid in root.list("/proc"):
        if pid.isdigit():
            name = DAEMONS.get(root.line("/proc/%s/comm" % pid) or "")
            if name is not None:
                running.setdefault(name, int(pid))
    return running


def replaced_libraries(root: Root) -> Dict[str, Any]:
    """Return the processes that still map NVIDIA libraries which are no longer on disk.

    "unseen" counts the processes whose maps this user may not read.
    """
    library = re.compile(LIBRARY)
    holders: List[Dict[str, Any]] = []
    unseen = seen = 0
    for pid in root.list("/proc"):
        if not pid.isdigit():
            continue
        text = root.text("/proc/%s/maps" % pid)
        if text is None:
            unseen += bool(root.text("/proc/%s/cmdline" % pid))  # kernel threads have none
            continue
        seen += 1
        if "(deleted)" not in text:
            continue
        paths = sorted({m.group(1) for m in map(library.search, text.splitlines()) if m})
        if paths and len(holders) < MOST:
            name = root.line("/proc/%s/comm" % pid) or "?"
            holders.append({"pid": int(pid), "name": name, "paths": paths[:5]})
    return {"holders": holders, "seen": seen, "unseen": unseen}
