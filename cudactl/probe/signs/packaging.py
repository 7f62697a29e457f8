"""What dpkg and apt did and want: transitional packages, interrupted runs, who moved the driver."""

from __future__ import annotations

import gzip
import re
from typing import Any, Dict, List

from ..files import Root

STATUS = "/var/lib/dpkg/status"
LISTS = "/var/lib/apt/lists"
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
        "withheld": _withheld(root),
    }


def _withheld(root: Root) -> List[Dict[str, str]]:
    """Return held NVIDIA packages of which a security suite, as apt last read it, has newer ones.

    Lists that apt keeps compressed are not read.
    """
    held: Dict[str, str] = {}
    for stanza in (root.text(STATUS) or "").split("\n\n"):
        name = stanza[9 : stanza.find("\n")]
        version = re.search(r"^Version: (.*)$", stanza, re.MULTILINE)
        if version and "\nStatus: hold ok installed" in stanza and OURS.search(name):
            held[name] = version.group(1)
    found = []
    for file in root.list(LISTS) if held else []:
        if "security" not in file or not file.endswith("_Packages"):
            continue
        for stanza in (root.text("%s/%s" % (LISTS, file)) or "").split("\n\n"):
            name = stanza[9 : stanza.find("\n")]
            if name not in held:
                continue
            version = re.search(r"^Version: (.*)$", stanza, re.MULTILINE)
            if version and _order(version.group(1)) > _order(held[name]):
                offered = {"name": name, "installed": held[name], "offered": version.group(1)}
                found.append(dict(offered, list=file))
    return found[:KEPT_CHANGES]


def _order(version: str) -> List[Any]:
    """Return what sorts versions as dpkg does: "~" before the end, letters before the rest."""
    epoch, _, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    key: List[Any] = [int(epoch) if epoch.isdigit() else 0]
    for part in (upstream, revision) if dash else (rest, ""):
        for text, digits in re.findall(r"([^0-9]*)([0-9]*)", part):
            order = [-1 if c == "~" else ord(c) + (0 if c.isalpha() else 256) for c in text]
            key += [[*order, 0], int(digits or 0)]
    return key


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
