"""`doctor`'s evidence: the state, the signs, and what the driver itself answers; read-only.

The driver is asked only where its module is loaded and its device files are there: otherwise its
library would load the module and make the files, and a look would have changed the machine.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from . import VERSION
from .child import run_leg
from .files import Root
from .signs import signs
from .state import host_state

DEADLINE_S = 20.0
CUDA = {"cuda": {"soname": "libcuda.so.1", "folders": ["loader"]}}
NVML = {"nvml": {"soname": "libnvidia-ml.so.1", "folders": ["loader"]}}


def examination(
    root: Root, environment: Optional[Dict[str, str]] = None, ask_driver: bool = True
) -> Dict[str, Any]:
    """Return the Examination document of the machine (or fixture tree) at `root`.

    Args:
        root: The tree.
        environment: Whose environment; None: this process's.
        ask_driver: False asks NVML and libcuda nothing.
    """
    begun = time.time()
    state = host_state(root)
    seen = signs(root, environment)
    legs = _legs(root, state) if ask_driver else []
    if state["module"]["loaded"] and len(legs) < 2 and root.live:
        asked = "libcuda" if legs else "NVML and libcuda"
        why = "without all of its device files, its library would make them"
        needs = "a program that uses the GPU before, such as nvidia-smi"
        seen["unread"].append({"what": "what %s answers" % asked, "why": why, "needs": needs})
    return {
        "schema_version": 1,
        "probe_version": VERSION,
        "taken_at": begun,
        "state": state,
        "signs": seen,
        "legs": legs,
        "duration_s": time.time() - begun,
    }


def _legs(root: Root, state: Dict[str, Any]) -> List[Dict[str, Any]]:
    if not root.live:
        recorded = root.json("/legs.json") or {}
        return list(recorded.get("legs") or [])
    nodes = state["device_nodes"]
    if not state["module"]["loaded"] or "/dev/nvidiactl" not in nodes:
        return []
    found = [run_leg("health", {"libraries": NVML, "gpus": True}, DEADLINE_S, "system")]
    if "/dev/nvidia-uvm" in nodes:
        found.append(run_leg("driver", {"libraries": CUDA}, DEADLINE_S, "system"))
    return found
