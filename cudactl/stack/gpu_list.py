"""The catalogue's GPUs as `gpu list` shows them, read without the models.

Building the models costs more than everything else that the list does, and a list must answer at
once. The same files are read, and a test holds that both ways say the same.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from cudactl.stack.gpu_support import (
    Branch,
    branches_for,
    first_branch,
    targets_of,
    toolkits_for,
)

FOLDER = Path(__file__).parent.parent / "catalogue"


@dataclass(frozen=True)
class ListedGpu:
    """One line of the list; None is "not known"."""

    name: str
    architecture: str
    cc: str
    memory_gb: float | None
    """GB."""
    memory_gbs: float | None
    """GB/s."""
    bf16: float | None
    """Dense Tflop/s."""
    fp8: float | None
    """Dense Tflop/s."""
    watts: float | None
    """W."""
    open_module: str
    cuda_first: str | None
    cuda_last: str | None
    driver_first: str | None
    driver_last: str | None
    contested: tuple[str, ...]
    """Fields whose sources disagree."""


def listed_gpus() -> list[ListedGpu]:
    """Return every GPU of the catalogue, in its order."""
    toolkits = _rows("toolkits")
    targets = targets_of((row["version"], row["sm"].split()) for row in toolkits)
    drivers_of: dict[str, str | None] = {}
    for row in toolkits:
        drivers_of.setdefault(".".join(row["version"].split(".")[:2]), row["driver_full"] or None)
    branches = [Branch(row["branch"], tuple(row["flavours"].split())) for row in _rows("drivers")]
    listed = []
    for row in _rows("gpus"):
        minors = toolkits_for(row["cc"], targets)
        first, _ = first_branch(row["first_driver"] or None, row["first_toolkit"], drivers_of)
        drives = branches_for(row["open_module"], first, row["last_branch"] or None, branches)
        listed.append(
            ListedGpu(
                name=row["name"],
                architecture=row["architecture"],
                cc=row["cc"],
                memory_gb=figure(row["memory_gb"]),
                memory_gbs=figure(row["memory_gbs"]),
                bf16=figure(row["bf16"]),
                fp8=figure(row["fp8"]),
                watts=figure(row["watts"]),
                open_module=row["open_module"],
                cuda_first=minors[0] if minors else None,
                cuda_last=minors[-1] if minors else None,
                driver_first=drives[0].name if drives else None,
                driver_last=drives[-1].name if drives else None,
                contested=tuple(row["contested"].split()),
            )
        )
    return listed


def figure(cell: str | None) -> float | None:
    """Return a figure of the catalogue as a number; an empty cell is not known."""
    return float(cell) if cell else None


def _rows(table: str) -> list[dict[str, str]]:
    with (FOLDER / f"{table}.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
