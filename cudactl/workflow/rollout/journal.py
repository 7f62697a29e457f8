"""The journal: what happened, one JSON line after the other, on disk before anything follows.

Only who holds the rollout's lock writes. A line that a crash cut off is at the end and has no
newline: it is ignored by readers, and removed by the next writer. Anything else that cannot be read
is an error, because a state derived from half a history would be a wrong one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cudactl.contracts.errors import UsageError
from cudactl.contracts.rollout import JournalRecord


def read_journal(path: Path) -> list[JournalRecord]:
    """Return the complete records of a journal; none where there is no file yet.

    Raises:
        UsageError: ROLLOUT-UNREADABLE.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    return _records(path, data[: _complete(data)])


def _complete(data: bytes) -> int:
    """Return how many bytes end with a newline; a crash can only have cut what follows."""
    return data.rfind(b"\n") + 1


def _records(path: Path, data: bytes) -> list[JournalRecord]:
    records = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            record = JournalRecord.model_validate_json(line)
        except ValidationError as wrong:
            why = wrong.errors(include_input=False, include_url=False)[0]["msg"]
            raise unreadable(path, f"line {number}: {why}") from wrong
        if record.seq != number:
            raise unreadable(path, f"line {number} is record {record.seq}")
        records.append(record)
    return records


def unreadable(path: Path, why: str) -> UsageError:
    """Return the error for a file of a rollout that is not what it should be."""
    return UsageError(
        "ROLLOUT-UNREADABLE",
        f"{path}: {why}",
        expected="a file that only cudactl writes",
        remedy="nothing was changed; restore the file, or start another rollout: hosts that are "
        "right already cost nothing",
    )


class Journal:
    """Appends records; each is on the disk when `append` returns."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            data = path.read_bytes()
            self.records = _records(path, data[: _complete(data)])
            if _complete(data) != len(data):
                os.ftruncate(self._file, _complete(data))
            os.fsync(self._file)
            sync_folder(path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, event: str, **values: Any) -> JournalRecord:  # noqa: ANN401
        """Write one record, and return it when it is safe.

        Raises:
            UsageError: ROLLOUT-NOT-WRITTEN.
        """
        record = JournalRecord.model_validate(
            {"seq": len(self.records) + 1, "at": self._clock(), "event": event, **values}
        )
        line = json.dumps(record.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        data = line.encode() + b"\n"
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(28, "the disk is full")
            os.fsync(self._file)
        except OSError as error:
            # Half a line must not stay before the next one.
            os.ftruncate(self._file, size)
            raise not_written(self._path, error) from error
        self.records.append(record)
        return record

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def not_written(path: Path, error: OSError) -> UsageError:
    """Return the error for a rollout's folder that takes nothing."""
    return UsageError(
        "ROLLOUT-NOT-WRITTEN",
        f"{path}: {error.strerror or error}",
        expected="a state folder with room that may be written to",
        remedy="make room, or choose another with --state-dir (CUDACTL_STATE_DIR); then resume",
    )


def sync_folder(folder: Path) -> None:
    """Make a folder's entries safe, too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
