"""Lock a stack: read the wish, solve it, write the lock only when it says something new."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import Allowance, LockedPackage, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecFinding
from cudactl.stack.lock.file import (
    lock_is_current,
    read_lock,
    read_locks,
    split_target,
    target_name,
    write_locks,
)
from cudactl.stack.lock.locking import lock_stack
from cudactl.stack.spec.file import read_spec
from cudactl.workflow.checking import explain_name
from cudactl.workflow.places import cache_folder

__all__ = ["Locked", "Why", "lock", "read_lock", "read_locks", "split_target", "why_package"]

DEFAULT_LOCK = Path("stack.lock")
USUAL_OS = "ubuntu-24.04"
"""Whose names are meant where nothing says it."""


@dataclass(frozen=True)
class Locked:
    """What `stack lock` did."""

    locks: list[StackLock]
    """One lock a target."""
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
    targets: Sequence[str] = (),
    must_be_current: bool = False,
) -> Locked:
    """Lock the wish in `spec_path` into `lock_path`, for its own target or for several.

    With `must_be_current` nothing is written and no index is asked: the locks on disk must answer
    exactly this wish.

    Args:
        spec_path: The wish.
        lock_path: The lock file.
        allowed: Refusals that are overridden.
        targets: OS or OS/ARCH, each in place of the spec's own; empty: the spec's own.
        must_be_current: Only look.

    Raises:
        CudactlError: LOCK-NOT-CURRENT (exit code 3), and what reading and locking raise.
        UsageError: STACK-TARGET.
    """
    spec = read_spec(spec_path)
    specs = [for_target(spec, target) for target in dict.fromkeys(targets)] or [spec]
    if must_be_current:
        there = read_locks(lock_path)
        if not targets and len(there) > 1:
            specs = [for_target(spec, target_name(one)) for one in there]
        if not _current(there, specs):
            raise CudactlError(
                "LOCK-NOT-CURRENT",
                f"{lock_path} was made from another spec than {spec_path} holds now",
                expected="a lock of exactly this spec",
                remedy=f"lock again and look at the difference: cudactl stack lock {spec_path} "
                f"-o {lock_path}",
            )
        return Locked(there, [], lock_path, written=False)
    locks, notes = [], []
    for one in specs:
        made, said = lock_stack(one, allowed=allowed, folder=spec_path.parent, cache=cache_folder())
        locks.append(made)
        notes += said if len(specs) == 1 else [f"{target_name(made)}: {text}" for text in said]
    return Locked(locks, notes, lock_path, write_locks(locks, lock_path))


def for_target(spec: StackSpec, target: str) -> StackSpec:
    """Return the wish for another target, "OS" or "OS/ARCH".

    Raises:
        UsageError: STACK-TARGET.
    """
    os, _, arch = target.partition("/")
    try:
        return StackSpec.model_validate(
            {**spec.model_dump(exclude_unset=True), "os": os, "arch": arch or spec.arch}
        )
    except ValidationError:
        raise UsageError(
            "STACK-TARGET",
            f"--target {target} is no target",
            expected="a distribution, or a distribution and an architecture",
            remedy="write, for example: --target ubuntu-24.04/x86_64",
        ) from None


def _current(locks: Sequence[StackLock], specs: Sequence[StackSpec]) -> bool:
    return len(locks) == len(specs) and all(
        any(lock_is_current(one, spec) for one in locks) for spec in specs
    )


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
