"""Which driver: branch, exact version, kernel module flavour, and the packages of that archive.

What a server wants is asked for: kernel module, CUDA's driver libraries, nvidia-smi and the
persistence daemon. That is the compute-only installation of NVIDIA's driver guide; the desktop
metapackages (`nvidia-open`, `cuda-drivers`) would bring OpenGL and an X driver. NVIDIA's pinning
packages are not used: the lock's own preferences hold every package of the closure exactly.
"""

from __future__ import annotations

from cudactl.contracts.spec import StackSpec
from cudactl.stack.catalogue import Catalogue
from cudactl.stack.choices_apt import AptChoices
from cudactl.stack.closure import not_in_index
from cudactl.stack.facts import Distribution, DriverBranch, Flavour, Toolkit
from cudactl.stack.packages import Package, upstream
from cudactl.stack.refusals import Ruling, StackRefused
from cudactl.stack.rules import (
    Prospects,
    flavour_of,
    note_partial_support,
    refuse_old_driver,
    runs,
)
from cudactl.stack.versions import admits, numbers


def choose_driver(
    choices: AptChoices,
    spec: StackSpec,
    prospects: Prospects,
    catalogue: Catalogue,
    toolkit: Toolkit | None,
    ruling: Ruling,
) -> Flavour | None:
    """Choose the driver and return its flavour; None where the lock brings no driver."""
    named = spec.driver.branch if spec.driver is not None else None
    if named == "none":
        return None
    if named == "preinstalled":
        choices.resolved["driver"] = "preinstalled"
        if toolkit is not None:
            ruling.note(
                f"the driver is preinstalled and not checked here: CUDA {toolkit.version} needs "
                f"{toolkit.driver_minor} or later"
            )
        return None
    if prospects.branch is not None and named is not None:
        branch, package = prospects.branch, _newest(choices, prospects, prospects.branch, named)
        why = f"the spec asks for driver {named}"
    else:
        branch, package = _default(choices, prospects, catalogue, toolkit, ruling)
        why = f"branch {branch.branch} is the newest long-term or production branch that fits"
    version = upstream(package.version)
    if toolkit is not None:
        if not runs(version, toolkit):
            refuse_old_driver(version, toolkit, ruling)
        else:
            note_partial_support(version, toolkit, ruling)
    flavour = flavour_of(spec, branch)
    choices.pin_family(
        lambda p: upstream(p.version) == version and not p.name.startswith("cuda-compat-"),
        f"every package of the driver at {version}",
    )
    names = _names(prospects.distribution, branch, flavour)
    missing = [name for name in names if name not in choices.exact]
    if missing:
        raise StackRefused(
            "STACK-PACKAGE-NOT-IN-INDEX",
            f"{choices.index.source.title} has driver {version} without {', '.join(missing)}",
            expected="the packages of NVIDIA's compute-only installation",
            remedy="choose another version or flavour, or synchronise the mirror again",
        )
    choices.wish("driver", names, f"{why}, with the {flavour} kernel module")
    choices.resolved["driver"] = version
    return flavour


def _names(distribution: Distribution, branch: DriverBranch, flavour: Flavour) -> list[str]:
    open_module = "-open" if flavour == "open" else ""
    if distribution.family == "debian":
        return ["nvidia-driver-cuda", f"nvidia-kernel{open_module}-dkms"]
    suffix = _suffix(branch)
    return [
        f"libnvidia-compute{suffix}",
        f"nvidia-dkms{suffix}{open_module}",
        f"nvidia-utils{suffix}",
        f"nvidia-compute-utils{suffix}",
    ]


def _suffix(branch: DriverBranch) -> str:
    """Return what NVIDIA's Ubuntu packages of a branch carry in their names (up to 580)."""
    return f"-{branch.branch}" if branch.names == "suffixed" else ""


def _there(
    choices: AptChoices, prospects: Prospects, branch: DriverBranch
) -> tuple[str, list[Package]]:
    """Return the package that tells a branch's versions, and the ones in the index."""
    debian = prospects.distribution.family == "debian"
    name = "nvidia-driver-cuda" if debian else f"libnvidia-compute{_suffix(branch)}"
    return name, choices.index.versions(name)


def _newest(
    choices: AptChoices, prospects: Prospects, branch: DriverBranch, wanted: str
) -> Package:
    name, versions = _there(choices, prospects, branch)
    for package in versions:
        if admits(wanted, upstream(package.version)):
            return package
    raise not_in_index(choices.index, f"driver {wanted} ({name})", versions)


def _default(
    choices: AptChoices,
    prospects: Prospects,
    catalogue: Catalogue,
    toolkit: Toolkit | None,
    ruling: Ruling,
) -> tuple[DriverBranch, Package]:
    """Return the newest long-term or production branch that is there and the toolkit accepts."""
    possible: list[tuple[DriverBranch, Package]] = []
    for branch in sorted(catalogue.drivers, key=lambda row: int(row.branch), reverse=True):
        supported = branch.eol is None or branch.eol >= catalogue.day
        if branch.kind not in ("LTS", "PB") or not supported:
            continue
        _, versions = _there(choices, prospects, branch)
        for package in versions:
            version = upstream(package.version)
            if admits(branch.branch, version):
                if toolkit is None or runs(version, toolkit):
                    possible.append((branch, package))
                break
    if not possible:
        raise StackRefused(
            "STACK-NO-DRIVER",
            f"{choices.index.source.title} has no supported long-term or production driver"
            + (f" that CUDA {toolkit.version} runs on" if toolkit else ""),
            expected="one of the branches "
            + ", ".join(b.branch for b in catalogue.drivers if b.kind in ("LTS", "PB")),
            remedy='name a branch in the spec (driver: {branch: "580"}), or write branch: none',
        )
    full = [
        (branch, package)
        for branch, package in possible
        if toolkit is None
        or toolkit.driver_full is None
        or numbers(upstream(package.version)) >= numbers(toolkit.driver_full)
    ]
    return (full or possible)[0]
