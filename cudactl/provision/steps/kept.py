"""Packages kept on the host: a lock's own files, verified, for the way back when a mirror is gone.

Kept are those of the lock that the host is brought to and of the one before it that was certified.
Everything is installed from there, so what apt unpacks is what was verified against the lock.
"""

from __future__ import annotations

from typing import Any

from cudactl.contracts.base import short
from cudactl.contracts.lock import LockedPackage, StackLock
from cudactl.contracts.plan import Change
from cudactl.contracts.state import HostState

PACKAGES = "/var/lib/cudactl/packages"


def kept_folder(lock: str) -> str:
    """Return where the packages of a lock (its short hash) lie on a host."""
    return f"{PACKAGES}/{lock}"


def deb_file(package: LockedPackage) -> str:
    """Return a package's file name, as apt names it."""
    return f"{package.name}_{package.version.replace(':', '%3a')}_{package.arch}.deb"


def kept_files(lock: StackLock, state: HostState) -> set[str]:
    """Return the file names that are kept for a lock."""
    return {f for k in state.records.kept if k.lock == lock.short_hash for f in k.files}


def way_back(state: HostState, lock: str) -> str | None:
    """Return the certified lock that a host at `lock` (a full hash) would return to."""
    return next((other for other in state.records.certified if other != lock), None)


def superfluous(lock: StackLock, state: HostState) -> list[str]:
    """Return the locks, by short hash, whose kept packages nobody would return to."""
    back = way_back(state, lock.hash)
    needed = {lock.short_hash} | ({short(back)} if back is not None else set())
    return [k.lock for k in state.records.kept if k.lock not in needed]


def keep_changes(lock: StackLock, state: HostState, wrong: list[LockedPackage]) -> list[Change]:
    """Return which folders of kept packages appear and go, and what a folder still lacks."""
    there = {k.lock for k in state.records.kept}
    changes = []
    if lock.short_hash not in there:
        folder = kept_folder(lock.short_hash)
        changes.append(Change(kind="folder", name=folder, after=lock.short_hash))
    else:
        kept, folder = kept_files(lock, state), kept_folder(lock.short_hash)
        lacking = [p for p in wrong if deb_file(p) not in kept]
        changes += [
            Change(kind="file", name=f"{folder}/{deb_file(p)}", after=p.sha256) for p in lacking
        ]
    return changes + [
        Change(kind="folder", name=kept_folder(old), before=old) for old in superfluous(lock, state)
    ]


def keep_variables(
    lock: StackLock, state: HostState, wrong: list[LockedPackage], closure: list[LockedPackage]
) -> dict[str, Any]:
    """Return what the role needs to keep a lock's packages and install from there."""
    ours = {p.name for p in wrong}
    return {
        "folder": kept_folder(lock.short_hash),
        "packages": [
            {"name": p.name, "version": p.version, "file": deb_file(p), "sha256": p.sha256}
            for p in wrong
        ],
        # Already installed: kept as well where an earlier lock's folder has the same file.
        "link": [{"file": deb_file(p), "sha256": p.sha256} for p in closure if p.name not in ours],
        "remove": [kept_folder(old) for old in superfluous(lock, state)],
    }
