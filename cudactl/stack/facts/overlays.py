"""Overlays: files that add rows to the catalogue, or replace them, without a release of cudactl.

A site writes them by hand, `catalogue refresh` writes one from package indexes. Every row is whole
and has its own source and date; it is validated here, and one mistake is one clear error. Of two
overlays that name the same row the later counts: /etc, the user's, then $CUDACTL_CATALOGUE.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from cudactl.contracts.errors import UsageError
from cudactl.stack.facts.row import Row
from cudactl.stack.facts.tables import KEYS, TABLES, in_order, key_of

LARGEST = 4 << 20
"""Largest overlay, bytes; the whole shipped catalogue has half a megabyte."""
DEEPEST = 8
"""Deepest nesting; an overlay needs four levels."""
EXAMPLE = """a file such as:
    driver_releases:
      - version: "580.200.01"
        date: 2026-11-24
        source: our mirror of NVIDIA's repository"""


@dataclass(frozen=True)
class Overlay:
    """One overlay file, read and validated."""

    name: str
    """The file."""
    sha256: str
    """sha256 of its bytes."""
    rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict, repr=False)
    """Table → rows that are added or replaced."""
    yields: bool = False
    """Whether its rows give way to rows that were collected later, as those of a new release."""


def overlaid(table: str, rows: tuple[Row, ...], overlays: Sequence[Overlay]) -> tuple[Row, ...]:
    """Return a table with what the overlays say of it."""
    if not any(table in one.rows for one in overlays):
        return rows
    merged = {key_of(table, row): row for row in rows}
    for one in overlays:
        for row in one.rows.get(table, ()):
            there = merged.get(key_of(table, row))
            if there is None or not one.yields or there.date <= row.date:
                merged[key_of(table, row)] = row
    return in_order(table, merged.values())


def read_overlay(path: Path) -> Overlay:
    """Read and validate an overlay.

    Raises:
        UsageError: OVERLAY-UNREADABLE, OVERLAY-UNKNOWN-TABLE, OVERLAY-BAD-ROW.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be opened") from None
    if len(data) > LARGEST:
        raise _unreadable(path, f"it is larger than {LARGEST >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
        document = _from_json(text) if path.suffix == ".json" else _from_yaml(text)
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text") from None
    except ValueError as problem:
        raise _unreadable(path, str(problem)) from None
    if not isinstance(document, dict):
        raise _unreadable(path, "it names no table")
    if document.pop("schema_version", "1") != "1":
        raise _unreadable(path, "its schema_version is not 1")
    yields = document.pop("yields", "no") in ("yes", "true", True)
    rows = {table: _rows(path, table, given) for table, given in document.items()}
    return Overlay(str(path), hashlib.sha256(data).hexdigest(), rows, yields)


def render_overlay(rows: Mapping[str, Sequence[Row]], title: str) -> str:
    """Return rows as an overlay that yields; the same rows give the same text."""
    lines = [f"# {title}", "yields: yes"]
    for table in (name for name in TABLES if rows.get(name)):
        lines += ["", f"{table}:"]
        for row in in_order(table, rows[table]):
            begin = "  - "
            cells = row.model_dump()
            told = {"date": cells.pop("date"), "source": cells.pop("source")}
            for column, value in (cells | told).items():
                cell = value or ""
                if isinstance(value, tuple):
                    cell = ("; " if column == "aliases" else " ").join(value)
                if cell:
                    lines.append(f"{begin}{column}: {json.dumps(cell, ensure_ascii=False)}")
                    begin = "    "
    return "\n".join(lines) + "\n"


def write_overlay(path: Path, text: str) -> None:
    """Write an overlay whole or not at all.

    Raises:
        UsageError: OVERLAY-NOT-WRITTEN.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            "OVERLAY-NOT-WRITTEN",
            f"{path} cannot be written: {error.strerror}",
            expected="a folder that you may write to",
            remedy="name another file: cudactl catalogue refresh -o FILE",
        ) from None


def _rows(path: Path, table: str, given: Any) -> tuple[Row, ...]:  # noqa: ANN401 - parsed text
    if table not in TABLES:
        close = difflib.get_close_matches(table, TABLES, 1)
        raise UsageError(
            "OVERLAY-UNKNOWN-TABLE",
            f"{path}: the catalogue has no table {table!r}",
            expected="one of: " + ", ".join(TABLES),
            remedy=f"did you mean {close[0]!r}?" if close else "correct the table's name",
        )
    if not isinstance(given, list):
        raise _unreadable(path, f"{table} holds no list of rows")
    made: dict[tuple[str, ...], Row] = {}
    for number, one in enumerate(given, 1):
        row = _row(f"{path}: {table}, row {number}", TABLES[table], one, table)
        key = key_of(table, row)
        if key in made:
            _bad(f"{path}: {table}, row {number}", f"{' '.join(key)} stands there twice", "once")
        made[key] = row
    return tuple(made.values())


def _row(where: str, model: type[Row], given: Any, table: str) -> Row:  # noqa: ANN401
    columns = list(model.model_fields)
    if not isinstance(given, dict):
        _bad(where, "no mapping of columns", f"columns of {', '.join(columns)}")
    named = [str(given[c]) for c in KEYS.get(table, ("version",)) if c in given]
    where += f" ({' '.join(named)})" if named else ""
    for column in given:
        if column not in columns:
            close = difflib.get_close_matches(column, columns, 1)
            known = f"one of: {', '.join(columns)}"
            _bad(
                where, f"unknown column {column!r}", known, *(f"did you mean {c!r}?" for c in close)
            )
    # A cell that is not written is not known, like an empty one in the shipped tables.
    cells = {c: given.get(c, "") for c in columns if c in given or _is_required(model, c)}
    try:
        return model.model_validate(cells)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        column = ".".join(map(str, first["loc"]))
        said = str(first["msg"]).removeprefix("Value error, ")
        value = f" is {first['input']!r}" if first["input"] else ""
        _bad(where, f"{column}{value}", said[:1].lower() + said[1:])


def _is_required(model: type[Row], column: str) -> bool:
    return model.model_fields[column].is_required()


def _bad(where: str, found: str, expected: str, remedy: str = "correct that row") -> NoReturn:
    raise UsageError(
        "OVERLAY-BAD-ROW", f"{where}: {found}", expected=expected, remedy=remedy
    ) from None


def _unreadable(path: Path, problem: str) -> UsageError:
    return UsageError(
        "OVERLAY-UNREADABLE",
        f"the catalogue's overlay {path}: {problem}",
        expected=EXAMPLE,
        remedy="mend the file, or take it away (folders catalogue.d, $CUDACTL_CATALOGUE)",
    )


def _from_json(text: str) -> Any:  # noqa: ANN401
    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            if key in made:
                raise ValueError(f"{key!r} is written a second time")
            made[key] = "" if value is None else value
        return made

    try:
        return json.loads(text, object_pairs_hook=mapping, parse_int=str, parse_float=str)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _from_yaml(text: str) -> Any:  # noqa: ANN401
    """Return the document with every scalar as it was written: 12.10 must stay 12.10."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(text, loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("an alias (*name) is used")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError("nested too deep")
        return _plain(yaml.compose(text, loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{line}not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {str(error).splitlines()[0]}") from None


def _plain(node: Any) -> Any:  # noqa: ANN401 - a yaml.Node
    import yaml

    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {line}: a key is no plain word")
            if key.value in made:
                raise ValueError(f"line {line}: {key.value!r} is written a second time")
            made[key.value] = _plain(value)
        return made
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if node is None or (node.tag.endswith(":null") and node.value in ("", "~", "null")):
        return ""
    return str(node.value)
