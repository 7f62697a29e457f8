"""What the apt indexes have, as values for the solver: the catalogue's facts, narrowed to them.

The index decides what exists; the catalogue what is known of it. A version that the catalogue does
not know may still be chosen, with what its own name and version say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Distribution, DriverBranch
from cudactl.stack.index.apt import AptIndex
from cudactl.stack.index.packages import upstream
from cudactl.stack.index.suites import SuiteIndex
from cudactl.stack.lock.archive_drivers import archive_choices
from cudactl.stack.solver.dimensions import Choice, Dimensions, catalogue_dimensions, toolkits
from cudactl.stack.versions import numbers

CONTAINER_TOOLKIT = "nvidia-container-toolkit"
DCGM = "datacenter-gpu-manager-4-core"
BUILD = re.compile(r"\+cuda([0-9]+\.[0-9]+)$")


FROM_INDEX = ("cuda", "driver", "cudnn", "tensorrt", "nccl", "container_toolkit", "dcgm")
"""Dimensions whose values an index narrows."""


def index_dimensions(
    catalogue: Catalogue,
    index: AptIndex | None,
    distribution: Distribution,
    only: Collection[str],
    archive: SuiteIndex | None = None,
) -> Dimensions:
    """Return the values of the asked dimensions that the indexes can serve, best first in each.

    Args:
        catalogue: Facts.
        index: NVIDIA's; None where only the archive is asked.
        distribution: The target's distribution.
        only: Dimensions that are asked about.
        archive: The distribution's own, where the driver comes from it.
    """
    narrowed: dict[str, Callable[[], list[Choice]]] = {
        "os": lambda: [Choice("os", distribution.name, distribution)]
    }
    if index is not None:
        narrowed |= _vendor(catalogue, index, distribution)
    if archive is not None:
        narrowed["driver"] = lambda: archive_choices(catalogue, archive, distribution)
    found = catalogue_dimensions(catalogue, set(only) - set(narrowed))
    for dim, values in narrowed.items():
        if dim in only:
            found[dim] = sorted(values(), key=lambda c: numbers(c.version), reverse=True)
    return found


def _vendor(
    catalogue: Catalogue, index: AptIndex, distribution: Distribution
) -> dict[str, Callable[[], list[Choice]]]:
    return {
        "cuda": lambda: [
            choice for choice in toolkits(catalogue) if _has(index, toolkit_package(choice), choice)
        ],
        "driver": lambda: _drivers(catalogue, index, distribution),
        "cudnn": lambda: _cudnn(catalogue, index),
        "tensorrt": lambda: _built(catalogue, index, "tensorrt", "tensorrt"),
        "nccl": lambda: _built(catalogue, index, "nccl", "libnccl2"),
        "container_toolkit": lambda: _plain(
            catalogue, index, "container_toolkit", CONTAINER_TOOLKIT
        ),
        "dcgm": lambda: _plain(catalogue, index, "dcgm", DCGM),
    }


def toolkit_package(cuda: Choice) -> str:
    """Return the metapackage of a toolkit."""
    return f"cuda-toolkit-{cuda.row.minor.replace('.', '-')}"


def driver_package(distribution: Distribution, branch: DriverBranch) -> str:
    """Return the package whose versions are a branch's versions."""
    if distribution.family == "debian":
        return "nvidia-driver-cuda"
    return f"libnvidia-compute{driver_suffix(branch)}"


def driver_suffix(branch: DriverBranch) -> str:
    """Return what NVIDIA's Ubuntu packages of a branch carry in their names (up to 580)."""
    return f"-{branch.branch}" if branch.names == "suffixed" else ""


def cudnn_package(major: str) -> str:
    """Return cuDNN 9's library package for a CUDA major."""
    return f"libcudnn9-cuda-{major}"


def _has(index: AptIndex, name: str, choice: Choice) -> bool:
    return any(upstream(p.version) == choice.version for p in index.versions(name))


def _drivers(catalogue: Catalogue, index: AptIndex, distribution: Distribution) -> list[Choice]:
    known = {row.version for row in catalogue.driver_releases}
    known |= {row.newest for row in catalogue.drivers if row.newest}
    found = []
    for branch in catalogue.drivers:
        name = driver_package(distribution, branch)
        for version in dict.fromkeys(upstream(p.version) for p in index.versions(name)):
            if version.split(".")[0] == branch.branch:
                found.append(
                    Choice("driver", version, branch, known=version in known, source="nvidia")
                )
    return found


def _cudnn(catalogue: Catalogue, index: AptIndex) -> list[Choice]:
    majors: dict[str, list[str]] = {}
    for major in sorted({row.major for row in catalogue.toolkits}):
        for package in index.versions(cudnn_package(major)):
            majors.setdefault(upstream(package.version), []).append(major)
    for package in index.versions("libcudnn8"):
        build = BUILD.search(package.version)
        if build is not None:
            majors.setdefault(upstream(package.version), []).append(build.group(1).split(".")[0])
    return _choices(catalogue, "cudnn", majors)


def _built(catalogue: Catalogue, index: AptIndex, dim: str, name: str) -> list[Choice]:
    builds: dict[str, list[str]] = {}
    for package in index.versions(name):
        build = BUILD.search(package.version)
        if build is not None:
            builds.setdefault(upstream(package.version), []).append(build.group(1))
    return _choices(catalogue, dim, builds)


def _plain(catalogue: Catalogue, index: AptIndex, dim: str, name: str) -> list[Choice]:
    return _choices(catalogue, dim, {upstream(p.version): [] for p in index.versions(name)})


def _choices(catalogue: Catalogue, dim: str, builds: dict[str, list[str]]) -> list[Choice]:
    rows = {row.version: row for row in _table(catalogue, dim)}
    return [
        Choice(
            dim,
            version,
            rows.get(version),
            known=version in rows,
            builds=tuple(dict.fromkeys(of)),
        )
        for version, of in builds.items()
    ]


def _table(catalogue: Catalogue, dim: str) -> Iterable[Any]:
    return getattr(catalogue, dim)  # type: ignore[no-any-return]
