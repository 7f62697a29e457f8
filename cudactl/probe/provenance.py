"""Where a loaded library comes from: size, hash, owner, altered or not, the lab's or not."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
from typing import Any, Dict, Iterable, List, Optional, Tuple

MARK = b"CUDACTL-SIMULATED-LIBRARY"
# The lab's libraries are a few kilobytes; in a larger file only both ends are searched.
SEARCHED_WHOLE = 8 * 1024 * 1024
SEARCHED_END = 1024 * 1024
STACK = re.compile(r"^/opt/cudactl/stacks/([0-9a-f]{12})/")
INFO = "/var/lib/dpkg/info"
LIKELY = ("libnv", "libcu", "libnccl", "nvidia", "cuda", "tensorrt", "python3-libnv")


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
    keys = {key.encode("utf-8", "surrogateescape"): path for key, path in wanted.items()}
    lists = [name for name in names if name.endswith(".list")]
    # A host has megabytes of lists; of what is asked for, nearly all is in a few of them.
    for name in sorted(lists, key=lambda name: not name.startswith(LIKELY)):
        if len(found) == len(set(wanted.values())):
            break
        try:
            with open(os.path.join(INFO, name), "rb") as stream:
                hits = keys.keys() & set(stream.read().split(b"\n"))
        except OSError:
            continue
        for hit in hits:
            found[keys[hit]] = name[: -len(".list")].split(":")[0]
    return found


def describe(paths: List[str], with_hash: bool) -> List[Dict[str, Any]]:
    """Return LoadedLibrary for each path."""
    packages = owners(paths)
    recorded: Dict[str, Dict[str, str]] = {}
    return [_one(path, packages.get(path), with_hash, recorded) for path in sorted(set(paths))]


def _one(
    path: str, package: Optional[str], with_hash: bool, recorded: Dict[str, Dict[str, str]]
) -> Dict[str, Any]:
    stack = STACK.match(path)
    try:
        size = os.stat(path).st_size
    except OSError:
        size = 0
    sha256 = md5 = None
    intact = None
    if with_hash:
        sha256, md5 = _digests(path)
        if stack:
            site = "%s/site" % path[: stack.end() - 1]
            if site not in recorded:
                recorded[site] = wheel_records(site)
            wanted = recorded[site].get(os.path.relpath(path, site))
            intact = None if wanted is None else wanted == sha256
        elif package:
            listed = package_md5(package, path)
            intact = None if listed is None else listed == md5
    return {
        "soname": os.path.basename(path),
        "path": path,
        "size": size,
        "sha256": sha256,
        "package": package or ("stack:" + stack.group(1) if stack else None),
        "intact": intact,
        "simulated": is_simulated(path),
    }


def wheel_records(site: str) -> Dict[str, str]:
    """Return relative path → sha256 (hexadecimal) from the RECORD of every wheel below `site`."""
    found: Dict[str, str] = {}
    try:
        names = os.listdir(site)
    except OSError:
        return found
    for name in names:
        if not name.endswith(".dist-info"):
            continue
        try:
            with open(os.path.join(site, name, "RECORD"), newline="", encoding="utf-8") as stream:
                for row in csv.reader(stream):
                    if len(row) >= 2 and row[1].startswith("sha256="):
                        digest = row[1][len("sha256=") :]
                        padded = digest + "=" * (-len(digest) % 4)
                        found[row[0]] = base64.urlsafe_b64decode(padded).hex()
        except (OSError, ValueError):
            continue
    return found


def package_md5(package: str, path: str) -> Optional[str]:
    """Return the md5 that dpkg's list of the package gives for a file; md5 is all dpkg keeps."""
    bare = path.lstrip("/")
    spellings = {bare, bare[len("usr/") :] if bare.startswith("usr/") else "usr/" + bare}
    for name in (package, package + ":amd64", package + ":arm64"):
        try:
            with open("%s/%s.md5sums" % (INFO, name), encoding="utf-8") as stream:
                for line in stream:
                    digest, _, file = line.rstrip("\n").partition("  ")
                    if file in spellings:
                        return digest
        except OSError:
            continue
    return None


def _digests(path: str) -> Tuple[Optional[str], Optional[str]]:
    # md5 only to compare with what dpkg keeps; where md5 is forbidden (FIPS) it stays unmeasured.
    sha256 = hashlib.sha256()
    try:
        md5: Any = hashlib.md5()
    except ValueError:
        md5 = None
    try:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                sha256.update(block)
                if md5 is not None:
                    md5.update(block)
    except OSError:
        return None, None
    return sha256.hexdigest(), md5.hexdigest() if md5 is not None else None


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
