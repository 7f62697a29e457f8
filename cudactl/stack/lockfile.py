"""stack.lock on disk: canonical JSON with the lock's own hash beside it, written all or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cudactl.contracts.base import canonical_hash
from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.spec import StackSpec

FORMAT = 1
WRITTEN_BY = "cudactl stack lock"


def write_lock(lock: StackLock, path: Path) -> None:
    """Write `lock` to `path`; the same lock always gives the same bytes."""
    text = lock_text(lock)
    aside = path.with_name(path.name + ".new")
    aside.write_text(text)
    aside.replace(path)


def lock_text(lock: StackLock) -> str:
    """Return the lock file's text."""
    document: dict[str, Any] = lock.model_dump(mode="json")
    document["hash"] = lock.hash
    document["content_hash"] = canonical_hash(lock.model_dump(mode="json"))
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_lock(path: Path) -> StackLock:
    """Return the lock in `path`.

    Raises:
        UsageError: LOCK-MISSING, LOCK-UNREADABLE, LOCK-OLDER, LOCK-NEWER or LOCK-ALTERED.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            "LOCK-MISSING",
            f"{path}: no such lock",
            expected="a file written by `cudactl stack lock`",
            remedy=f"cudactl stack lock stack.yaml -o {path}",
        ) from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise _unreadable(path, f"not JSON ({error})") from error
    if not isinstance(document, dict) or "schema_version" not in document:
        raise _unreadable(path, "no lock is in it")
    version = document["schema_version"]
    if version != FORMAT:
        older = isinstance(version, int) and version < FORMAT
        raise UsageError(
            "LOCK-OLDER" if older else "LOCK-NEWER",
            f"{path}: lock format {version!r}",
            expected=f"format {FORMAT}, which this cudactl reads",
            remedy=f"lock again: cudactl stack lock stack.yaml -o {path}"
            if older
            else "use the cudactl that wrote it, or a newer one",
        )
    document.pop("hash", None)
    content_hash = document.pop("content_hash", None)
    try:
        lock = StackLock.model_validate(document)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _unreadable(path, f"{where}: {first['msg']}") from wrong
    if canonical_hash(lock.model_dump(mode="json")) != content_hash:
        raise UsageError(
            "LOCK-ALTERED",
            f"{path}: its content is not what its hash says",
            expected=f"the lock as `{WRITTEN_BY}` wrote it",
            remedy=f"edit the spec instead, and lock again: cudactl stack lock stack.yaml -o {path}",
        )
    return lock


def lock_is_current(lock: StackLock, spec: StackSpec) -> bool:
    """Return whether the lock answers exactly this wish."""
    return lock.spec_hash == spec_hash(spec)


def spec_hash(spec: StackSpec) -> str:
    """Return the hash of a wish; keys left at their default do not count."""
    return canonical_hash(spec.model_dump(mode="json", exclude_defaults=True))


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(
        "LOCK-UNREADABLE",
        f"{path}: {why}",
        expected="a file written by `cudactl stack lock`",
        remedy=f"lock again: cudactl stack lock stack.yaml -o {path}",
    )
