"""`catalogue lint`: every mistake that can be seen in the catalogue without asking anybody.

First each table by itself (here): columns, cells, order, keys, days, sources, versions. Then what
the tables say of each other (`catalogue_lint_facts.py`), unless a row cannot even be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from pydantic import ValidationError

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.row import Row
from cudactl.stack.facts.shipped import cells
from cudactl.stack.facts.tables import KEYS, TABLES, key_of, order_of


@dataclass(frozen=True)
class LintFinding:
    """One mistake."""

    code: str
    """Stable code, e.g. "CAT-NOT-SORTED"."""
    table: str
    """Table."""
    key: str
    """What names the row; empty: the table as a whole."""
    text: str
    """What is wrong, one sentence."""


Findings = Iterator[LintFinding]
CODES = {
    "CAT-TABLE": "a table is missing or empty",
    "CAT-COLUMNS": "a table's header is not its model's columns",
    "CAT-ROW": "a row that its model refuses",
    "CAT-DUPLICATE": "two rows with one key",
    "CAT-NOT-SORTED": "rows that are not oldest first",
    "CAT-DAY": "a day that is malformed, in the future, or before the one it follows",
    "CAT-SOURCE": "a source that nobody could look up",
    "CAT-VERSION": "a malformed version",
    "CAT-CONTESTED": "contested columns that do not exist, or that no note explains",
    "CAT-TOOLKIT": "a toolkit's drivers, targets or compilers that cannot be",
    "CAT-UNKNOWN-TOOLKIT": "a reference to a toolkit that the catalogue does not have",
    "CAT-UNKNOWN-BRANCH": "a reference to a driver branch that the catalogue does not have",
    "CAT-BRANCH": "a driver branch that contradicts itself",
    "CAT-BECOMES": "a transitional package that leads nowhere",
    "CAT-LIBRARY": "a library's CUDA builds or compute capabilities that cannot be",
    "CAT-FRAMEWORK": "a framework whose build or pins the catalogue does not have",
    "CAT-PATTERN": "a package pattern or code that is malformed",
    "CAT-GPU": "a GPU that contradicts itself or the toolkits",
    "CAT-GPU-NAME": "a GPU name that stands for something else too",
}
"""Code → what it means."""

VERSION = r"[0-9]+(\.[0-9]+)*"
VERSIONS: dict[str, dict[str, str]] = {
    "distributions": {"first_toolkit": r"\d+\.\d+", "glibc": r"\d\.\d+", "gcc": VERSION},
    "toolkits": {
        "version": r"\d+\.\d+\.\d+",
        "driver_full": VERSION,
        "driver_minor": VERSION,
        "driver_bundled": VERSION,
        "gcc_max": r"\d+",
        "clang_max": r"\d+",
        "glibc_max": r"\d\.\d+",
        "sm": r"\d{2,3}",
    },
    "components": {
        "toolkit": r"\d+\.\d+\.\d+",
        "version": VERSION,
        "apt_version": VERSION + r"-\d+",
    },
    "cudnn": {
        "version": r"\d+(\.\d+){3}",
        "cuda_majors": r"\d+",
        "min_cc": r"\d+\.\d",
        "min_cc_cuda13": r"\d+\.\d",
    },
    "tensorrt": {
        "version": r"\d+(\.\d+){2,3}",
        "built_for_cuda": r"\d+\.\d+",
        "cuda_majors": r"\d+",
        "min_cc": r"\d+\.\d",
        "cudnn": r"\d+",
        "pythons": r"cp\d+t?",
    },
    "tensorrt_rtx": {"version": r"\d+(\.\d+){3}", "cuda_majors": r"\d+", "sm": r"\d{2,3}"},
    "nccl": {"version": r"\d+(\.\d+){2}", "built_for_cuda": r"\d+\.\d+", "cuda_majors": r"\d+"},
    "container_toolkit": {"version": r"\d+(\.\d+){2}"},
    "drivers": {"branch": r"\d{3}", "newest": r"\d{3}(\.\d+){1,2}", "security_floor": VERSION},
    "driver_releases": {"version": r"\d{3}(\.\d+){1,2}"},
    "archive_drivers": {"branch": r"\d{3}", "version": r"\d{3}(\.\d+){1,2}-\S+"},
    "kernels": {"series": r"\d+\.\d+", "branches": r"\d{3}"},
    "torch": {
        "version": r"\d+(\.\d+){2}",
        "cuda": r"\d+\.\d+",
        "cudnn": VERSION,
        "nccl": VERSION,
        "pythons": r"cp\d+t?",
    },
    "torch_variants": {
        "version": r"\d+(\.\d+){2}",
        "cuda": r"\d+\.\d+",
        "cudnn": VERSION,
        "sm": r"\d{2,3}",
        "sm_sbsa": r"\d{2,3}",
    },
    "tensorflow": {
        "version": r"\d+(\.\d+){2}(rc\d+)?",
        "tested_cuda": r"\d+\.\d+",
        "tested_cudnn": VERSION,
        "cuda_major": r"\d+",
        "cudnn_least": VERSION,
        "pythons": r"cp\d+t?",
    },
    "dcgm": {"version": r"\d+(\.\d+){2}", "epoch": r"\d+", "cuda_majors": r"\d+"},
    "gpus": {
        "cc": r"\d+\.\d",
        "pci_ids": r"[0-9a-f]{4}",
        "first_toolkit": r"\d+\.\d+",
        "first_driver": VERSION,
        "last_branch": r"\d{3}",
        **dict.fromkeys(("memory_gb", "memory_gbs", "watts", "nvlink_gbs"), r"\d+(\.\d+)?"),
        **dict.fromkeys(("fp64", "fp32", "tf32", "bf16", "fp16", "fp8"), r"\d+(\.\d+)?"),
        **dict.fromkeys(("sm_count", "pcie_gen"), r"\d+"),
    },
    "xids": {"code": r"\d{1,3}"},
}
"""Table → column → what its cell, or each of its words, must match whole."""
DAYS = ("date", "released", "eol")


def lint(catalogue: Catalogue) -> list[LintFinding]:
    """Return every mistake, the shipped tables' and the overlays', in the tables' order."""
    from cudactl.stack.facts.lint_facts import FACTS

    unreadable = [one for table in TABLES for one in _readable(catalogue, table)]
    if unreadable:
        return unreadable  # what other tables say of rows that cannot be read would mislead
    found: list[LintFinding] = []
    checks: tuple[Callable[[str, tuple[Row, ...]], Findings], ...] = (
        *(_keys, _days, _sources, _versions, _contested),
    )
    for table in TABLES:
        for check in checks:
            found += check(table, catalogue.table(table))
    for facts in FACTS:
        found += facts(catalogue)
    return found


