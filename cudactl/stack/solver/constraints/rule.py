"""One rule: the dimensions it speaks of, when it fires, and what it says then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cudactl.contracts.verdict import Severity, SpecFact
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Row


@dataclass(frozen=True)
class Said:
    """What a rule says when it fires."""

    text: str
    """What cannot be, or what is not what it seems; one sentence without a full stop."""
    facts: tuple[SpecFact, ...]
    """Why, each with its source."""
    remedy: str
    """What to do, where no nearest spec can be offered."""


@dataclass(frozen=True)
class Rule:
    """One rule."""

    code: str
    """Stable code."""
    dims: tuple[str, ...]
    """Dimensions, in the order of the functions' arguments."""
    clashes: Callable[..., bool]
    """(choice, …) → True where it fires."""
    says: Callable[..., Said]
    """(catalogue, choice, …) → what it says; called only where it fires."""
    severity: Severity = "refused"
    """refused, flagged or note."""
    background: bool = False
    """Whether it only says what belongs where: named as a reason only where nothing else is one."""
    allowable: bool = False
    """Whether `--allow` can override it: a judgement, not an impossibility."""


def fact(text: str, row: Row | str) -> SpecFact:
    """Return a fact and where it was read: a row's sources, or the source itself."""
    source = row if isinstance(row, str) else f"{row.source.replace(' | ', '; ')} ({row.date})"
    return SpecFact(text=text, source=source)


def first_of(catalogue: Catalogue, table: str) -> Row:
    """Return a row of a table, for facts that the whole table states."""
    rows: tuple[Row, ...] = getattr(catalogue, table)
    return rows[-1]
