"""`catalogue refresh`: versions that package indexes have and the catalogue does not know.

What an index states becomes rows of an overlay, with the index and its day as source. What it does
not state stays unknown; a row that cannot do without it (a toolkit's least driver) is not written,
and the version is listed as seen and not understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.refresh_apt import seen_in_apt
from cudactl.stack.facts.refresh_wheels import WheelListing
from cudactl.stack.facts.row import Row
from cudactl.stack.facts.rows import DriverBranch
from cudactl.stack.facts.sightings import Sighting
from cudactl.stack.facts.tables import TABLES, in_order, key_of
from cudactl.stack.index.apt import AptIndex
from cudactl.stack.index.packages import upstream
from cudactl.stack.versions import admits, numbers

BEGIN_LATER = ("toolkits", "cudnn", "tensorrt", "driver_releases")
"""Tables that leave out what is older than their first row."""


@dataclass(frozen=True)
class NotUnderstood:
    """A version that an index has, and that cannot become a row."""

    table: str
    """Table it would belong into."""
    version: str
    """Version."""
    why: str
    """What the index does not state."""
    source: str
    """Which index."""


@dataclass
class Refreshed:
    """What indexes add to a catalogue."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    """Table → rows for the overlay, in the table's order."""
    added: list[tuple[str, str]] = field(default_factory=list)
    """Table and key of rows that are new."""
    changed: list[tuple[str, str]] = field(default_factory=list)
    """Table and key of rows that say more than before."""
    not_understood: list[NotUnderstood] = field(default_factory=list)
    """Versions that were seen and cannot become rows."""

    def put(self, table: str, row: Row, *, new: bool) -> None:
        """Take a row in."""
        self.rows.setdefault(table, []).append(row)
        (self.added if new else self.changed).append((table, " ".join(key_of(table, row))))

    def take(self, other: Refreshed) -> None:
        """Take in all that another refresh found."""
        for table, rows in other.rows.items():
            self.rows.setdefault(table, []).extend(rows)
        self.added += other.added
        self.changed += other.changed
        self.not_understood += other.not_understood


def refresh_from(
    catalogue: Catalogue, indexes: Sequence[AptIndex], listing: WheelListing | None, today: str
) -> Refreshed:
    """Return what verified apt indexes and a wheel index add to a catalogue.

    Raises:
        UnreachableError: INDEX-UNREACHABLE, for the wheel index.
        WheelIndexError: WHEEL-…
    """
    sightings = [one for index in indexes for one in seen_in_apt(index, today)]
    if listing is None:
        return refreshed(catalogue, sightings)
    sightings += listing.seen(dict.fromkeys(row.major for row in catalogue.toolkits))
    toolkits = listing.toolkits()
    sightings += [listing.toolkit(version) for version in toolkits]
    found = refreshed(catalogue, sightings)
    known = {row.version for row in catalogue.toolkits}
    for version, wheel in sorted(toolkits.items(), key=lambda item: numbers(item[0])):
        if version in known and not catalogue.components_of(version):
            parts = listing.parts(wheel)
            found.take(parts_of_toolkit(catalogue, parts, listing.toolkit(version), indexes))
    return found


def refreshed(catalogue: Catalogue, sightings: Iterable[Sighting]) -> Refreshed:
    """Return what sightings add to a catalogue; the same sightings give the same rows."""
    found = Refreshed()
    grouped: dict[tuple[str, str], list[Sighting]] = {}
    for one in sightings:
        grouped.setdefault((one.table, one.version), []).append(one)
    for (table, version), seen in sorted(grouped.items(), key=_order):
        rows = catalogue.table(table)
        first = str(getattr(rows[0], "version", "")) if rows else ""
        if table in BEGIN_LATER and numbers(version) < numbers(first):
            continue
        known = _known(table, version, rows)
        if known is not None:
            _grow(found, table, known, seen)
        elif table == "driver_releases" and catalogue.branch(version.split(".")[0]) is None:
            why = "its branch is not in the catalogue, and no index states kind and flavours"
            found.not_understood.append(NotUnderstood(table, version, why, _source(seen)))
        else:
            _add(found, table, version, seen)
    _newest(found, catalogue)
    found.rows = {
        table: list(in_order(table, found.rows[table])) for table in TABLES if table in found.rows
    }
    return found


def _order(item: tuple[tuple[str, str], Sequence[Sighting]]) -> tuple[Any, ...]:
    (table, version), _ = item
    return (list(TABLES).index(table), numbers(version), version)


def _known(table: str, version: str, rows: Sequence[Row]) -> Row | None:
    """Return the row of a version; TensorRT's older wheels have its first three parts only."""
    for row in rows:
        if getattr(row, "version", None) == version:
            return row
    if table == "tensorrt" and version.count(".") == 2:
        return next((r for r in rows if admits(version, str(getattr(r, "version", "")))), None)
    return None


