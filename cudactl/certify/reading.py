"""Reads JSON that somebody else wrote: bounded in bytes and in values, or refused in one sentence.

Evidence, policies and certificates come from other machines. A file may be truncated, endless,
nested without end, or say the same thing twice; none of that may cost more than a little memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from cudactl.contracts.errors import UsageError

MAX_BYTES = 32 * 1024 * 1024
MAX_VALUES = 400_000
"""A host with 3,000 packages and every leg has some 20,000; one costs up to 250 bytes."""


class NotJson(ValueError):
    """The bytes are no JSON object that is read here."""


def read_object(path: Path, code: str, expected: str, remedy: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        UsageError: `code`, with the reason.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        return parse_object(data)
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = str(error)
    raise UsageError(code, f"{path}: {why}", expected=expected, remedy=remedy)


def parse_object(data: bytes, *, finite: bool = False) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Args:
        data: The bytes.
        finite: True where NaN and infinities are refused. Evidence may hold them: a GPU may have
            answered them.

    Raises:
        NotJson: one sentence.
    """
    if len(data) > MAX_BYTES:
        raise NotJson(f"it is larger than {MAX_BYTES // 1024**2} MiB")
    # Before anything is built of it: each value but the first follows one of these.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise NotJson(f"it holds more than {MAX_VALUES} values")
    try:
        document = json.loads(
            data,
            object_pairs_hook=_once,
            parse_constant=_refuse_constant if finite else None,
        )
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise NotJson("it is no UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise NotJson(
            f"it is no JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except ValueError:  # an integer of more than 4,300 digits
        raise NotJson("it holds a number without end") from None
    if not isinstance(document, dict):
        raise NotJson("it holds no JSON object")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose keys are each said once: of two, readers would see different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise NotJson(f"it says {key[:60]!r} twice")
            seen.add(key)
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise NotJson(f"it holds {text}, which is no number")
