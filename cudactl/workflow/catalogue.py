"""The catalogue's own jobs: say what it holds, look for mistakes, refresh it from indexes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from cudactl.stack.catalogue import Catalogue, load_catalogue
from cudactl.stack.catalogue_lint import LintFinding
from cudactl.stack.catalogue_lint import lint as lint_catalogue
from cudactl.stack.tables import TABLES

__all__ = ["LintFinding", "Status", "TableStatus", "lint", "status"]


@dataclass(frozen=True)
class TableStatus:
    """One table in short."""

    name: str
    """Table."""
    rows: int
    """Rows, overlays included."""
    newest: str
    """Day on which its newest row was collected."""


@dataclass(frozen=True)
class Status:
    """What the catalogue of this machine holds."""

    catalogue: Catalogue
    tables: tuple[TableStatus, ...]
    """Every table."""
    newest: str
    """Day on which the newest row of all was collected."""
    age_days: int
    """Days from then to today."""


def status() -> Status:
    """Return what the catalogue of this machine holds, and how old it is.

    Raises:
        UsageError: OVERLAY-….
    """
    catalogue = load_catalogue()
    tables = tuple(_table(catalogue, name) for name in TABLES)
    newest = max(one.newest for one in tables)
    age = (date.today() - date.fromisoformat(newest)).days
    return Status(catalogue, tables, newest, max(0, age))


def _table(catalogue: Catalogue, name: str) -> TableStatus:
    rows = catalogue.table(name)
    return TableStatus(name, len(rows), max((row.date for row in rows), default=""))


def lint() -> list[LintFinding]:
    """Return every mistake in the catalogue of this machine, overlays included.

    Raises:
        UsageError: OVERLAY-….
    """
    return lint_catalogue(load_catalogue())