def _source(seen: Sequence[Sighting]) -> str:
    return " | ".join(dict.fromkeys(one.source for one in seen))


def _words(seen: Sequence[Sighting], before: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return column → every word that was stated, those that stood there before included."""
    found = {column: list(words) for column, words in before.items()}
    for one in seen:
        for column, words in one.words.items():
            there = found.setdefault(column, [])
            there += [word for word in words if word not in there]
    return {
        column: sorted(there, key=lambda word: (numbers(word.removeprefix("cp")), word))
        for column, there in found.items()
    }


def _add(found: Refreshed, table: str, version: str, seen: Sequence[Sighting]) -> None:
    model = TABLES[table]
    cells: dict[str, Any] = {n: "" for n, f in model.model_fields.items() if f.is_required()}
    cells |= _words(seen, {})
    for one in seen:
        cells |= one.cells
    cells |= {"version": version, "source": _source(seen), "date": max(one.date for one in seen)}
    try:
        row = model.model_validate(cells)
    except ValidationError as wrong:
        lacking = sorted({str(error["loc"][0]) for error in wrong.errors()})
        why = f"no index states its {', '.join(lacking)}"
        found.not_understood.append(NotUnderstood(table, version, why, _source(seen)))
        return
    found.put(table, row, new=True)


def _grow(found: Refreshed, table: str, row: Row, seen: Sequence[Sighting]) -> None:
    """Add words that a known row does not have, such as another CUDA build."""
    columns = {column for one in seen for column in one.words}
    before: dict[str, Sequence[str]] = {column: getattr(row, column) for column in columns}
    after = _words(seen, before)
    news = {column for column in columns if set(after[column]) - set(before[column])}
    if not news:
        return
    told = [one for one in seen if any(set(one.words.get(c, ())) - set(before[c]) for c in news)]
    changed = {column: tuple(after[column]) for column in news}
    found.put(table, _changed(row, told, changed), new=False)


def _changed(row: Row, seen: Sequence[Sighting], values: Mapping[str, Any]) -> Row:
    """Return a row with other cells. It is as young as the younger of the row and the index."""
    date = max(row.date, *(one.date for one in seen))
    source = f"{row.source} | {_source(seen)}"
    return row.model_copy(update={**values, "date": date, "source": source})


def _newest(found: Refreshed, catalogue: Catalogue) -> None:
    """Let a branch know its newest release, where that is among the new ones."""
    newest: dict[str, Row] = {}
    for row in sorted(found.rows.get("driver_releases", ()), key=lambda r: _number(r)):
        newest[str(_number(row)[0])] = row
    for name, row in newest.items():
        branch = catalogue.branch(name)
        version = str(getattr(row, "version", ""))
        if isinstance(branch, DriverBranch) and numbers(branch.newest or "") < numbers(version):
            told = [Sighting("drivers", version, row.source, row.date)]
            found.put("drivers", _changed(branch, told, {"newest": version}), new=False)


def _number(row: Row) -> tuple[int, ...]:
    return numbers(str(getattr(row, "version", "")))


def parts_of_toolkit(
    catalogue: Catalogue,
    parts: Sequence[tuple[str, str | None]],
    told: Sighting,
    indexes: Sequence[AptIndex],
) -> Refreshed:
    """Return the rows of a toolkit's parts, as the wheel `cuda-toolkit` pins them.

    A part's Debian package is named like that of the toolkits before; the name is written only
    where an apt index has it at exactly this version.
    """
    found = Refreshed()
    model = TABLES["components"]
    toolkit = told.version
    dashed = "-".join(toolkit.split(".")[:2])
    stems = {_bare(row.wheel): _stem(row.apt, row.toolkit) for row in catalogue.components}
    for wheel, version in parts:
        if version is None:
            why = f"{wheel}: a range instead of a version"
            found.not_understood.append(NotUnderstood("components", toolkit, why, told.source))
            continue
        apt = apt_version = ""
        stem = stems.get(_bare(wheel))
        for index in indexes if stem else ():
            name = f"{stem}-{dashed}"
            fitting = [p.version for p in index.versions(name) if upstream(p.version) == version]
            if fitting:
                apt, apt_version = name, fitting[0]
                break
        cells = {"toolkit": toolkit, "wheel": wheel, "version": version, "apt": apt}
        cells |= {"apt_version": apt_version, "date": told.date, "source": told.source}
        found.put("components", model.model_validate(cells), new=True)
    return found


def _bare(wheel: str) -> str:
    """Return a wheel project without the CUDA major: "nvidia-cublas-cu12" → "nvidia-cublas"."""
    bare, _, major = wheel.rpartition("-cu")
    return bare if bare and major.isdecimal() else wheel


def _stem(apt: str, toolkit: str) -> str:
    """Return a package's name without the toolkit: "libcublas-13-0" → "libcublas"."""
    return apt.removesuffix("-" + "-".join(toolkit.split(".")[:2]))
