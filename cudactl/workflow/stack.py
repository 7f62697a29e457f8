"""Lock a stack: read the wish, solve it, write the lock only when it says something new."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import Allowance, LockedPackage, StackLock
from cudactl.contracts.verdict import SpecFinding
from cudactl.stack.lockfile import lock_is_current, read_lock, write_lock
from cudactl.stack.locking import lock_stack
from cudactl.stack.specfile import read_spec
from cudactl.workflow.checking import explain_name
from cudactl.workflow.places import cache_folder

__all__ = ["Locked", "Why", "lock", "read_lock", "why_package"]

DEFAULT_LOCK = Path("stack.lock")
USUAL_OS = "ubuntu-24.04"
"""Whose names are meant where nothing says it."""


@dataclass(frozen=True)
class Locked:
    """What `stack lock` did."""

    lock: StackLock
    notes: list[str]
    """What the reader should know."""
    path: Path
    """The lock file."""
    written: bool
    """False when the file said the same already, or was only looked at."""


def lock(
    spec_path: Path,
    lock_path: Path,
    *,
    allowed: list[Allowance],
    must_be_current: bool = False,
) -> Locked:
    """Lock the wish in `spec_path` into `lock_path`.

    With `must_be_current` nothing is written and no index is asked: the lock on disk must answer
    exactly this wish.

    Raises:
        CudactlError: LOCK-NOT-CURRENT (exit code 3), and what reading and locking raise.
    """
    spec = read_spec(spec_path)
    if must_be_current:
        there = read_lock(lock_path)
        if not lock_is_current(there, spec):
            raise CudactlError(
                "LOCK-NOT-CURRENT",
                f"{lock_path} was made from another spec than {spec_path} holds now",
                expected="a lock of exactly this spec",
                remedy=f"lock again and look at the difference: cudactl stack lock {spec_path} "
                f"-o {lock_path}",
            )
        return Locked(there, [], lock_path, written=False)
    made, notes = lock_stack(spec, allowed=allowed, folder=spec_path.parent, cache=cache_folder())
    return Locked(made, notes, lock_path, write_lock(made, lock_path))


@dataclass(frozen=True)
class Why:
    """What is to be said of a package name."""

    os: str
    """Distribution it is looked up on."""
    lock: StackLock | None
    """The lock, where one was read."""
    package: LockedPackage | None
    """The locked package of that name."""
    findings: list[SpecFinding]
    """What the name means, where that is not what it says."""


def why_package(name: str, lock_path: Path | None, os: str | None) -> Why:
    """Return why a package is in a lock, or what its name means.

    Without a lock file the name alone is explained, for `os` or the newest Ubuntu LTS.

    Raises:
        UsageError: LOCK-NO-PACKAGE, with the nearest names that are there; what reading raises.
    """
    lock = None
    if lock_path is not None or (os is None and DEFAULT_LOCK.exists()):
        lock = read_lock(lock_path or DEFAULT_LOCK)
    where = os or (lock.target.os if lock is not None else USUAL_OS)
    found = lock.package(name) if lock is not None else None
    findings = explain_name(name, where)
    if found is None and not findings:
        near = difflib.get_close_matches(name, [p.name for p in lock.packages], 3) if lock else []
        path = lock_path or DEFAULT_LOCK
        raise UsageError(
            "LOCK-NO-PACKAGE",
            f"{path} holds no package {name}"
            if lock is not None
            else f"nothing is known about a package {name} on {where}, and no lock was read",
            expected=f"one of its {len(lock.packages)} packages"
            if lock is not None
            else "a name that means something else than it says, or a lock that holds it",
            remedy=f"did you mean {' or '.join(near)}?"
            if near
            else f"name the lock: cudactl stack why {name} LOCK; and see: cudactl stack show",
        )
    return Why(where, lock, found, findings)
