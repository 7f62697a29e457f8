"""The catalogue: what is known of toolkits, drivers, libraries and distributions, row by row.

Data, not code: the rows are CSV files in `cudactl/catalogue/`, each with its source and date. They
are read once, validated, and never changed. An empty cell means "not known", and stays unknown.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, TypeAdapter

from cudactl.contracts.base import Contract
from cudactl.contracts.spec import OsName

Words = Annotated[tuple[str, ...], BeforeValidator(lambda v: tuple(v.split()))]
Unknown = Annotated[str | None, BeforeValidator(lambda v: v or None)]
Flavour = Literal["open", "proprietary"]


class Row(Contract):
    """One fact."""

    date: str
    """Day it was collected, ISO 8601."""
    source: str
    """Where it was read."""


class Distribution(Row):
    """A distribution that NVIDIA publishes a repository for."""

    name: OsName
    """Name in specs."""
    codename: str
    """Distribution's code name."""
    family: Literal["ubuntu", "debian"]
    """Whose package names NVIDIA follows in it."""
    repository: str
    """Folder below NVIDIA's repositories."""
    key_file: str
    """Name of the key file in that folder."""
    fingerprint: str
    """Full fingerprint of the key that must have signed the index."""
    first_toolkit: str
    """First CUDA minor in that repository."""
    glibc: str
    """C library."""
    gcc: str
    """Default compiler."""
    python: str
    """Interpreter tag of the distribution's Python."""


class Toolkit(Row):
    """A CUDA toolkit release."""

    version: str
    """Three-part version."""
    released: Unknown
    """Day of the release."""
    driver_full: Unknown
    """Least driver for all of its features (Linux)."""
    driver_minor: str
    """Least driver with minor-version compatibility (Linux)."""
    sm: Words
    """Compute capabilities that its compiler targets, without the dot."""
    gcc_max: Unknown
    """Newest host compiler (major) that nvcc accepts."""
    glibc_max: Unknown
    """Newest C library whose headers nvcc accepts."""
    notes: str
    """Remarks."""

    @property
    def minor(self) -> str:
        """E.g. "13.0"."""
        return ".".join(self.version.split(".")[:2])

    @property
    def major(self) -> str:
        """E.g. "13"."""
        return self.version.split(".")[0]


class Component(Row):
    """One part of a toolkit release, with its version as wheel and as Debian package."""

    toolkit: str
    """Toolkit release."""
    wheel: str
    """Wheel project."""
    version: str
    """Upstream version."""
    apt: str
    """Debian package; empty where there is none."""
    apt_version: str
    """Debian version."""


class Cudnn(Row):
    """A cuDNN release."""

    version: str
    """Four-part version."""
    cuda_majors: Words
    """CUDA majors it is built for."""
    min_cc: Unknown
    """Least compute capability."""
    notes: str
    """Remarks."""


class TensorRT(Row):
    """A TensorRT release."""

    version: str
    """Four-part version."""
    built_for_cuda: Words
    """CUDA minors it is built for; a 12.x build serves all of CUDA 12."""
    min_cc: Unknown
    """Least compute capability."""
    notes: str
    """Remarks."""


class TensorRTRtx(Row):
    """A TensorRT for RTX release."""

    version: str
    """Four-part version."""
    cuda_majors: Words
    """CUDA majors it is built for."""
    sm: Words
    """Compute capabilities that engines can be built for."""
    notes: str
    """Remarks."""


class Nccl(Row):
    """An NCCL release."""

    version: str
    """Three-part version."""
    built_for_cuda: Words
    """CUDA minors it is built for."""
    notes: str
    """Remarks."""


class ContainerToolkit(Row):
    """An NVIDIA container toolkit release."""

    version: str
    """Three-part version."""
    notes: str
    """Remarks."""


class DriverBranch(Row):
    """A driver branch."""

    branch: str
    """First number of its versions."""
    kind: Literal["LTS", "PB", "NFB", ""]
    """Long-term support, production, new feature; empty: not known."""
    released: Unknown
    """Day of the first release."""
    eol: Unknown
    """Last day of support."""
    newest: Unknown
    """Newest version known."""
    flavours: Words
    """Kernel module flavours it offers: open, proprietary."""
    default_flavour: Flavour
    """Flavour that `auto` means."""
    names: Literal["suffixed", "unsuffixed"]
    """Whether NVIDIA's Ubuntu packages carry the branch in their names."""
    notes: str
    """Remarks."""


class DriverRelease(Row):
    """A driver version."""

    version: str
    """Version."""
    released: Unknown
    """Day of the release."""


R = TypeVar("R", bound=Row)


class Catalogue(Contract):
    """Everything that is known, oldest first in every table."""

    hash: str
    """sha256 over all tables."""
    distributions: tuple[Distribution, ...]
    """Distributions."""
    toolkits: tuple[Toolkit, ...]
    """CUDA toolkits, 11.7 and later."""
    components: tuple[Component, ...]
    """Parts of toolkits, 12.4 and later."""
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


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's leading dotted numbers, for comparing: "580.95.05" → (580, 95, 5)."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def admits(prefix: str, version: str) -> bool:
    """Return True when `prefix` covers `version` by dotted component: "10.1" is not 10.13."""
    wanted = numbers(prefix)
    return numbers(version)[: len(wanted)] == wanted


def nearest(wanted: str, versions: Iterable[str], count: int = 3) -> list[str]:
    """Return the versions nearest to one that does not exist, for a remedy; nearest first."""
    goal = numbers(wanted)

    def distance(version: str) -> tuple[int, ...]:
        padded = (*numbers(version), 0, 0, 0, 0)
        return tuple(abs(a - b) for a, b in zip(goal, padded, strict=False))

    return sorted(dict.fromkeys(versions), key=distance)[:count]
