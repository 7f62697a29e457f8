"""The verbs on locks: compare two, hand one to other tools, lock again within the spec's bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.diff import LockDiff
from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import StackLock
from cudactl.stack.lock.diff import diff_locks
from cudactl.stack.lock.export import export_lock
from cudactl.stack.lock.file import read_lock, render_lock, write_lock
from cudactl.stack.lock.locking import lock_stack
from cudactl.stack.spec.file import read_spec
from cudactl.workflow.places import cache_folder


def diff(before: Path, after: Path) -> LockDiff:
    """Return the difference between two lock files.

    Raises:
        UsageError: LOCK-….
    """
    return diff_locks(read_lock(before), read_lock(after))


@dataclass(frozen=True)
class Exported:
    """What `stack export` did."""

    lock: StackLock
    text: str
    """The export."""
    written: bool
    """False when there was no file to write, or it said the same already."""


def export(lock_path: Path, form: str, output: Path | None) -> Exported:
    """Write a lock in another tool's form.

    Raises:
        UsageError: LOCK-…, EXPORT-…
    """
    lock = read_lock(lock_path)
    text = export_lock(lock, form)
    return Exported(lock, text, output is not None and _write(text.encode(), output))


def _write(data: bytes, path: Path) -> bool:
    partial = path.with_name(f".{path.name}.part")
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            "EXPORT-NOT-WRITTEN",
            f"{path} cannot be written: {error.strerror}",
            expected="a file in a folder that exists, may be written to and has room",
            remedy="choose another place: cudactl stack export -o FILE",
        ) from None
    return True


@dataclass(frozen=True)
class Upgrade:
    """A lock made anew, beside the one that is there."""

    before: StackLock
    after: StackLock
    diff: LockDiff
    notes: list[str]
    path: Path
    """The lock file."""
    changed: bool
    """Whether the file would say something else."""

    def write(self) -> bool:
        """Write the new lock; False when the file says the same already."""
        return write_lock(self.after, self.path)


def upgrade(spec_path: Path, lock_path: Path) -> Upgrade:
    """Lock again within the spec's bounds. Writes nothing.

    What was allowed in the lock that is there stays allowed.

    Raises:
        CudactlError: what reading and locking raise.
    """
    spec = read_spec(spec_path)
    before = read_lock(lock_path)
    after, notes = lock_stack(
        spec, allowed=before.allowed, folder=spec_path.parent, cache=cache_folder()
    )
    return Upgrade(
        before=before,
        after=after,
        diff=diff_locks(before, after),
        notes=notes,
        path=lock_path,
        changed=render_lock(before) != render_lock(after),
    )
