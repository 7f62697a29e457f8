"""Lock a stack: read the wish, solve it, write the lock only when it says something new."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import Allowance, StackLock
from cudactl.stack.lockfile import lock_is_current, read_lock, write_lock
from cudactl.stack.locking import lock_stack
from cudactl.stack.specfile import read_spec
from cudactl.workflow.places import cache_folder


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
