"""Which GPUs the device legs run on, and who is using them.

A GPU that somebody uses is left alone: its legs are deferred, and the evidence says for whom.
"""

from __future__ import annotations

import os
import re

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, List, Set

INFORMATION = "/proc/driver/nvidia/gpus"
UVM = "/dev/nvidia-uvm"  # whoever computes holds it; monitors and the persistence daemon do not


def tested_gpus(root: Root, request: Dict[str, Any], state: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the GPUs to be tested, in PCI order: id, address, device, users.

    Args:
        root: The machine's root.
        request: "gpus" may name them: a list of {"id", "address", "device"}, or of ids or
            addresses of GPUs that are there.
        state: The HostState document of this run.
    """
    told = request.get("gpus")
    if isinstance(told, list) and told and all(isinstance(one, dict) for one in told):
        return [dict(one, users=list(one.get("users") or [])) for one in told]
    # Who computes is asked of every process, which takes its time.
    computing = users(root) if state.get("gpus") else {}
    found = []
    for gpu in sorted(state.get("gpus") or [], key=lambda one: str(one["address"])):
        address = str(gpu["address"])
        text = root.text("%s/%s/information" % (INFORMATION, address)) or ""
        uuid = re.search(r"^GPU UUID:\s*(GPU-[0-9a-fA-F-]{36})\s*$", text, re.MULTILINE)
        minor = re.search(r"^Device Minor:\s*(\d+)\s*$", text, re.MULTILINE)
        name = uuid.group(1) if uuid else address
        if told and name not in told and address not in told:
            continue
        node = "/dev/nvidia" + minor.group(1) if minor else None
        found.append(
            {
                "id": name,
                "address": address,
                "device": gpu["device"],
                "users": sorted(pid for pid, nodes in computing.items() if node in nodes),
            }
        )
    return found


def users(root: Root) -> Dict[int, Set[str]]:
    """Return the processes that compute on a GPU, each with the device files that it holds.

    Other users' processes are seen by root only.
    """
    found: Dict[int, Set[str]] = {}
    if not root.live:
        return found
    for pid in root.list("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        nodes = {
            root.link("/proc/%s/fd/%s" % (pid, handle)) or ""
            for handle in root.list("/proc/%s/fd" % pid)
        }
        if UVM in nodes:
            found[int(pid)] = {node for node in nodes if node.startswith("/dev/nvidia")}
    return found
