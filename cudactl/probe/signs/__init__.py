"""Signs: what `doctor` looks at beyond the state, read-only and without starting anything.

Each module reads one corner of the machine and returns plain values; what could not be read is
named in `unread`, with what it would need. Nothing here knows what is right.
"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List, Optional

from ..files import Root

Unread = List[Dict[str, str]]
ROOT_OR_ADM = "root, or membership in the group adm"


def signs(root: Root, environment: Optional[Dict[str, str]] = None) -> Dict[str, Any]:
    """Return the signs of the machine (or fixture tree) at `root`.

    Args:
        root: The tree.
        environment: Whose environment is looked at; None: this process's, or the tree's /environ.
    """
    # One module after the other: a corner that breaks is an unread corner, not a broken doctor.
    from . import boot, containers, device, loader, log, packaging, services

    begun = time.time()
    unread: Unread = []
    environment = _environment(root) if environment is None else environment
    parts: Dict[str, Callable[[], Any]] = {
        "boot": lambda: boot.boot(root),
        "modules": lambda: boot.modules(root),
        "device": lambda: device.devices(root),
        "nodes": lambda: device.nodes(root),
        "log": lambda: log.kernel_log(root, unread),
        "loader": lambda: loader.loader(root, environment),
        "python": lambda: loader.python_libraries(root, environment),
        "packaging": lambda: packaging.packaging(root),
        "processes": lambda: services.processes(root, unread),
        "clock": lambda: services.clock(root),
        "containers": lambda: containers.engines(root),
        "environment": lambda: loader.of_interest(environment),
    }
    found: Dict[str, Any] = {}
    for name, read in parts.items():
        try:
            found[name] = read()
        except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
            found[name] = None
            unread.append({"what": name, "needs": "a look at this by hand", "why": str(error)})
    found["unread"] = unread
    found["duration_s"] = time.time() - begun
    return found


def _environment(root: Root) -> Dict[str, str]:
    if root.live:
        return dict(os.environ)
    lines = (root.text("/environ") or "").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)
