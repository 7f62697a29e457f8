"""What our own runs wrote down on the machine: locks, kept packages, history, a broken run."""

from __future__ import annotations

import json
import os

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

BASE = "/var/lib/cudactl"
PURPOSES = ("provision", "rollback", "uninstall")
# Ten years of nightly certificates; what is older is not read.
LONGEST = 1024 * 1024


def records(root: Root) -> Dict[str, Any]:
    """Return Records."""
    found = _history(root)
    brought = root.json(BASE + "/brought.json") or {}
    found.update(
        {
            "locks": [n[:-5] for n in root.list(BASE + "/locks") if n.endswith(".lock")],
            "kept": [
                {"lock": name, "files": root.list("%s/packages/%s" % (BASE, name))}
                for name in root.list(BASE + "/packages")
                if name != "incoming"
            ],
            "interrupted": _interrupted(root),
            "brought": {
                name: before
                for name, before in brought.items()
                if before is None or isinstance(before, str)
            },
            "taken_over": _below(root, BASE + "/taken-over"),
        }
    )
    return found


def _history(root: Root) -> Dict[str, Any]:
    begun = purpose = None
    since = False
    certified: List[str] = []
    for event in _events(root.at(BASE + "/history.jsonl")):
        lock, what = event.get("lock"), event.get("event")
        if not isinstance(lock, str):
            continue
        if what == "begun":
            begun, since = lock, False
            purpose = event.get("purpose") if event.get("purpose") in PURPOSES else None
        elif what == "certified":
            since = True
            certified = [lock] + [other for other in certified if other != lock]
    return {
        "begun": begun,
        "purpose": purpose,
        "certified_since": since,
        "certified": certified,
    }


def _events(path: str) -> List[Dict[str, Any]]:
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - LONGEST))
            lines = stream.read(LONGEST).splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue  # a power cut may leave half a line
        if isinstance(event, dict):
            events.append(event)
    return events


def _interrupted(root: Root) -> Optional[Dict[str, Any]]:
    run = root.json(BASE + "/run.json")
    if run is None or not all(key in run for key in ("run_id", "lock", "since")):
        return None
    return {
        "run_id": str(run["run_id"]),
        "lock": str(run["lock"]),
        "purpose": run.get("purpose") if run.get("purpose") in PURPOSES else "provision",
        "since": run["since"],
        "packages": [str(name) for name in run.get("packages") or []],
    }


def _below(root: Root, folder: str) -> List[str]:
    found = []
    top = root.at(folder)
    for where, _, names in os.walk(top):
        found += [os.path.join(where, name)[len(top) :] for name in names]
    return sorted(found)
