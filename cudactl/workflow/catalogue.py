"""The catalogue's own jobs: say what it holds, look for mistakes, refresh it from indexes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from cudactl.contracts.errors import UnreachableError, UsageError
from cudactl.contracts.spec import MirrorSpec, StackSpec
from cudactl.stack.facts.catalogue import Catalogue, assemble, load_catalogue
from cudactl.stack.facts.lint import LintFinding
from cudactl.stack.facts.lint import lint as lint_catalogue
from cudactl.stack.facts.overlay_files import overlay_files, user_folder
from cudactl.stack.facts.overlays import Overlay, read_overlay, render_overlay, write_overlay
from cudactl.stack.facts.refresh import Refreshed, refresh_from
from cudactl.stack.facts.refresh_wheels import WheelListing
from cudactl.stack.facts.row import Row
from cudactl.stack.facts.tables import TABLES, key_of
from cudactl.stack.index.apt import AptIndex, fetch_index
from cudactl.stack.index.wheel_source import configured_index
from cudactl.stack.lock.locking import apt_source
from cudactl.workflow.places import cache_folder

__all__ = ["LintFinding", "Refresh", "Status", "TableStatus", "lint", "refresh", "status"]

TITLE = (
    "Written by `cudactl catalogue refresh`: what package indexes had and the catalogue did not."
)


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


@dataclass(frozen=True)
class Refresh:
    """What `catalogue refresh` found and did."""

    found: Refreshed
    path: Path
    """The overlay."""
    written: bool
    """False when there was nothing that it does not say already."""
    read: tuple[str, ...]
    """Indexes that were read."""
    notes: tuple[str, ...]
    """Indexes that could not be reached and that nobody had named."""


def refresh(
    *,
    systems: Sequence[str] = (),
    arch: str = "x86_64",
    mirror: str | None = None,
    key: Path | None = None,
    apt: bool = True,
    wheels: bool = True,
    output: Path | None = None,
) -> Refresh:
    """Read package indexes and write what the catalogue does not know into an overlay.

    Args:
        systems: Distributions whose repositories are read; none: all that have this architecture.
        arch: Architecture, NVIDIA's word.
        mirror: Instead of NVIDIA's repositories; with its key.
        key: The mirror's public key.
        apt: Whether package repositories are read.
        wheels: Whether the wheel index that this machine uses is read.
        output: The overlay; None: `refresh.yaml` among the user's.

    Raises:
        UnreachableError: INDEX-UNREACHABLE, for an index that was named, or when none answers.
        IndexRefused: INDEX-….
        UsageError: OVERLAY-…, MIRROR-KEY-…, SPEC-….
    """
    path = output if output is not None else user_folder() / "refresh.yaml"
    kept = _kept(path)
    others = [one for one in overlay_files() if one.resolve() != path.resolve()]
    catalogue = assemble([*others, path] if kept is not None else others)
    today = date.today().isoformat()
    notes: list[str] = []
    indexes = _indexes(catalogue, systems, arch, _mirror(mirror, key), notes) if apt else []
    listing = WheelListing(configured_index(), cache_folder(), today) if wheels else None
    found = refresh_from(catalogue, indexes, listing, today)
    rows = _rows(catalogue, kept, found)
    text = render_overlay(rows, TITLE)
    was = path.read_text(encoding="utf-8") if kept is not None else ""
    written = any(rows.values()) and text != was
    if written:
        write_overlay(path, text)
        load_catalogue.cache_clear()
    read = [index.source.title for index in indexes] + ([listing.title] if listing else [])
    return Refresh(found, path, written, tuple(read), tuple(notes))


def _mirror(url: str | None, key: Path | None) -> MirrorSpec | None:
    if url is None:
        return None
    try:
        return MirrorSpec(url=url, key=str(key) if key is not None else None)
    except ValidationError:
        raise UsageError(
            "SPEC-BAD-VALUE",
            f"--mirror is {url!r}",
            expected="an address that begins with https://, http:// or file://",
            remedy="correct the address",
        ) from None


def _kept(path: Path) -> Overlay | None:
    """Return what an earlier refresh wrote there; a file of somebody's own is left alone."""
    if not path.exists():
        return None
    there = read_overlay(path)
    if not there.yields:
        raise UsageError(
            "OVERLAY-NOT-OURS",
            f"{path} was not written by a refresh: it does not say `yields: yes`",
            expected="a new file, or one that an earlier refresh wrote",
            remedy="name another file: cudactl catalogue refresh -o FILE",
        )
    return there


def _rows(catalogue: Catalogue, kept: Overlay | None, found: Refreshed) -> dict[str, list[Row]]:
    """Return what the overlay shall hold: what still counts of the old rows, and the new ones."""
    rows: dict[str, list[Row]] = {}
    for table in TABLES:
        counts = {key_of(table, row): row for row in catalogue.table(table)}
        old = kept.rows.get(table, ()) if kept is not None else ()
        # A release of cudactl may know better by now: then its row counts, not ours.
        merged = {key: row for row in old if counts[key := key_of(table, row)] == row}
        merged |= {key_of(table, row): row for row in found.rows.get(table, ())}
        rows[table] = list(merged.values())
    return rows


def _indexes(
    catalogue: Catalogue,
    systems: Sequence[str],
    arch: str,
    mirror: MirrorSpec | None,
    notes: list[str],
) -> list[AptIndex]:
    """Return the verified indexes; one that nobody named may be out of reach."""
    every = [row.name for row in catalogue.distributions]
    for name in systems:
        if name not in every:
            close = difflib.get_close_matches(name, every, 1)
            raise UsageError(
                "SPEC-BAD-VALUE",
                f"--os is {name!r}",
                expected="one of: " + ", ".join(every),
                remedy=f"did you mean {close[0]!r}?" if close else "correct the name",
            )
    seen = [row.name for row in catalogue.distributions if arch in row.architectures]
    found: list[AptIndex] = []
    missing: UnreachableError | None = None
    for name in dict.fromkeys(systems or seen):
        spec = StackSpec.model_validate({"os": name, "arch": arch, "mirror": mirror})
        source = apt_source(spec, catalogue.distribution(name), Path())
        try:
            found.append(fetch_index(source, cache_folder()))
        except UnreachableError as error:
            if systems:
                raise
            missing = error
            notes.append(error.found)
    if missing is not None and not found:
        raise missing
    return found
