"""Reads a waiver file: known findings, each with an owner, a reason and a last day.

A list in YAML, each entry with `check`, `owner`, `reason`, `expires` (a day, or a time with its
zone) and, where it is narrower, `gpu` and `host`.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cudactl.contracts.certificate import Waiver
from cudactl.contracts.errors import UsageError
from cudactl.judge.checks import CHECKS

MAX_BYTES = 256 * 1024
EXPECTED = "a list of `check`, `owner`, `reason`, `expires` (a day such as 2027-01-31)"
Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_waivers(path: Path) -> list[Waiver]:
    """Return the waivers in a file.

    Raises:
        UsageError: WAIVERS-UNREADABLE, naming the entry.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise _unreadable(path, f"it is larger than {MAX_BYTES // 1024} KiB")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader)):
            raise _unreadable(path, "it uses an alias, which is not read here")
        entries = yaml.load(data, Loader)  # noqa: S506 - every value is text
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise _unreadable(path, "it is no YAML") from None
    if not isinstance(entries, list):
        raise _unreadable(path, "it holds no list")
    return [_waiver(path, number, entry) for number, entry in enumerate(entries, 1)]


def _waiver(path: Path, number: int, entry: Any) -> Waiver:  # noqa: ANN401 - anything YAML can hold
    where = f"entry {number}"
    if not isinstance(entry, dict):
        raise _unreadable(path, f"{where} is no mapping")
    check = entry.get("check")
    if check not in CHECKS:
        raise _unreadable(path, f"{where} waives {str(check)[:80]!r}, which is no check")
    try:
        expires = _moment(str(entry.get("expires")))
        waiver = Waiver.model_validate({**entry, "expires": expires})
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        raise _unreadable(path, f"{where}, {first['loc'][0]}: {first['msg']}") from None
    except (ValueError, OverflowError):
        raise _unreadable(path, f"{where}, expires: no day and no time with its zone") from None
    if not waiver.owner.strip() or not waiver.reason.strip():
        raise _unreadable(path, f"{where} needs somebody who answers for it, and why")
    return waiver


def _moment(text: str) -> float:
    """Return the Unix time of a day's end in UTC, or of a time with its zone."""
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            raise ValueError("no zone") from None
        return moment.timestamp()
    midnight = datetime.datetime.combine(day, datetime.time(), datetime.timezone.utc)
    return (midnight + datetime.timedelta(days=1)).timestamp()


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(
        "WAIVERS-UNREADABLE",
        f"{path}: {why}",
        expected=EXPECTED,
        remedy="see docs/certificate.md for an example",
    )
