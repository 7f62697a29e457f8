"""Write and read stack.lock: the file that hosts, images and certificates are held to.

The file carries the lock, its hash (target and packages) and a checksum over everything in it, so
that a lock which was edited by hand or cut off is refused. The same lock always gives the same
bytes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cudactl.contracts.base import canonical_hash
from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.stack.specfile import spec_hash

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
    content = lock.model_dump(mode="json")
    document = {"hash": lock.hash, "checksum": canonical_hash(content), "lock": content}
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write_lock(lock: StackLock, path: Path) -> bool:
    """Write `lock`, whole or not at all; a file that says the same already is left alone.

    Returns:
        True when the file was written, False when it was the same already.

    Raises:
        UsageError: LOCK-NOT-WRITTEN.
    """
    data = render_lock(lock)
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
    """Read a lock file.

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
    return parse_lock(data, str(path))


def parse_lock(data: bytes, name: str) -> StackLock:
    """Read a lock from bytes; `name` is what errors call it. Raises like `read_lock`."""
    if len(data) > LARGEST:
        raise _unreadable(name, f"is larger than {LARGEST // 1024 // 1024} MiB")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise _unreadable(name, "is not a lock file (not JSON, or cut off)") from None
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
