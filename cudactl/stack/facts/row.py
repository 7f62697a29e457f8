"""What every row of the catalogue has: a day, a source, and cells that say when they are empty.

Cells are words in a CSV file and in an overlay; here they become tuples, or None where nothing is
known. Shipped rows are made without validation (a test and `catalogue lint` validate them), so the
validators are built only when somebody validates.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict

from cudactl.contracts.base import Contract


def _words(cell: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(cell.split()) if isinstance(cell, str) else tuple(cell)


def _names(cell: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    parts = cell.split(";") if isinstance(cell, str) else cell
    return tuple(part.strip() for part in parts if part.strip())


def _unknown(cell: str | None) -> str | None:
    return cell or None


def _known(cell: str) -> str:
    if not cell.strip():
        raise ValueError("a value is missing")
    return cell


def _day(cell: str) -> str:
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", cell):
        raise ValueError("expected a day such as 2026-11-23")
    return cell


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""Words, separated by blanks."""
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
"""Names, separated by semicolons."""
Unknown = Annotated[str | None, BeforeValidator(_unknown)]
"""A value, or None where it is not known."""
Known = Annotated[str, AfterValidator(_known)]
"""A value without which the row says nothing."""
Day = Annotated[str, AfterValidator(_day)]
"""A day, ISO 8601."""


class Row(Contract):
    """One fact."""

    # Reading eighteen classes' sources for docstrings that no schema shows costs 25 ms a start.
    model_config = ConfigDict(defer_build=True, use_attribute_docstrings=False)

    date: Day
    """Day it was collected, ISO 8601."""
    source: Known
    """Where it was read."""
