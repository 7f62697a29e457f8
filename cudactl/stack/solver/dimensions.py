"""What the solver chooses among: one dimension a component, and the values that facts allow in it.

The catalogue gives the values here; `availability.py` narrows them to what one package index has.
A value that is newer than the catalogue carries no facts, and says so (`known` is False).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import ArchiveDriver, DriverBranch, Gpu, Torch, TorchVariant
from cudactl.stack.versions import numbers

ORDER = (
    *("os", "arch", "packages", "source", "gpu", "kernel", "cuda", "driver", "flavour", "cudnn"),
    *("tensorrt", "tensorrt_rtx", "nccl", "dcgm", "container_toolkit", "torch", "tensorflow"),
)
"""Dimensions in the order in which they are decided."""

LIBRARIES = ("cudnn", "tensorrt", "tensorrt_rtx", "nccl", "container_toolkit", "dcgm")
"""Components that a spec asks for with one version prefix each."""


@dataclass(frozen=True, eq=False)
class Choice:
    """One value of one dimension."""

    dim: str
    """Dimension, one of `ORDER`."""
    version: str
    """Version, or the value itself, e.g. "13.0.2", "open", "ubuntu-24.04"."""
    row: Any = None
    """The catalogue's row, where it has one."""
    known: bool = True
    """False where the value comes from an index and the catalogue has no facts about it."""
    named: bool = False
    """True for a value that is there only because a spec names it exactly."""
    builds: tuple[str, ...] = ()
    """CUDA versions that it is built for: minors, or majors; empty where that is not known."""
    gpus: tuple[Gpu, ...] = ()
    """gpu: every variant that the name covers."""
    chips_from: tuple[str, ...] = ()
    """gpu: for each variant, the first driver that knew its compute capability; "": not known."""
    source: str = ""
    """driver: whose packages, nvidia or distro."""
    archive: dict[str, ArchiveDriver] = field(default_factory=dict)
    """driver from a distribution: its packages by variant."""
    all_builds: bool = True
    """False where `builds` are those that were seen, and there may be others."""
    full_from: str = ""
    """cuda: driver below which it is not complete for sure, judged by its minor and older ones."""
    never: tuple[str, ...] = ()
    """Libraries of unknown builds: CUDA majors that only older, or only newer, versions have."""
    wheels: bool = False
    """cuda: whether the catalogue knows which wheels it consists of."""
    base: Torch | None = None
    """torch: the release, where this is its build for another CUDA."""
    sm: tuple[str, ...] = ()
    """torch, tensorflow: compute capabilities it can have code for; empty: not known."""
    least_driver: str = ""
    """torch: least driver for the CUDA that it brings; empty: not known."""

    @property
    def branch(self) -> DriverBranch:
        """driver: its branch."""
        assert isinstance(self.row, DriverBranch)
        return self.row


Dimensions = dict[str, list[Choice]]


def catalogue_dimensions(catalogue: Catalogue, only: Collection[str] | None = None) -> Dimensions:
    """Return every value that the catalogue knows, best first in every dimension.

    Args:
        catalogue: Facts.
        only: Dimensions that are asked about; None: all of them.
    """
    found: Dimensions = {}
    for dim, values in _VALUES.items():
        if only is None or dim in only:
            found[dim] = values(catalogue)
            if dim not in _UNORDERED:
                found[dim].sort(key=lambda choice: numbers(choice.version), reverse=True)
    return found


def _named(dim: str, *names: str) -> Callable[[Catalogue], list[Choice]]:
    return lambda _: [Choice(dim, name) for name in names]


def _plain(dim: str) -> Callable[[Catalogue], list[Choice]]:
    return lambda catalogue: [Choice(dim, row.version, row) for row in getattr(catalogue, dim)]


def _tensorrt(catalogue: Catalogue) -> list[Choice]:
    return [
        Choice(
            "tensorrt",
            row.version,
            row,
            builds=row.built_for_cuda,
            never=() if row.built_for_cuda else _never(catalogue, row.version),
        )
        for row in catalogue.tensorrt
    ]


def _of_major(dim: str) -> Callable[[Catalogue], list[Choice]]:
    return lambda catalogue: [
        Choice(dim, row.version, row, builds=row.cuda_majors) for row in getattr(catalogue, dim)
    ]


def _nccl(catalogue: Catalogue) -> list[Choice]:
    return [
        Choice("nccl", row.version, row, builds=row.built_for_cuda, all_builds=False)
        for row in catalogue.nccl
    ]


def _tensorflow(catalogue: Catalogue) -> list[Choice]:
    return [
        Choice("tensorflow", row.version, row, sm=_targets(catalogue, row.tested_cuda))
        for row in catalogue.tensorflow
    ]


def _drivers(catalogue: Catalogue) -> list[Choice]:
    return [*vendor_drivers(catalogue), *archive_drivers(catalogue)]


def vendor_drivers(catalogue: Catalogue, more: Iterable[str] = ()) -> list[Choice]:
    """Return NVIDIA's own drivers: every version that is known, and `more`."""
    versions = [row.version for row in catalogue.driver_releases]
    versions += [row.newest for row in catalogue.drivers if row.newest]
    # A branch of which no version is known stands for itself.
    versions += [row.branch for row in catalogue.drivers if not row.newest]
    found = []
    known = dict.fromkeys(versions)
    for version in dict.fromkeys([*versions, *more]):
        branch = catalogue.branch(version.split(".")[0])
        if branch is not None:
            found.append(Choice("driver", version, branch, known=version in known, source="nvidia"))
    return found


