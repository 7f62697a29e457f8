"""What a package name really means, where it is not what it says.

The catalogue's table of names is data; this reads it for one name on one distribution. Used by
`stack why NAME` for packages that no lock of ours would hold.
"""

from __future__ import annotations

import re

from cudactl.contracts.verdict import SpecFact, SpecFinding
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import PackageMeaning
from cudactl.stack.solver.constraints.rule import fact
from cudactl.stack.versions import numbers

IMPOSSIBLE = ("PKG-NO-SUCH-NAME", "PKG-WRONG-GENERATION", "PKG-VIRTUAL", "PKG-JETSON")
"""Codes of names that no repository of that kind can install."""


def explain_package(catalogue: Catalogue, name: str, os: str) -> list[SpecFinding]:
    """Return what is to be said of a package name; nothing where it means what it says.

    Args:
        catalogue: Facts.
        name: Package name, as apt takes it ("cuda-13-1", also "cuda-13-1=13.1.0-1").
        os: Distribution, e.g. "ubuntu-24.04"; whose archive the name could come from.
    """
    bare = name.partition("=")[0]
    family = os.partition("-")[0]
    found = []
    for row in catalogue.packages:
        if row.where in ("nvidia", "pypi", family) and (
            re.fullmatch(row.pattern, bare) or re.fullmatch(row.pattern, name)
        ):
            found.append(_finding(row, bare))
    found += _archive(catalogue, name, os)
    found += _toolkit(catalogue, bare, os)
    return sorted(found, key=lambda finding: finding.severity != "refused")


def _finding(row: PackageMeaning, name: str) -> SpecFinding:
    whose = {"nvidia": "in NVIDIA's repository", "pypi": "on the package index"}.get(
        row.where, f"in {row.where.capitalize()}'s archive"
    )
    return SpecFinding(
        code=row.code,
        severity="refused" if row.code in IMPOSSIBLE else "flagged",
        text=f"{name} {whose}: {row.means}",
        facts=[fact(row.means, row)],
        remedy=f"take {row.instead}",
    )


def _archive(catalogue: Catalogue, name: str, os: str) -> list[SpecFinding]:
    """Say what a driver package of the distribution's own archive really installs."""
    bare, _, version = name.partition("=")
    for row in catalogue.archive_drivers:
        if row.os != os or row.package != bare:
            continue
        if version and version != row.version:
            return [
                SpecFinding(
                    code="PKG-VERSION-GONE",
                    severity="flagged",
                    text=f"{os}'s archive keeps one version of a package: {bare} is {row.version} "
                    f"there, and {version} is gone",
                    facts=[fact(f"{bare} is {row.version}", row)],
                    remedy="name the branch, not a version; or take NVIDIA's repository, which "
                    "keeps old versions",
                )
            ]
        if row.becomes:
            return [
                SpecFinding(
                    code="PKG-TRANSITIONAL",
                    severity="flagged",
                    text=f"{bare} {row.version} of {os}'s archive is transitional: it installs "
                    f"{row.becomes}",
                    facts=[fact(f"{bare} only depends on {row.becomes}", row)],
                    remedy=f"take {row.becomes}, by its own name",
                )
            ]
    return []


def _toolkit(catalogue: Catalogue, name: str, os: str) -> list[SpecFinding]:
    """Say when no repository has a toolkit's packages: never released, or not for that system."""
    named = re.fullmatch(r"(?:cuda|cuda-toolkit|cuda-nvcc)-([0-9]+)-([0-9]+)", name)
    if named is None:
        return []
    minor = f"{named[1]}.{named[2]}"
    rows = [row for row in catalogue.toolkits if row.minor == minor]
    known = [numbers(row.minor) for row in catalogue.toolkits]
    if not rows and min(known) < numbers(minor) < max(known):
        told = fact(f"no release of CUDA {minor} is known", catalogue.toolkits[-1])
        text, instead = f"there never was a CUDA {minor}", "take a minor that exists"
        return [_impossible(text, told, instead)]
    for distribution in catalogue.distributions:
        first = distribution.first_toolkit
        if distribution.name == os and numbers(minor) < numbers(first):
            told = fact(f"{distribution.repository} begins with CUDA {first}", distribution)
            text = f"NVIDIA's repository for {os} has no {name}: it begins with CUDA {first}"
            return [_impossible(text, told, f"take CUDA {first} or later, or another os")]
    return []


def _impossible(text: str, told: SpecFact, remedy: str) -> SpecFinding:
    return SpecFinding(
        code="PKG-NO-SUCH-NAME", severity="refused", text=text, facts=[told], remedy=remedy
    )
