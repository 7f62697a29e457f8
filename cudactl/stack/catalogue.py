"""The catalogue: what is known of toolkits, drivers, libraries and distributions, row by row.

Data, not code: the rows are CSV files in `cudactl/catalogue/`, each with its source and date. They
are read once, validated, and never changed. An empty cell means "not known", and stays unknown.
"""

from __future__ import annotations

import csv
import hashlib
import io
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter

from cudactl.contracts.base import Contract
from cudactl.stack.facts import (
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


class Catalogue(Contract):
    """Everything that is known, oldest first in every table."""

    hash: str
    """sha256 over all tables."""
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

    @cached_property
    def day(self) -> str:
        """The day the newest row was collected; ends of life are judged by it."""
        return max(row.date for row in (*self.drivers, *self.toolkits))

    def distribution(self, name: str) -> Distribution:
        """Return the distribution that specs call `name`."""
        return next(row for row in self.distributions if row.name == name)

    def components_of(self, toolkit: str) -> list[Component]:
        """Return the parts of a toolkit release; empty where they are not known."""
        return [row for row in self.components if row.toolkit == toolkit]

    def branch(self, name: str) -> DriverBranch | None:
        """Return a driver branch."""
        return next((row for row in self.drivers if row.branch == name), None)


TABLES: dict[str, type[Row]] = {
    "distributions": Distribution,
    "toolkits": Toolkit,
    "components": Component,
    "cudnn": Cudnn,
    "tensorrt": TensorRT,
    "tensorrt_rtx": TensorRTRtx,
    "nccl": Nccl,
    "container_toolkit": ContainerToolkit,
    "drivers": DriverBranch,
    "driver_releases": DriverRelease,
    "archive_drivers": ArchiveDriver,
    "kernels": Kernel,
    "dcgm": Dcgm,
    "torch": Torch,
    "torch_variants": TorchVariant,
    "tensorflow": Tensorflow,
    "gpus": Gpu,
    "packages": PackageMeaning,
}


@lru_cache(maxsize=1)
def load_catalogue() -> Catalogue:
    """Read the catalogue that came with cudactl; later calls return the same object."""
    folder = files("cudactl") / "catalogue"
    digest = hashlib.sha256()
    tables: dict[str, Any] = {}
    for name, model in TABLES.items():
        data = (folder / f"{name}.csv").read_bytes()
        digest.update(f"{name} {len(data)}\n".encode() + data)
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        tables[name] = TypeAdapter(tuple[model, ...]).validate_python(rows)  # type: ignore[valid-type]
    # Validated row by row above.
    return Catalogue.model_construct(hash=digest.hexdigest(), **tables)
