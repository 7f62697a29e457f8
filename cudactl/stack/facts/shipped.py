"""The catalogue's files as they come with cudactl. Standard library only: the build imports this.

In a checkout the CSV files are read, so that nothing goes stale; a wheel carries all of them in one
JSON file that its build wrote with `compiled` (hatch_build.py), and the same hash.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent.parent.parent
FOLDER = PACKAGE / "catalogue"
COMPILED = PACKAGE / "_data" / "catalogue.json"

Cells = list[list[str]]
"""A table: its header, then its rows."""


def shipped() -> tuple[str, Mapping[str, str | Cells]]:
    """Return the sha256 over all shipped tables, and the tables by name."""
    if COMPILED.is_file():
        document = json.loads(COMPILED.read_bytes())
        return document["hash"], document["tables"]
    return from_csv(FOLDER)


def from_csv(folder: Path) -> tuple[str, dict[str, str | Cells]]:
    """Return the same from CSV files; each is taken apart when somebody asks for its cells."""
    digest = hashlib.sha256()
    tables: dict[str, str | Cells] = {}
    for path in sorted(folder.glob("*.csv")):
        data = path.read_bytes()
        digest.update(f"{path.stem} {len(data)}\n".encode() + data)
        tables[path.stem] = data.decode()
    return digest.hexdigest(), tables


def compiled(folder: Path) -> str:
    """Return every CSV file of a folder as the one document that a wheel carries."""
    digest, tables = from_csv(folder)
    document = {"hash": digest, "tables": {name: cells(raw) for name, raw in tables.items()}}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def cells(table: str | Cells) -> Cells:
    """Return a table taken apart: its header, then its rows."""
    return list(csv.reader(io.StringIO(table))) if isinstance(table, str) else table
