"""What the catalogue says about a wish, before any index is asked.

A small set of rules for now: unknown versions, toolkit and driver, toolkit and distribution, cuDNN
and TensorRT builds. What this form cannot honour yet is refused by name, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cudactl.contracts.spec import StackSpec
from cudactl.stack.catalogue import Catalogue
from cudactl.stack.facts import Distribution, DriverBranch, Flavour, Toolkit
from cudactl.stack.refusals import Ruling, StackRefused, listed
from cudactl.stack.versions import admits, nearest, numbers

NEED_CUDA = ("cudnn", "tensorrt", "tensorrt_rtx", "nccl")
"""Components whose packages differ by CUDA version."""


@dataclass(frozen=True)
class Prospects:
    """What a wish leaves open, as far as the catalogue can tell."""

    distribution: Distribution
    """Target."""
    toolkits: tuple[Toolkit, ...]
    """Toolkits that fit, newest first; empty without a CUDA wish."""
    branch: DriverBranch | None
    """The driver branch that is named."""


def prospects(spec: StackSpec, catalogue: Catalogue, ruling: Ruling) -> Prospects:
    """Check a wish against the catalogue.

    Raises:
        StackRefused: STACK-….
    """
    _supported(spec, ruling)
    distribution = catalogue.distribution(spec.os)
    _cuda_is_named(spec)
    branch = _branch(spec, catalogue, ruling)
    toolkits = _toolkits(spec, catalogue, distribution, ruling)
    if toolkits and branch is not None and spec.driver is not None:
        toolkits = _with_driver(toolkits, str(spec.driver.branch), ruling)
    if toolkits:
        _cudnn(spec, catalogue, toolkits[0])
        _tensorrt(spec, catalogue, toolkits[0], ruling)
        _compiler(toolkits[0], distribution, ruling)
    return Prospects(distribution, toolkits, branch)


def _supported(spec: StackSpec, ruling: Ruling) -> None:
    """Refuse what is asked for and cannot be locked yet."""
    asked = {
        "frameworks": bool(spec.frameworks),
        "dcgm": spec.dcgm is not None,
        "kernel": spec.kernel is not None,
        "container_runtime": spec.container_runtime is not None,
        "driver.source: distro": spec.driver is not None and spec.driver.source == "distro",
    }
    if spec.packages == "wheels":
        named = spec.driver is not None and spec.driver.branch not in (None, "none", "preinstalled")
        asked["driver (with packages: wheels)"] = named
        asked["container_toolkit (with packages: wheels)"] = spec.container_toolkit is not None
    else:
        asked["tensorrt_rtx (with packages: apt)"] = spec.tensorrt_rtx is not None
    for key, is_asked in asked.items():
        if is_asked:
            raise StackRefused(
                "STACK-NOT-SUPPORTED-YET",
                f"the spec asks for {key}, which this version cannot lock",
                expected="driver, cuda, cudnn, tensorrt, nccl, container_toolkit (apt); "
                "cuda, cudnn, nccl, tensorrt_rtx (wheels)",
                remedy=f"remove {key.split(' ')[0].rstrip(':')} from the spec for now",
            )
    if spec.gpus:
        ruling.note(
            f"gpus ({', '.join(spec.gpus)}) are written down and not yet checked against the stack"
        )


def _cuda_is_named(spec: StackSpec) -> None:
    for key in NEED_CUDA:
        if getattr(spec, key) is not None and spec.cuda is None:
            raise StackRefused(
                "STACK-CUDA-MISSING",
                f"{key} is asked for, and no cuda",
                expected="cuda: its version decides which build is taken",
                remedy='add a line such as: cuda: "13.0"',
            )
    if spec.packages == "wheels" and spec.cuda is None:
        raise StackRefused(
            "STACK-EMPTY",
            "the spec names nothing that comes as wheels",
            expected="cuda, and what goes with it",
            remedy='add a line such as: cuda: "13.0"',
        )


def _branch(spec: StackSpec, catalogue: Catalogue, ruling: Ruling) -> DriverBranch | None:
    if spec.driver is None or spec.driver.branch in (None, "none", "preinstalled"):
        return None
    named = str(spec.driver.branch)
    branch = catalogue.branch(named.split(".")[0])
    if branch is None:
        known = [row.branch for row in catalogue.drivers]
        raise unknown("driver branch", named.split(".")[0], known, catalogue)
    flavour = spec.driver.flavour
    if flavour != "auto" and flavour not in branch.flavours:
        raise StackRefused(
            "STACK-FLAVOUR",
            f"driver {branch.branch} has no {flavour} kernel module",
            expected=f"{' or '.join(branch.flavours)} ({branch.source})",
            remedy="write flavour: auto, or choose another branch",
        )
    if branch.eol and branch.eol < catalogue.day:
        ruling.note(f"driver branch {branch.branch} reached its end of life on {branch.eol}")
    return branch


def flavour_of(spec: StackSpec, branch: DriverBranch) -> Flavour:
    """Return the kernel module flavour that a wish means for a branch."""
    if spec.driver is None or spec.driver.flavour == "auto":
        return branch.default_flavour
    return spec.driver.flavour


def _toolkits(
    spec: StackSpec, catalogue: Catalogue, distribution: Distribution, ruling: Ruling
) -> tuple[Toolkit, ...]:
    if spec.cuda is None:
        return ()
    known = catalogue.toolkits
    found = sorted(
        (row for row in known if admits(spec.cuda, row.version)),
        key=lambda row: numbers(row.version),
        reverse=True,
    )
    if not found:
        exact = spec.cuda.count(".") > 1
        names = [row.version if exact else row.minor for row in known]
        raise unknown("CUDA", spec.cuda, names, catalogue)
    if spec.packages == "wheels":
        return tuple(found)
    first = numbers(distribution.first_toolkit)
    fitting = [row for row in found if numbers(row.minor) >= first]
    if not fitting:
        ruling.refuse(
            "STACK-TOOLKIT-NOT-FOR-OS",
            f"CUDA {found[0].version} is older than anything in NVIDIA's repository for "
            f"{distribution.name}",
            expected=f"CUDA {distribution.first_toolkit} or later ({distribution.source})",
            remedy=f'write cuda: "{distribution.first_toolkit}", or choose another os',
        )
    return tuple(fitting or found)


def _with_driver(toolkits: tuple[Toolkit, ...], named: str, ruling: Ruling) -> tuple[Toolkit, ...]:
    """Keep the toolkits that the named driver can run at all."""
    fitting = tuple(row for row in toolkits if runs(named, row))
    if not fitting:
        refuse_old_driver(named, toolkits[0], ruling)
    return fitting or toolkits


def runs(driver: str, toolkit: Toolkit) -> bool:
    """Return True when a driver (branch or version) has what a toolkit needs at least."""
    have, need = numbers(driver), numbers(toolkit.driver_minor)
    return have >= need if len(have) > 1 else have >= need[:1]


def refuse_old_driver(driver: str, toolkit: Toolkit, ruling: Ruling) -> None:
    """Refuse a driver that a toolkit does not run on."""
    ruling.refuse(
        "STACK-DRIVER-TOO-OLD",
        f"CUDA {toolkit.version} does not run on driver {driver}",
        expected=f"driver {toolkit.driver_minor} or later ({toolkit.source.split(' | ')[0]})",
        remedy="choose a newer driver branch, or an older CUDA",
    )


def note_partial_support(driver: str, toolkit: Toolkit, ruling: Ruling) -> None:
    """Say when a driver runs a toolkit only by minor-version compatibility."""
    if toolkit.driver_full is None:
        ruling.note(
            f"the driver that all features of CUDA {toolkit.version} need is not known "
            f"(at least {toolkit.driver_minor})"
        )
    elif numbers(driver) < numbers(toolkit.driver_full):
        ruling.note(
            f"driver {driver} runs CUDA {toolkit.version} by minor-version compatibility; "
            f"all of its features need {toolkit.driver_full} or later"
        )


def _cudnn(spec: StackSpec, catalogue: Catalogue, toolkit: Toolkit) -> None:
    if spec.cudnn is None:
        return
    rows = [row for row in catalogue.cudnn if admits(spec.cudnn, row.version)]
    if not rows:
        if newer_than_known(spec.cudnn, (row.version for row in catalogue.cudnn)):
            return
        raise unknown("cuDNN", spec.cudnn, [row.version for row in catalogue.cudnn], catalogue)
    if not any(toolkit.major in row.cuda_majors for row in rows):
        majors = sorted({major for row in rows for major in row.cuda_majors})
        fitting = [r.version for r in catalogue.cudnn if toolkit.major in r.cuda_majors]
        raise StackRefused(
            "STACK-CUDNN-CUDA",
            f"cuDNN {spec.cudnn} is not built for CUDA {toolkit.major}, only for "
            f"CUDA {' and '.join(majors)}",
            expected=f"cuDNN {fitting[0]} … {fitting[-1]} for CUDA {toolkit.major} "
            f"({rows[-1].source.split(' | ')[0]})",
            remedy=f'write cudnn: "{fitting[-1].split(".")[0]}" for the newest that fits, or '
            "choose another CUDA",
        )


def _tensorrt(spec: StackSpec, catalogue: Catalogue, toolkit: Toolkit, ruling: Ruling) -> None:
    if spec.tensorrt is None:
        return
    rows = [row for row in catalogue.tensorrt if admits(spec.tensorrt, row.version)]
    if not rows:
        if newer_than_known(spec.tensorrt, (row.version for row in catalogue.tensorrt)):
            return
        versions = [row.version for row in catalogue.tensorrt]
        raise unknown("TensorRT", spec.tensorrt, versions, catalogue)
    builds = [build for row in rows for build in row.built_for_cuda]
    if any(not row.built_for_cuda for row in rows) or any(serves(b, toolkit) for b in builds):
        return
    fitting = [
        row.version
        for row in catalogue.tensorrt
        if any(serves(build, toolkit) for build in row.built_for_cuda)
    ]
    ruling.refuse(
        "STACK-TENSORRT-CUDA",
        f"TensorRT {spec.tensorrt} is not built for CUDA {toolkit.minor}, only for CUDA "
        f"{listed(sorted(set(builds), key=numbers))}",
        expected=f"TensorRT {listed(reversed(fitting))} ({rows[-1].source.split(' | ')[0]})",
        remedy="choose one of these, or another CUDA",
    )


def serves(build: str, toolkit: Toolkit) -> bool:
    """Return True when a library built for one CUDA minor works beside a toolkit.

    Builds for CUDA 12 and before serve their whole major (TensorRT's support matrices); later
    builds serve their own minor and newer ones.
    """
    built, have = numbers(build), numbers(toolkit.minor)
    if built[:1] != have[:1]:
        return False
    return have[0] < 13 or built <= have


def _compiler(toolkit: Toolkit, distribution: Distribution, ruling: Ruling) -> None:
    """Say when nvcc will not accept the distribution's own compiler or headers."""
    gcc = distribution.gcc.split(".")[0]
    if toolkit.gcc_max and int(gcc) > int(toolkit.gcc_max):
        ruling.note(
            f"nvcc {toolkit.minor} accepts gcc up to {toolkit.gcc_max}; {distribution.name} has "
            f"{gcc}: name an older one with -ccbin"
        )
    if toolkit.glibc_max and numbers(distribution.glibc) > numbers(toolkit.glibc_max):
        ruling.note(
            f"nvcc {toolkit.minor} cannot compile against glibc {distribution.glibc} of "
            f"{distribution.name}, only up to {toolkit.glibc_max}"
        )


def newer_than_known(wanted: str, known: Iterable[str]) -> bool:
    """Return True when a version lies beyond all that the catalogue has: the index decides."""
    return numbers(wanted) > max(numbers(version) for version in known)


def unknown(what: str, wanted: str, known: Iterable[str], catalogue: Catalogue) -> StackRefused:
    """Return the refusal of a version that does not exist."""
    versions = list(dict.fromkeys(known))
    beyond = newer_than_known(wanted, versions)
    return StackRefused(
        "STACK-UNKNOWN-VERSION",
        f"{what} {wanted} is not known to the catalogue of {catalogue.day}"
        if beyond
        else f"there is no {what} {wanted}",
        expected=f"nearest that exist: {listed(nearest(wanted, versions))}",
        remedy="choose one of these" + ("; or update cudactl" if beyond else ""),
    )
