"""What dpkg and apt did and want: transitional packages, interrupted runs, who moved the driver."""

from __future__ import annotations

import gzip
import re
from typing import Any, Dict, List

from ..files import Root

STATUS = "/var/lib/dpkg/status"
OURS = re.compile(r"nvidia|cuda|cudnn|nvinfer|tensorrt|libnccl|cublas", re.IGNORECASE)
ACTIONS = ("Install", "Upgrade", "Downgrade", "Remove", "Purge", "Reinstall")
CHANGE = re.compile(r"([a-z0-9][a-z0-9.+-]*)(?::\w+)? \(([^)]*)\)")
KEPT_RUNS = 12
KEPT_CHANGES = 60


def packaging(root: Root) -> Dict[str, Any]:
    """Return what `state` does not say of packages."""
    return {
        "transitional": _transitional(root),
        "interrupted": bool([n for n in root.list("/var/lib/dpkg/updates") if n.isdigit()]),
        "history": _history(root),
    }


def _transitional(root: Root) -> List[Dict[str, str]]:
    """Return installed NVIDIA packages that only stand for another."""
    found = []
    for stanza in (root.text(STATUS) or "").split("\n\n"):
        if not stanza.startswith("Package: ") or "ransitional" not in stanza:
            continue
        name = stanza[9 : stanza.find("\n")]
        said = re.search(r"^Description: (.*)$", stanza, re.MULTILINE)
        installed = re.search(r"^Status: \S+ \S+ installed$", stanza, re.MULTILINE)
        if said and installed and "ransitional" in said.group(1) and OURS.search(name):
            found.append({"name": name, "description": said.group(1)})
    return found


def _history(root: Root) -> List[Dict[str, Any]]:
    """Return the last runs of apt that changed something of NVIDIA's, oldest first."""
    text = _packed(root, "/var/log/apt/history.log.1.gz") + (
        root.text("/var/log/apt/history.log") or ""
    )
    runs = []
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.strip().splitlines() if ": " in line)
        changes = [
            {"action": action, "name": name, "versions": versions}
            for action in ACTIONS
            for name, versions in CHANGE.findall(fields.get(action, ""))
            if OURS.search(name)
        ]
        if changes:
            runs.append(
                {
                    "start": fields.get("Start-Date", ""),
                    "command": fields.get("Commandline", ""),
                    "changes": changes[:KEPT_CHANGES],
                    "error": fields.get("Error"),
                }
            )
    return runs[-KEPT_RUNS:]


def _packed(root: Root, path: str) -> str:
    try:
        with gzip.open(root.at(path), "rb") as stream:
            return stream.read(8 * 1024 * 1024).decode("utf-8", errors="replace") + "\n"
    except (OSError, EOFError):
        return ""