def archive_drivers(catalogue: Catalogue) -> list[Choice]:
    """Return the drivers of the distributions' own archives: one a branch and version.

    Where an archive has a branch as a server's series too, hosts get that one.
    """
    rows = catalogue.archive_drivers
    servers = {(row.os, row.branch) for row in rows if is_server(row)}
    groups: dict[tuple[str, str, str], dict[str, ArchiveDriver]] = {}
    for row in rows:
        if is_server(row) or (row.os, row.branch) not in servers:
            version = row.version.partition("-")[0]
            # A transitional package may carry the version of what it installs.
            own = version if version.partition(".")[0] == row.branch else row.branch
            groups.setdefault((row.os, row.branch, own), {})[row.variant] = row
    found = []
    for (_, name, version), variants in groups.items():
        branch = catalogue.branch(name)
        if branch is not None:
            found.append(Choice("driver", version, branch, source="distro", archive=variants))
    return found


def is_server(row: ArchiveDriver) -> bool:
    """Return True for a package of the series that is made for servers."""
    return row.variant.startswith("server-")


def archive_os(choice: Choice) -> str:
    """Return the distribution whose archive a driver is in."""
    return next(iter(choice.archive.values())).os


def gpu_choice(catalogue: Catalogue, name: str, gpus: tuple[Gpu, ...]) -> Choice:
    """Return the GPUs that a name in a spec covers."""
    chips = []
    for gpu in gpus:
        alike = [row.first_driver for row in catalogue.gpus if row.cc == gpu.cc]
        known = [driver for driver in alike if driver]
        chips.append(min(known, key=numbers) if gpu.first_driver and known else "")
    return Choice("gpu", name, gpus=gpus, chips_from=tuple(chips))


def toolkits(catalogue: Catalogue) -> list[Choice]:
    """Return the CUDA toolkits."""
    in_wheels = {row.toolkit for row in catalogue.components}
    complete: dict[tuple[int, ...], str] = {}
    for row in catalogue.toolkits:
        minor = numbers(row.minor)
        if row.driver_full:
            known = complete.get(minor)
            complete[minor] = min((row.driver_full, known or row.driver_full), key=numbers)
    return [
        Choice(
            "cuda",
            row.version,
            row,
            # A newer minor needs at least what the older ones need.
            full_from=max(
                (full for minor, full in complete.items() if minor <= numbers(row.minor)),
                key=numbers,
                default="",
            ),
            wheels=row.version in in_wheels,
        )
        for row in catalogue.toolkits
    ]


def _never(catalogue: Catalogue, version: str) -> tuple[str, ...]:
    """Return the CUDA majors that TensorRT got after a version, or dropped before it."""
    of: dict[str, list[tuple[int, ...]]] = {}
    for row in catalogue.tensorrt:
        for build in row.built_for_cuda:
            of.setdefault(build.split(".")[0], []).append(numbers(row.version))
    newest = max(of, key=int, default="")
    here = numbers(version)
    return tuple(
        major
        for major, versions in of.items()
        if here < min(versions) or (here > max(versions) and major != newest)
    )


def _targets(catalogue: Catalogue, minor: str | None) -> tuple[str, ...]:
    return next((row.sm for row in catalogue.toolkits if row.minor == minor), ())


def _torch(catalogue: Catalogue) -> list[Choice]:
    """Return PyTorch's default wheels and, after each, its builds for other CUDA minors."""
    variants: dict[str, list[TorchVariant]] = {}
    for variant in catalogue.torch_variants:
        variants.setdefault(variant.version, []).append(variant)
    found = []
    for row in catalogue.torch:
        builds = variants.get(row.version, [])
        default = next((v for v in builds if v.cuda == row.cuda), None)
        minors: list[tuple[Torch | TorchVariant, str | None, tuple[str, ...]]]
        minors = [(row, row.cuda, default.sm if default else ())]
        minors += [(v, v.cuda, v.sm) for v in builds if v.cuda != row.cuda]
        for one, minor, sm in minors:
            toolkit = next((t for t in catalogue.toolkits if t.minor == minor), None)
            found.append(
                Choice(
                    "torch",
                    row.version,
                    one,
                    builds=(minor,) if minor else (),
                    base=row,
                    sm=sm or (toolkit.sm if toolkit else ()),
                    least_driver=toolkit.driver_minor if toolkit else "",
                )
            )
    return found


_VALUES: dict[str, Callable[[Catalogue], list[Choice]]] = {
    "os": lambda catalogue: [Choice("os", row.name, row) for row in catalogue.distributions],
    "arch": _named("arch", "x86_64", "sbsa"),
    "packages": _named("packages", "apt", "wheels"),
    "source": _named("source", "nvidia", "distro"),
    "flavour": _named("flavour", "open", "proprietary"),
    "cuda": toolkits,
    "cudnn": _of_major("cudnn"),
    "tensorrt": _tensorrt,
    "tensorrt_rtx": _of_major("tensorrt_rtx"),
    "nccl": _nccl,
    "dcgm": _plain("dcgm"),
    "container_toolkit": _plain("container_toolkit"),
    "tensorflow": _tensorflow,
    "torch": _torch,
    "driver": _drivers,
}
_UNORDERED = ("os", "arch", "packages", "source", "flavour")