def _readable(catalogue: Catalogue, table: str) -> Findings:
    """Hold the shipped cells against the model; overlays were validated when they were read."""
    model = TABLES[table]
    header, *rows = cells(catalogue.tables.get(table) or [[]])
    if not rows:
        yield LintFinding("CAT-TABLE", table, "", f"the table {table} has no rows")
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    unknown, missing = set(header) - set(model.model_fields), required - set(header)
    if unknown or missing or len(set(header)) != len(header):
        words = " ".join(sorted(unknown | missing)) or "a column stands there twice"
        yield LintFinding("CAT-COLUMNS", table, "", f"unknown or missing columns: {words}")
        return
    for number, row in enumerate(rows, 2):
        key = " ".join(v for k, v in zip(header, row, strict=False) if k in _key_columns(table))
        if len(row) != len(header):
            text = f"line {number} has {len(row)} cells, the header {len(header)}"
            yield LintFinding("CAT-ROW", table, key, text)
            continue
        try:
            model.model_validate(dict(zip(header, row, strict=True)))
        except ValidationError as wrong:
            for error in wrong.errors(include_url=False):
                where = ".".join(map(str, error["loc"]))
                yield LintFinding("CAT-ROW", table, key, f"{where}: {error['msg']}")


def _key_columns(table: str) -> tuple[str, ...]:
    return KEYS.get(table, ("version",))


def name_of(table: str, row: Row) -> str:
    """Return what findings call a row."""
    return " ".join(key_of(table, row))


def _keys(table: str, rows: tuple[Row, ...]) -> Findings:
    seen: set[tuple[str, ...]] = set()
    before: Row | None = None
    for row in rows:
        key = key_of(table, row)
        if key in seen:
            yield LintFinding("CAT-DUPLICATE", table, " ".join(key), "the key stands there twice")
        elif before is not None and order_of(table, row) < order_of(table, before):
            text = f"it stands after {name_of(table, before)}"
            yield LintFinding("CAT-NOT-SORTED", table, " ".join(key), text)
        seen.add(key)
        before = row


def _days(table: str, rows: tuple[Row, ...]) -> Findings:
    # A row may be written in a time zone that is ahead, hence the newest day there is on earth.
    today = datetime.now(timezone.utc).timestamp() + 14 * 3600
    latest = datetime.fromtimestamp(today, timezone.utc).date().isoformat()
    for row in rows:
        for column in DAYS:
            day = getattr(row, column, None)
            if not day:
                continue
            text = ""
            if not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", day):
                text = f"{column} is {day!r}"
            elif column != "eol" and day > latest:
                text = f"{column} {day} is in the future"
            elif column == "eol" and (getattr(row, "released", None) or "") > day:
                text = f"end of life {day} before the release"
            elif column == "released" and day > row.date:
                text = f"released on {day}, and collected on {row.date}"
            if text:
                yield LintFinding("CAT-DAY", table, name_of(table, row), text)


def _sources(table: str, rows: tuple[Row, ...]) -> Findings:
    for row in rows:
        text = ""
        if len(row.source.strip()) < 8 or row.source.count("(") != row.source.count(")"):
            text = f"{row.source!r} does not say where to look"
        elif re.search(r"\bindex (file )?ids?\b|\blocalhost\b", row.source):
            text = "it names a place that only its collector can reach"
        if text:
            yield LintFinding("CAT-SOURCE", table, name_of(table, row), text)


def _versions(table: str, rows: tuple[Row, ...]) -> Findings:
    for row in rows:
        for column, pattern in VERSIONS.get(table, {}).items():
            cell = getattr(row, column)
            for word in (cell,) if isinstance(cell, str) else cell or ():
                if word and not re.fullmatch(pattern, word):
                    text = f"{column}: {word!r}"
                    yield LintFinding("CAT-VERSION", table, name_of(table, row), text)


def _contested(table: str, rows: tuple[Row, ...]) -> Findings:
    for row in rows:
        columns: tuple[str, ...] = getattr(row, "contested", ())
        unknown = [c for c in columns if c not in type(row).model_fields]
        if unknown:
            text = f"contested names no column: {' '.join(unknown)}"
            yield LintFinding("CAT-CONTESTED", table, name_of(table, row), text)
        elif columns and not getattr(row, "notes", ""):
            text = f"{' '.join(columns)} contested, and no note says by whom"
            yield LintFinding("CAT-CONTESTED", table, name_of(table, row), text)
