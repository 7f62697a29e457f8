"""Which lock a host gets: `--lock`, or the inventory variable `cudactl_lock`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import StackLock
from cudactl.reach.targets import Target
from cudactl.stack.lockfile import read_lock

DEFAULT_LOCK = Path("stack.lock")


def locks_for(
    targets: Sequence[Target], lock: Path | None, inventories: Sequence[str] = ()
) -> dict[str, StackLock]:
    """Return target name → lock; every file is read once.

    `--lock` wins over the inventory; a relative `cudactl_lock` is looked for beside the inventory
    first, then in the current folder; with neither, `stack.lock` in the current folder is taken.

    Raises:
        UsageError: LOCK-NOT-SAID, or what reading the file finds.
    """
    read: dict[Path, StackLock] = {}
    chosen: dict[str, StackLock] = {}
    for target in targets:
        path = lock if lock is not None else _from_variable(target, inventories)
        if path is None and DEFAULT_LOCK.exists():
            path = DEFAULT_LOCK
        if path is None:
            raise UsageError(
                "LOCK-NOT-SAID",
                f"{target.name}: no lock was named for this host",
                expected="--lock FILE, the inventory variable cudactl_lock, or ./stack.lock",
                remedy="write a stack.yaml and run: cudactl stack lock",
            )
        if path not in read:
            read[path] = read_lock(path)
        chosen[target.name] = read[path]
    return chosen


def _from_variable(target: Target, inventories: Sequence[str]) -> Path | None:
    value = target.variables.get("cudactl_lock")
    if not value:
        return None
    path = Path(str(value)).expanduser()
    if path.is_absolute():
        return path
    for inventory in inventories:
        folder = Path(inventory) if Path(inventory).is_dir() else Path(inventory).parent
        if (folder / path).exists():
            return folder / path
    return path
