"""Lock a stack: read the wish, solve it, write the lock only when it says something new."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import Allowance, LockedPackage, StackLock
from cudactl.stack.lockfile import lock_is_current, read_lock, write_lock
from cudactl.stack.locking import lock_stack
from cudactl.stack.specfile import read_spec
from cudactl.workflow.places import cache_folder

__all__ = ["Locked", "lock", "package_in", "read_lock"]


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


def package_in(lock: StackLock, name: str, path: Path) -> LockedPackage:
    """Return a lock's package by its name.

    Raises:
        UsageError: LOCK-NO-PACKAGE, with the nearest names that are there.
    """
    found = lock.package(name)
    if found is None:
        close = difflib.get_close_matches(name, [p.name for p in lock.packages], 3)
        raise UsageError(
            "LOCK-NO-PACKAGE",
            f"{path} holds no package {name}",
            expected=f"one of its {len(lock.packages)} packages",
            remedy=f"did you mean {' or '.join(close)}?"
            if close
            else f"see: cudactl stack show {path}",
        )
    return found
