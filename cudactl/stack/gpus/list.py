"""The catalogue's GPUs as `gpu list` shows them, read without the models.

Loading the models costs more than everything else that the list does, and a list must answer at
once. So the shipped tables are read as they are; only where an overlay may have changed them are
the models asked. A test holds that both ways say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cudactl.stack.facts.overlay_files import overlay_files
from cudactl.stack.facts.shipped import cells, shipped
from cudactl.stack.gpus.support import (
    Branch,
    branches_for,
    first_branch,
    support_of,
    targets_of,
    toolkits_for,
)

if TYPE_CHECKING:
    from cudactl.stack.facts.catalogue import Catalogue


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
    """Return every GPU of the catalogue, in its order.

    Raises:
        UsageError: OVERLAY-…, for an overlay that cannot be read.
    """
    if overlay_files():
        from cudactl.stack.facts.catalogue import load_catalogue

        return listed_from_models(load_catalogue())
    return _listed_from_cells()


def listed_from_models(catalogue: Catalogue) -> list[ListedGpu]:
    """Return the list from a catalogue, overlays and all."""
    listed = []
    for gpu in catalogue.gpus:
        support = support_of(catalogue, gpu)
        listed.append(
            ListedGpu(
                name=gpu.name,
                architecture=gpu.architecture,
                cc=gpu.cc,
                memory_gb=figure(gpu.memory_gb),
                memory_gbs=figure(gpu.memory_gbs),
                bf16=figure(gpu.bf16),
                fp8=figure(gpu.fp8),
                watts=figure(gpu.watts),
                open_module=gpu.open_module,
                cuda_first=support.cuda[0] if support.cuda else None,
                cuda_last=support.cuda[-1] if support.cuda else None,
                driver_first=support.drivers[0].first if support.drivers else None,
                driver_last=support.drivers[-1].last if support.drivers else None,
                contested=gpu.contested,
            )
        )
    return listed


def _listed_from_cells() -> list[ListedGpu]:
    _, tables = shipped()
    rows = {name: _rows(cells(tables[name])) for name in ("toolkits", "drivers", "gpus")}
    targets = targets_of((row["version"], row["sm"].split()) for row in rows["toolkits"])
    drivers_of: dict[str, str | None] = {}
    for row in rows["toolkits"]:
        drivers_of.setdefault(".".join(row["version"].split(".")[:2]), row["driver_full"] or None)
    branches = [Branch(row["branch"], tuple(row["flavours"].split())) for row in rows["drivers"]]
    listed = []
    for row in rows["gpus"]:
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


def _rows(table: list[list[str]]) -> list[dict[str, str]]:
    header, *rest = table
    return [dict(zip(header, row, strict=True)) for row in rest]
