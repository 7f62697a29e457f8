"""Which drivers a distribution's own archive has, read from its index, as values for the solver.

Ubuntu has a package family per branch and series (`nvidia-headless-580-server-open`); a name often
stays when its branch is gone, and then only depends on another branch's. Debian has one family
without a branch in its names, and `tesla` families for older branches. Every version that the
suites hold is a value of its own, so a branch is judged by the packages that exist, not by a name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import ArchiveDriver, Distribution
from cudactl.stack.index.packages import Package, Relation, provides, upstream
from cudactl.stack.index.suites import SuiteIndex
from cudactl.stack.solver.dimensions import Choice
from cudactl.stack.versions import numbers

_UBUNTU = re.compile(r"nvidia-headless-(?P<branch>\d{3})(?P<series>-server)?(?P<open>-open)?")
_DEBIAN = re.compile(r"nvidia-(?P<family>tesla-(?:\d{3}-)?)?(?P<open>open-)?kernel-dkms")
_SOURCES = re.compile(r"(nvidia|libnvidia|fabric-manager|linux-restricted-modules)")
_MOST_STEPS = 5
"""Transitional packages that may lead to each other."""


def is_driver_package(package: Package) -> bool:
    """Return True for what belongs to NVIDIA's driver in an archive: by its name or its source.

    Only these are locked; everything else is the distribution's own.
    """
    if re.search(r"(^|-|lib)nvidia(-|$)", package.name):
        return True
    return _SOURCES.match(package.fields.get("Source", "")) is not None


class DriverPackages:
    """An archive's index as a closure sees it: the driver's packages, and that others exist."""

    def __init__(self, index: SuiteIndex) -> None:
        self.index, self.title = index, index.title

    @property
    def names(self) -> Collection[str]:
        """Names of the archive's packages, others among them."""
        return self.index.names

    def __contains__(self, name: str) -> bool:
        return bool(self.versions(name))

    def versions(self, name: str) -> list[Package]:
        """Return the driver's versions of a package, newest first."""
        return [p for p in self.index.versions(name) if is_driver_package(p)]

    def providing(self, name: str) -> list[Package]:
        """Return the driver's packages that provide a virtual name."""
        return [p for p in self.index.providing(name) if is_driver_package(p)]

    def elsewhere(self, relation: Relation) -> bool:
        """Return True when another package of the archive satisfies a relation."""
        return any(
            not is_driver_package(package)
            and (
                (package.name == relation.name and relation.admits(package.version))
                or provides(package, relation)
            )
            for package in (
                *self.index.versions(relation.name),
                *self.index.providing(relation.name),
            )
        )


@dataclass(frozen=True)
class ArchiveNames:
    """What one driver's packages are called in an archive."""

    kernel: tuple[str, ...]
    """Kernel module, built on the host, and what belongs to it."""
    prebuilt: tuple[str, ...]
    """The same with a signed module of the archive's; empty where there is none."""
    libraries: tuple[str, ...]
    """CUDA's driver library, nvidia-smi and the persistence daemon."""
    teller: str
    """The package whose version is the driver's."""
    fabric_manager: str = "nvidia-fabricmanager"
    """Fabric manager; where the archive has none, what it would be called."""
    imex: str = "nvidia-imex"
    """IMEX, likewise."""


