"""The catalogue: what is known of toolkits, drivers, libraries and distributions, row by row.

Data, not code: the rows are CSV files in `cudactl/catalogue/`, each with its source and date, and
overlays of the site can add to them (`overlays.py`). They are read once and never changed; a
table's rows are made when somebody first asks for them. An empty cell means "not known", and stays
unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cudactl.stack.facts.overlay_files import overlay_files
from cudactl.stack.facts.overlays import Overlay, overlaid, read_overlay
from cudactl.stack.facts.rows import (
    ArchiveDriver,
    Component,
    ContainerToolkit,
    Cudnn,
    Dcgm,
    Distribution,
    DriverBranch,
    DriverRelease,
    Gpu,
    Kernel,
    Nccl,
    PackageMeaning,
    Row,
    Tensorflow,
    TensorRT,
    TensorRTRtx,
    Toolkit,
    Torch,
    TorchVariant,
)
from cudactl.stack.facts.shipped import Cells, shipped
from cudactl.stack.facts.tables import TABLES as TABLES
from cudactl.stack.facts.tables import rows_of
from cudactl.stack.facts.xids import Xid


class Catalogue:
    """Everything that is known, oldest first in every table.

    `digest` is the hash of the shipped tables; `tables` holds them as they were read.
    """

    hash: str
    """sha256 over all tables and overlays."""
    overlays: tuple[Overlay, ...]
    """Overlays that were used; of two that name the same row the later one counts."""
    distributions: tuple[Distribution, ...]
    """Distributions."""
    toolkits: tuple[Toolkit, ...]
    """CUDA toolkits, 11.7 and later."""
    components: tuple[Component, ...]
    """Parts of toolkits, 11.8 and later."""
    cudnn: tuple[Cudnn, ...]
    """cuDNN, 8.9 and later."""
    tensorrt: tuple[TensorRT, ...]
    """TensorRT, 8.6 and later."""
    tensorrt_rtx: tuple[TensorRTRtx, ...]
    """TensorRT for RTX."""
    nccl: tuple[Nccl, ...]
    """NCCL."""
    container_toolkit: tuple[ContainerToolkit, ...]
    """NVIDIA container toolkit."""
    drivers: tuple[DriverBranch, ...]
    """Driver branches, 470 and later."""
    driver_releases: tuple[DriverRelease, ...]
    """Driver versions."""
    archive_drivers: tuple[ArchiveDriver, ...]
    """Driver packages of the distributions' own archives."""
    kernels: tuple[Kernel, ...]
    """Kernel series with signed driver modules."""
    dcgm: tuple[Dcgm, ...]
    """DCGM."""
    torch: tuple[Torch, ...]
    """PyTorch, as the package index serves it."""
    torch_variants: tuple[TorchVariant, ...]
    """PyTorch's builds for one CUDA minor."""
    tensorflow: tuple[Tensorflow, ...]
    """TensorFlow."""
    gpus: tuple[Gpu, ...]
    """GPUs."""
    packages: tuple[PackageMeaning, ...]
    """Package names that mean something else than they say."""
    xids: tuple[Xid, ...]
    """What the driver's error codes in the kernel's log mean."""

    def __init__(
        self,
        digest: str,
        tables: Mapping[str, str | Cells],
        overlays: Sequence[Overlay] = (),
    ) -> None:
        self.overlays = tuple(overlays)
        self.tables = tables
        self.hash = digest
        if overlays:
            parts = (digest, *(one.sha256 for one in overlays))
            self.hash = hashlib.sha256("\n".join(parts).encode()).hexdigest()

    if not TYPE_CHECKING:  # a checker must see the tables above, not any name

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            """Make a table's rows, the first time that somebody asks for them."""
            if name not in TABLES:
                raise AttributeError(f"the catalogue has no table {name!r}")
            rows = overlaid(name, rows_of(name, self.tables[name]), self.overlays)
            self.__dict__[name] = rows
            return rows

    @cached_property
    def day(self) -> str:
        """The day the newest row was collected; ends of life are judged by it."""
        return max(row.date for row in (*self.drivers, *self.toolkits))

    def table(self, name: str) -> tuple[Row, ...]:
        """Return a table by its name."""
        rows: tuple[Row, ...] = getattr(self, name)
        return rows

    def distribution(self, name: str) -> Distribution:
        """Return the distribution that specs call `name`."""
        return next(row for row in self.distributions if row.name == name)

    def components_of(self, toolkit: str) -> list[Component]:
        """Return the parts of a toolkit release; empty where they are not known."""
        return [row for row in self.components if row.toolkit == toolkit]

    def branch(self, name: str) -> DriverBranch | None:
        """Return a driver branch."""
        return next((row for row in self.drivers if row.branch == name), None)


def assemble(overlay_paths: Sequence[Path] = ()) -> Catalogue:
    """Return the shipped catalogue with these overlays over it.

    Raises:
        UsageError: OVERLAY-….
    """
    digest, tables = shipped()
    return Catalogue(digest, tables, [read_overlay(path) for path in overlay_paths])


@lru_cache(maxsize=1)
def load_catalogue() -> Catalogue:
    """Return the catalogue of this machine; later calls return the same object.

    Raises:
        UsageError: OVERLAY-…, for an overlay that cannot be read.
    """
    return assemble(overlay_files())
