"""Debian packages and apt sources, read from dpkg's and apt's own files, without a subprocess."""

from __future__ import annotations

import binascii
import os
import re

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

STATUS = "/var/lib/dpkg/status"
# What dpkg has done since it wrote its status out; only there when it was stopped.
UPDATES = "/var/lib/dpkg/updates"
SETTLED = ("installed", "config-files", "not-installed")
FIELD = re.compile(r"^(Package|Status|Architecture|Version): (.*)$", re.MULTILINE)
VENDOR = re.compile(r"nvidia|cuda|lambdalabs|graphics-drivers", re.IGNORECASE)
LARGEST_KEY = 64 * 1024
ONE_LINE = re.compile(r"^deb(?:-src)?\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s")


def installed(root: Root) -> Tuple[Optional[str], Dict[str, str], List[str], List[Any]]:
    """Return dpkg's architecture, installed packages (name → version), holds, and broken packages.

    The architecture is the one that the dpkg package itself has; packages of another one get
    ":arch" behind their name.
    """
    stanzas = _stanzas(root.text(STATUS) or "")
    updates = [_stanzas(root.text("%s/%s" % (UPDATES, name)) or "") for name in _updates(root)]
    if updates:
        newest = {(s["Package"], s.get("Architecture")): s for s in stanzas}
        for update in updates:
            newest.update({(s["Package"], s.get("Architecture")): s for s in update})
        stanzas = list(newest.values())
    native = next((s.get("Architecture") for s in stanzas if s["Package"] == "dpkg"), None)
    packages: Dict[str, str] = {}
    holds: List[str] = []
    broken: List[Any] = []
    for fields in stanzas:
        name, arch, status = fields["Package"], fields.get("Architecture"), fields.get("Status", "")
        words = status.split()
        if len(words) != 3:
            continue
        full = name if arch in ("all", native, None) else "%s:%s" % (name, arch)
        if words[2] not in SETTLED or words[1] != "ok":
            broken.append({"name": full, "status": status})
        if words[2] == "installed":
            packages[full] = fields.get("Version", "")
        if words[0] == "hold":
            holds.append(full)
    return native, packages, sorted(holds), broken


def interrupted(root: Root) -> bool:
    """Return whether dpkg was stopped before it wrote its status out."""
    return bool(_updates(root))


def _updates(root: Root) -> List[str]:
    return [name for name in root.list(UPDATES) if name.isdigit()]


def _stanzas(text: str) -> List[Dict[str, str]]:
    """Return the fields that are asked for, by stanza; dpkg writes Package as the first of each."""
    stanzas: List[Dict[str, str]] = []
    for field, value in FIELD.findall(text):
        if field == "Package":
            stanzas.append({})
        if stanzas:
            stanzas[-1][field] = value
    return stanzas


def locked(root: Root) -> Optional[bool]:
    """Return whether a process holds dpkg's frontend lock, from the kernel's list of locks."""
    locks = root.text("/proc/locks")
    try:
        inode = os.stat(root.at("/var/lib/dpkg/lock-frontend")).st_ino
    except OSError:
        return None
    if locks is None:
        return None
    return any(":%d " % inode in line for line in locks.splitlines())


def sources(root: Root) -> List[Dict[str, Any]]:
    """Return the apt sources that name a vendor's repository, or that are ours."""
    found: List[Dict[str, Any]] = []
    files = ["/etc/apt/sources.list"]
    files += ["/etc/apt/sources.list.d/" + n for n in root.list("/etc/apt/sources.list.d")]
    for path in files:
        text = root.text(path)
        if text is None:
            continue
        if path.endswith(".sources"):
            entries = _deb822(text)
        elif path.endswith(".list"):
            entries = _one_line(text)
        else:
            continue
        ours = os.path.basename(path).startswith("cudactl-")
        named = [e for e in entries if ours or VENDOR.search(" ".join(e[0]) + path)]
        digest = root.sha256(path) if named else None
        for uris, signed_by in named:
            found.append(
                {
                    "file": path,
                    "uris": uris,
                    "signed_by": signed_by,
                    "ours": ours,
                    "key": _key(root, signed_by),
                    "sha256": digest,
                    "others": len(entries) - len(named),
                }
            )
    return found


def _key(root: Root, signed_by: Optional[str]) -> Optional[str]:
    """Return the public key file that a source trusts, base64; None where it is no such file."""
    if signed_by is None or not signed_by.startswith("/"):
        return None
    try:
        with open(root.at(os.path.normpath(signed_by)), "rb") as stream:
            data = stream.read(LARGEST_KEY + 1)
    except OSError:
        return None
    return binascii.b2a_base64(data, newline=False).decode() if len(data) <= LARGEST_KEY else None


def _deb822(text: str) -> List[Tuple[List[str], Optional[str]]]:
    entries = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: Dict[str, str] = {}
        for line in stanza.splitlines():
            if line.startswith("#") or ":" not in line or line[:1].isspace():
                continue
            key, _, value = line.partition(":")
            fields[key.strip().lower()] = value.strip()
        if fields.get("uris") and fields.get("enabled", "yes").lower() not in ("no", "false"):
            entries.append((fields["uris"].split(), fields.get("signed-by")))
    return entries


def _one_line(text: str) -> List[Tuple[List[str], Optional[str]]]:
    entries = []
    for line in text.splitlines():
        match = ONE_LINE.match(line.strip())
        if match is None:
            continue
        signed_by = None
        for option in (match.group("options") or "").split():
            key, _, value = option.partition("=")
            if key.lower() == "signed-by":
                signed_by = value
        entries.append(([match.group("uri")], signed_by))
    return entries
