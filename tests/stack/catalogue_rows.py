"""The catalogue's CSV files, read plainly, for the tests' second opinion on stacks.

Nothing of cudactl is imported: what a row means is found out again here, from its text.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

CATALOGUE = Path(__file__).parents[2] / "cudactl" / "catalogue"
LISTED = ("cuda", "cudnn", "tensorrt", "tensorrt_rtx", "nccl", "dcgm", "container_toolkit")
FILES = {"cuda": "toolkits"}
"""Tables whose name is not their component's."""
Row = Mapping[str, str]


@cache
def table(name: str) -> tuple[Row, ...]:
    with (CATALOGUE / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


@cache
def row(name: str, column: str, value: str) -> Row | None:
    return next((r for r in table(name) if r[column] == value), None)


@cache
def number(version: str) -> tuple[int, ...]:
    """ "13.0.2" → (13, 0, 2); what follows the first part that is no number does not count."""
    return tuple(int(n) for n in re.findall(r"\d+", re.split(r"[^0-9.]", version)[0]))


def fits(version: str, wish: str) -> bool:
    """Whether `wish` is `version` or its beginning, counted in whole components."""
    parts = number(wish)
    return number(version)[: len(parts)] == parts


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@cache
def gpus_called(name: str) -> tuple[Row, ...]:
    """Rows that a name means: a GPU's own, an alias (all of its rows), a family or a PCI id."""
    wanted = " ".join(name.casefold().split())

    def says(row: Row, column: str) -> bool:
        words = row[column].split(";" if column == "aliases" else None)
        whole = [row[column]] if column in ("name", "architecture") else words
        return wanted in [" ".join(word.casefold().split()) for word in whole]

    for column in ("name", "aliases", "architecture", "pci_ids"):
        found = tuple(r for r in table("gpus") if says(r, column))
        if found:
            return found
    return ()


def gpus_of(names: list[str]) -> list[Row] | None:
    """All rows that the names mean; None: a name is not known."""
    found = [gpus_called(name) for name in names]
    return [r for rows in found for r in rows] if all(found) else None


@cache
def known_drivers() -> frozenset[str]:
    """Every driver version or branch that some table names."""
    columns = (
        ("driver_releases", "version"),
        ("drivers", "newest"),
        ("drivers", "branch"),
        ("toolkits", "driver_full"),
    )
    return frozenset(r[column] for name, column in columns for r in table(name) if r[column])


@cache
def full(driver: str) -> str:
    """A branch's newest version; a version is returned as it is."""
    branch = row("drivers", "branch", driver)
    return (branch["newest"] or f"{driver}.9999") if branch else driver