def archive_names(head: ArchiveDriver, family: str, kernel: str | None) -> ArchiveNames:
    """Return the names around the package that a driver was found by.

    Args:
        head: Row that `archive_choices` made, or the catalogue's.
        family: "ubuntu" or "debian".
        kernel: Kernel flavour or release that the spec names.
    """
    if family == "debian":
        found = _DEBIAN.fullmatch(head.package)
        assert found is not None
        tesla = found["family"] or ""
        library = f"libnvidia-{tesla}"
        cuda = f"{library}cuda1" if tesla else "libcuda1"
        return ArchiveNames(
            kernel=(head.package,),
            prebuilt=(),
            libraries=(
                *(cuda, f"{library}ml1", f"{library}cfg1"),
                *(f"nvidia-{tesla}smi", "nvidia-persistenced"),
            ),
            teller=cuda,
        )
    found = _UBUNTU.fullmatch(head.package)
    assert found is not None
    branch = f"{found['branch']}{found['series'] or ''}"
    flavour = found["open"] or ""
    modules = f"linux-modules-nvidia-{branch}{flavour}-{kernel}"
    return ArchiveNames(
        kernel=(head.package,),
        prebuilt=(f"nvidia-headless-no-dkms-{branch}{flavour}", modules) if kernel else (),
        libraries=(f"nvidia-utils-{branch}",),
        teller=f"libnvidia-compute-{branch}",
        fabric_manager=f"nvidia-fabricmanager-{found['branch']}",
        imex=f"nvidia-imex-{found['branch']}",
    )


def archive_choices(
    catalogue: Catalogue, index: SuiteIndex, distribution: Distribution
) -> list[Choice]:
    """Return the drivers of an archive: one value a branch and version.

    Of a branch whose newest package is transitional, older versions that are still in the archive
    answer only to a spec that names them exactly.
    """
    groups: dict[str, dict[str, dict[str, ArchiveDriver]]] = {}
    for row, version in _rows(index, distribution):
        variants = groups.setdefault(row.branch, {}).setdefault(version, {})
        variants.setdefault(row.variant, row)
    known = {row.version for row in catalogue.driver_releases}
    known |= {row.newest for row in catalogue.drivers if row.newest}
    known |= {_own(row) for row in catalogue.archive_drivers}
    found = []
    for name, versions in groups.items():
        branch = catalogue.branch(name)
        if branch is None:
            continue
        newest = max(versions, key=numbers)
        gone = all(row.becomes for row in versions[newest].values())
        for version, variants in versions.items():
            # A transitional package may carry the version of what it installs.
            own = version if version.partition(".")[0] == name else name
            found.append(
                Choice(
                    "driver",
                    own,
                    branch,
                    known=own in known or own == name,
                    named=gone and version != newest,
                    source="distro",
                    archive=variants,
                )
            )
    return found


def _own(row: ArchiveDriver) -> str:
    return upstream(row.version)


def _rows(index: SuiteIndex, distribution: Distribution) -> Iterator[tuple[ArchiveDriver, str]]:
    """Yield a row for every driver of the index, with its version, and the preferred ones first."""
    debian = distribution.family == "debian"
    head = _DEBIAN if debian else _UBUNTU
    heads = [(name, head.fullmatch(name)) for name in index.names if name.startswith("nvidia-")]
    matched = [(name, match) for name, match in heads if match is not None]
    servers = {match["branch"] for _, match in matched if not debian and match["series"]}
    for name, match in sorted(matched, key=lambda one: len(one[0])):
        if not debian and match["branch"] in servers and not match["series"]:
            # Both series exist: hosts get the one that is made for servers.
            continue
        flavour = "open" if match["open"] else "proprietary"
        series = "server-" if not debian and match["series"] else ""
        for package in index.versions(name):
            version = upstream(package.version)
            row = ArchiveDriver.model_validate(
                {
                    "os": distribution.name,
                    "branch": version.partition(".")[0] if debian else match["branch"],
                    "variant": f"{series}{flavour}",
                    "package": name,
                    "version": package.version,
                    "becomes": None if debian else _becomes(index, package),
                    "date": index.day or "1970-01-01",
                    "source": f"{index.file_of(package).title} of {index.day or 'unknown day'}",
                }
            )
            yield row, version


def _becomes(index: SuiteIndex, package: Package) -> str | None:
    """Return the package that a transitional one leads to in the end, or None."""
    at, seen = package, [package.name]
    while len(seen) <= _MOST_STEPS:
        others = [
            group[0].name
            for group in at.depends
            if _UBUNTU.fullmatch(group[0].name) and group[0].name not in seen
        ]
        if not others:
            break
        seen.append(others[0])
        there = index.versions(others[0])
        if not there:
            break
        at = there[0]
    return seen[-1] if len(seen) > 1 else None
