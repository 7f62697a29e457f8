"""What one apt index has, as values for the solver: the catalogue's facts, narrowed to it.

The index decides what exists; the catalogue what is known of it. A version that the catalogue does
not know may still be chosen, with what its own name and version say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cudactl.stack.catalogue import Catalogue
from cudactl.stack.facts import Distribution, DriverBranch
from cudactl.stack.index_apt import AptIndex
from cudactl.stack.packages import upstream
from cudactl.stack.solver.dimensions import Choice, Dimensions, catalogue_dimensions, toolkits
from cudactl.stack.versions import numbers

CONTAINER_TOOLKIT = "nvidia-container-toolkit"
DCGM = "datacenter-gpu-manager-4-core"
BUILD = re.compile(r"\+cuda([0-9]+\.[0-9]+)$")


def index_dimensions(
    catalogue: Catalogue, index: AptIndex, distribution: Distribution
) -> Dimensions:
    """Return the values that `index` can serve, best first in every dimension."""
    found = catalogue_dimensions(catalogue)
    found["os"] = [choice for choice in found["os"] if choice.row is distribution]
    found["cuda"] = [
        choice for choice in toolkits(catalogue) if _has(index, toolkit_package(choice), choice)
    ]
    found["driver"] = _drivers(catalogue, index, distribution)
    found["cudnn"] = _cudnn(catalogue, index)
    found["tensorrt"] = _built(catalogue, index, "tensorrt", "tensorrt")
    found["nccl"] = _built(catalogue, index, "nccl", "libnccl2")
    found["container_toolkit"] = _plain(catalogue, index, "container_toolkit", CONTAINER_TOOLKIT)
    found["dcgm"] = _plain(catalogue, index, "dcgm", DCGM)
    for dim in ("cuda", "driver", "cudnn", "tensorrt", "nccl", "container_toolkit", "dcgm"):
        found[dim].sort(key=lambda choice: numbers(choice.version), reverse=True)
    return found


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
