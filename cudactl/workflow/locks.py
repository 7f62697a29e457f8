"""Which lock a host gets: `--lock`, or the inventory variable `cudactl_lock`.

A lock file may hold the locks of several targets; then the host's own distribution decides, which
costs one more round trip to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.state import HostState
from cudactl.reach.fanout import run_probe
from cudactl.reach.targets import Target
from cudactl.stack.lock.file import lock_is_current, read_lock, read_locks, split_target
from cudactl.stack.spec.file import read_spec

DEFAULT_LOCK = Path("stack.lock")
DEBIAN_ARCH = {"amd64": "x86_64", "arm64": "sbsa"}
"""dpkg's architecture → NVIDIA's word."""


def locks_for(
    targets: Sequence[Target],
    lock: Path | None,
    inventories: Sequence[str] = (),
    *,
    current: bool = False,
) -> dict[str, StackLock]:
    """Return target name → lock; every file is read once.

    `--lock` wins over the inventory; a relative `cudactl_lock` is looked for beside the inventory
    first, then in the current folder; with neither, `stack.lock` in the current folder is taken.
    With `current`, a lock older than the wish beside it (stack.yaml for stack.lock) is refused.

    Raises:
        CudactlError: LOCK-NOT-CURRENT.
        UsageError: LOCK-NOT-SAID, or what reading the file finds.
    """
    read: dict[Path, list[StackLock]] = {}
    held: dict[str, list[StackLock]] = {}
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
            file, wanted = split_target(path)
            read[path] = read_locks(file) if wanted is None else [read_lock(path)]
            if current:
                _refuse_older(file, read[path])
        held[target.name] = read[path]
    return _by_host(targets, held)


def _refuse_older(file: Path, locks: list[StackLock]) -> None:
    """Refuse locks that no longer answer the wish beside them; nobody means the old one by it."""
    wish = file.with_suffix(".yaml")
    if not wish.is_file():
        return
    spec = read_spec(wish)
    own = [spec.model_copy(update={"os": x.target.os, "arch": x.target.arch}) for x in locks]
    if any(map(lock_is_current, locks, [spec] * len(locks))):
        return
    if not all(map(lock_is_current, locks, own)):
        raise CudactlError(
            "LOCK-NOT-CURRENT",
            f"{wish} was changed after {file} was made from it",
            expected="a lock of exactly this wish",
            remedy=f"lock again and look at the difference: cudactl stack lock {wish} -o {file}",
        )


def _by_host(targets: Sequence[Target], held: dict[str, list[StackLock]]) -> dict[str, StackLock]:
    """Choose among several locks by what each host is.

    A host that does not answer, or that none is for, gets the first: planning it says so.
    """
    chosen = {name: locks[0] for name, locks in held.items()}
    asked = [target for target in targets if len(held[target.name]) > 1]
    for answer in run_probe(asked, ["state"]) if asked else []:
        if answer.document is None:
            continue
        try:
            state = HostState.model_validate(answer.document)
        except ValidationError:
            continue
        name = answer.target.name
        own = (state.os.name, DEBIAN_ARCH.get(state.dpkg_arch or ""))
        for lock in held[name]:
            if (lock.target.os, lock.target.arch) == own:
                chosen[name] = lock
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
