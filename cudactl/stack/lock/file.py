"""Write and read stack.lock: the file that hosts, images and certificates are held to.

The file carries the lock, its hash (target and packages) and a checksum over everything in it, so
that a lock which was edited by hand or cut off is refused. The same lock always gives the same
bytes. One file may hold the locks of one wish for several targets (distribution and architecture);
`FILE#OS` or `FILE#OS/ARCH` names one of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cudactl.contracts.base import canonical_hash
from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.stack.spec.file import spec_hash

VERSION = 1
"""The lock format that this cudactl writes."""
LARGEST = 32 * 1024 * 1024
"""Largest lock file, bytes; one of 500 packages has about 0.4 MB."""

_AGAIN = "lock again: cudactl stack lock"


def lock_is_current(lock: StackLock, spec: StackSpec) -> bool:
    """Return True when `lock` answers exactly this wish."""
    return lock.spec_hash == spec_hash(spec)


def render_lock(lock: StackLock) -> bytes:
    """Return the file's bytes."""
    return _bytes(_entry(lock))


def render_locks(locks: Sequence[StackLock]) -> bytes:
    """Return the bytes of a file with the locks of several targets; of one, as `render_lock`."""
    if len(locks) == 1:
        return render_lock(locks[0])
    ordered = sorted(locks, key=lambda lock: target_name(lock))
    return _bytes({"locks": [_entry(lock) for lock in ordered]})


def _entry(lock: StackLock) -> dict[str, Any]:
    content = lock.model_dump(mode="json")
    return {"hash": lock.hash, "checksum": canonical_hash(content), "lock": content}


def _bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def target_name(lock: StackLock) -> str:
    """Return what a lock is for, as `FILE#…` names it: "ubuntu-24.04/x86_64"."""
    return f"{lock.target.os}/{lock.target.arch}"


def write_lock(lock: StackLock, path: Path) -> bool:
    """Write one lock; see `write_locks`."""
    return write_locks([lock], path)


def write_locks(locks: Sequence[StackLock], path: Path) -> bool:
    """Write locks, whole or not at all; a file that says the same already is left alone.

    Returns:
        True when the file was written, False when it was the same already.

    Raises:
        UsageError: LOCK-NOT-WRITTEN.
    """
    data = render_locks(locks)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            "LOCK-NOT-WRITTEN",
            f"{path} cannot be written: {error.strerror}",
            expected="a file in a folder that exists, may be written to and has room",
            remedy="choose another place: cudactl stack lock -o FILE",
        ) from None
    return True


def read_lock(path: Path) -> StackLock:
    """Read a lock file that holds one lock, or the one that `FILE#OS[/ARCH]` names.

    Raises:
        UsageError: LOCK-TARGET, and what `read_locks` raises.
    """
    file, wanted = split_target(path)
    locks = read_locks(file)
    if wanted is None and len(locks) == 1:
        return locks[0]
    named = [lock for lock in locks if wanted in (target_name(lock), lock.target.os)]
    if len(named) == 1:
        return named[0]
    held = ", ".join(target_name(lock) for lock in locks)
    raise UsageError(
        "LOCK-TARGET",
        f"{file} holds the locks of {len(locks)} targets, and none was named"
        if wanted is None
        else f"{file} holds {len(named) or 'no'} lock{'s' if len(named) > 1 else ''} for {wanted}",
        expected=f"one of {held}",
        remedy=f"name one: {file}#{target_name(locks[0])}",
    )


def split_target(path: Path) -> tuple[Path, str | None]:
    """Return file and target of `FILE#OS[/ARCH]`; a file that is really called so wins."""
    text = str(path)
    if "#" not in text or path.exists():
        return path, None
    file, _, target = text.rpartition("#")
    return Path(file), target


def read_locks(path: Path) -> list[StackLock]:
    """Read a lock file: the locks of all its targets.

    Raises:
        UsageError: LOCK-MISSING, LOCK-UNREADABLE, LOCK-OLDER, LOCK-NEWER or LOCK-ALTERED.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UsageError(
            "LOCK-MISSING",
            f"there is no lock file {path}",
            expected="a lock made from a stack.yaml",
            remedy=f"make it: cudactl stack lock stack.yaml -o {path}",
        ) from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from None
    return parse_locks(data, str(path))


def parse_lock(data: bytes, name: str) -> StackLock:
    """Read the one lock of a file from bytes; raises like `read_locks`."""
    locks = parse_locks(data, name)
    if len(locks) != 1:
        raise _unreadable(name, f"holds {len(locks)} locks, not one")
    return locks[0]


def parse_locks(data: bytes, name: str) -> list[StackLock]:
    """Read locks from bytes; `name` is what errors call the file. Raises like `read_locks`."""
    if len(data) > LARGEST:
        raise _unreadable(name, f"is larger than {LARGEST // 1024 // 1024} MiB")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise _unreadable(name, "is not a lock file (not JSON, or cut off)") from None
    several = document.get("locks") if isinstance(document, dict) else None
    if several is None:
        return [_lock(document, name)]
    if not isinstance(several, list) or not several:
        raise _unreadable(name, "is JSON, but not a lock file")
    locks = [_lock(entry, name) for entry in several]
    if len({target_name(lock) for lock in locks}) != len(locks):
        raise _altered(name, "it holds one target twice")
    return locks


def _lock(document: Any, name: str) -> StackLock:  # noqa: ANN401 - anything JSON can hold
    content = document.get("lock") if isinstance(document, dict) else None
    if not isinstance(content, dict) or not isinstance(content.get("schema_version"), int):
        raise _unreadable(name, "is JSON, but not a lock file")
    _check_version(content["schema_version"], name)
    if document.get("checksum") != _hash(content):
        raise _altered(name, "its content does not match its checksum")
    try:
        lock = StackLock.model_validate(content)
    except ValidationError as wrong:
        error = wrong.errors(include_url=False)[0]
        at = ".".join(str(part) for part in error["loc"])
        raise _unreadable(name, f"is not a valid lock: {at}: {error['msg']}") from None
    if document.get("hash") != lock.hash:
        raise _altered(name, "its packages do not match its hash")
    return lock


def _check_version(version: int, name: str) -> None:
    if version > VERSION:
        raise UsageError(
            "LOCK-NEWER",
            f"{name} has lock format {version}",
            expected=f"format {VERSION}, which this cudactl knows",
            remedy="use the cudactl that wrote it, or a newer one",
        )
    if version < VERSION:
        raise UsageError(
            "LOCK-OLDER",
            f"{name} has lock format {version}",
            expected=f"format {VERSION}, which this cudactl writes",
            remedy=_AGAIN,
        )


def _hash(content: Any) -> str | None:  # noqa: ANN401 - anything JSON can hold
    try:
        return canonical_hash(content)
    except (ValueError, RecursionError):  # lone surrogates, absurd nesting
        return None


def _unreadable(name: str | Path, problem: str) -> UsageError:
    return UsageError("LOCK-UNREADABLE", f"{name} {problem}", expected="a lock file", remedy=_AGAIN)


def _altered(name: str, problem: str) -> UsageError:
    return UsageError(
        "LOCK-ALTERED",
        f"{name} was changed after it was written: {problem}",
        expected="the file as `cudactl stack lock` wrote it",
        remedy=f"take the original back, or {_AGAIN}",
    )
