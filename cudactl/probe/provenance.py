"""Where a loaded library comes from: size, hash, owner, and whether the lab made it."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any, Dict, Iterable, List, Optional

MARK = b"CUDACTL-SIMULATED-LIBRARY"
# The lab's libraries are a few kilobytes; in a larger file only both ends are searched.
SEARCHED_WHOLE = 8 * 1024 * 1024
SEARCHED_END = 1024 * 1024
STACK = re.compile(r"^/opt/cudactl/stacks/([0-9a-f]{12})/")
INFO = "/var/lib/dpkg/info"


def owners(paths: Iterable[str]) -> Dict[str, str]:
    """Return path → owning Debian package, for those that dpkg knows.

    A merged /usr makes /lib and /usr/lib the same folder; dpkg's lists may say either.
    """
    wanted: Dict[str, str] = {}
    for path in paths:
        wanted[path] = path
        wanted[path[len("/usr") :] if path.startswith("/usr/") else "/usr" + path] = path
    found: Dict[str, str] = {}
    if not wanted:
        return found
    try:
        names = os.listdir(INFO)
    except OSError:
        return found
    keys = set(wanted)
    for name in names:
        if not name.endswith(".list"):
            continue
        try:
            with open(os.path.join(INFO, name), encoding="utf-8", errors="replace") as stream:
                hits = keys.intersection(stream.read().split("\n"))
        except OSError:
            continue
        for hit in hits:
            found[wanted[hit]] = name[: -len(".list")].split(":")[0]
    return found


def describe(paths: List[str], with_hash: bool) -> List[Dict[str, Any]]:
    """Return LoadedLibrary for each path."""
    packages = owners(paths)
    return [_one(path, packages.get(path), with_hash) for path in sorted(set(paths))]


def _one(path: str, package: Optional[str], with_hash: bool) -> Dict[str, Any]:
    stack = STACK.match(path)
    try:
        size = os.stat(path).st_size
    except OSError:
        size = 0
    return {
        "soname": os.path.basename(path),
        "path": path,
        "size": size,
        "sha256": _sha256(path) if with_hash else None,
        "package": package or ("stack:" + stack.group(1) if stack else None),
        "simulated": is_simulated(path),
    }


def _sha256(path: str) -> Optional[str]:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def is_simulated(path: str) -> bool:
    """Return whether the file carries the lab's mark."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size <= SEARCHED_WHOLE:
                return MARK in stream.read()
            head = stream.read(SEARCHED_END)
            stream.seek(size - SEARCHED_END)
            return MARK in head or MARK in stream.read()
    except OSError:
        return False
