"""Which stacks a GPU can run, from the catalogue alone: toolkits, drivers, cuDNN, TensorRT.

Pure, and needs nothing heavy when it is imported: `gpu list` goes through the first half of it on
plain rows. What the catalogue does not say stays None, "not known", here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cudactl.stack.versions import numbers

if TYPE_CHECKING:
    from cudactl.stack.facts.catalogue import Catalogue
    from cudactl.stack.facts.rows import Gpu

Targets = Mapping[str, frozenset[str]]
"""CUDA minor → compute capabilities its compiler targets, without the dot; oldest minor first."""


@dataclass(frozen=True)
class Branch:
    """A driver branch, as far as a GPU cares."""

    name: str
    flavours: tuple[str, ...]
    """Kernel module flavours that it offers."""


@dataclass(frozen=True)
class DriverSpan:
    """Neighbouring branches that drive a GPU with the same choice of kernel modules."""

    first: str
    last: str
    flavours: tuple[str, ...]


@dataclass(frozen=True)
class LibrarySpan:
    """Versions of a library that are known to serve a GPU."""

    first: str | None
    """First known to serve it; None: none is."""
    last: str | None
    """Last known to serve it."""
    not_from: str | None
    """First later version that does not serve it any more."""
    not_known: tuple[str, ...]
    """Versions of which the catalogue does not say it."""

    def covers(self, version: str) -> bool | None:
        """Return whether a version of the catalogue serves the GPU; None: not known."""
        if version in self.not_known:
            return None
        if self.first is None or self.last is None:
            return False
        return numbers(self.first) <= numbers(version) <= numbers(self.last)


@dataclass(frozen=True)
class GpuSupport:
    """What one GPU can run."""

    cuda: tuple[str, ...]
    """CUDA minors of the catalogue whose compiler targets it."""
    drivers: tuple[DriverSpan, ...]
    """Driver branches of the catalogue that drive it."""
    drivers_from: str
    """What the first branch is taken from."""
    cudnn: LibrarySpan
    tensorrt: LibrarySpan
    tensorrt_rtx: LibrarySpan
    until_branch: str | None
    """Last branch that drives it, or the newest that is known to; None: none is."""
    until: str | None
    """End of life of that branch, ISO 8601; None: not known."""
    ended: bool
    """Whether that day had passed when the catalogue was collected."""


def targets_of(toolkits: Iterable[tuple[str, Iterable[str]]]) -> Targets:
    """Return minor → targets, from pairs of three-part version and targets."""
    found: dict[str, set[str]] = {}
    for version, sm in toolkits:
        found.setdefault(".".join(version.split(".")[:2]), set()).update(sm)
    return {minor: frozenset(sm) for minor, sm in found.items()}


def toolkits_for(cc: str, targets: Targets) -> tuple[str, ...]:
    """Return the CUDA minors whose compiler targets a compute capability, oldest first."""
    return tuple(minor for minor, sm in targets.items() if cc.replace(".", "") in sm)


def first_branch(
    first_driver: str | None, first_toolkit: str, drivers_of: Mapping[str, str | None]
) -> tuple[str | None, str]:
    """Return the first branch known to drive a GPU ("" = older than the catalogue), and its basis.

    `drivers_of` is CUDA minor → least driver with all of its features. Where no driver is recorded
    for the GPU, the driver of the first toolkit that targets it stands in: NVIDIA brings both out
    together.
    """
    if first_driver:
        return first_driver.split(".")[0], f"driver {first_driver} is the first known to list it"
    oldest = min(drivers_of, key=numbers)
    if numbers(first_toolkit) < numbers(oldest):
        return "", f"CUDA {first_toolkit} targets it already, older than this catalogue"
    driver = drivers_of.get(first_toolkit)
    if driver:
        return driver.split(".")[0], (
            f"CUDA {first_toolkit} is the first to target it and needs driver {driver}"
        )
    return None, f"CUDA {first_toolkit} is the first to target it; its driver is not known"


def branches_for(
    rule: str, first: str | None, last: str | None, branches: Sequence[Branch]
) -> tuple[Branch, ...]:
    """Return the branches from `first` to `last` with the flavours that the GPU's rule leaves.

    `rule` is the catalogue's `open_module`; a branch with no flavour left does not drive the GPU.
    """
    if first is None:
        return ()
    allowed = {"unsupported": {"proprietary"}, "required": {"open"}}.get(
        rule, {"open", "proprietary"}
    )
    span = [
        Branch(b.name, tuple(f for f in b.flavours if f in allowed))
        for b in branches
        if numbers(first) <= numbers(b.name) and (not last or numbers(b.name) <= numbers(last))
    ]
    return tuple(b for b in span if b.flavours)


def spans_of(branches: Sequence[Branch]) -> tuple[DriverSpan, ...]:
    """Return branches with the same flavours as one span each."""
    spans: list[DriverSpan] = []
    for branch in branches:
        if spans and spans[-1].flavours == branch.flavours:
            spans[-1] = DriverSpan(spans[-1].first, branch.name, branch.flavours)
        else:
            spans.append(DriverSpan(branch.name, branch.name, branch.flavours))
    return tuple(spans)


def branches_of(catalogue: Catalogue, gpu: Gpu) -> tuple[tuple[Branch, ...], str]:
    """Return the branches that drive a GPU, and what the first is taken from."""
    drivers_of: dict[str, str | None] = {}
    for row in catalogue.toolkits:
        drivers_of.setdefault(row.minor, row.driver_full)
    first, basis = first_branch(gpu.first_driver, gpu.first_toolkit, drivers_of)
    every = [Branch(row.branch, row.flavours) for row in catalogue.drivers]
    return branches_for(gpu.open_module, first, gpu.last_branch, every), basis


def support_of(catalogue: Catalogue, gpu: Gpu) -> GpuSupport:
    """Return which stacks of the catalogue a GPU can run, and until when."""
    targets = targets_of((row.version, row.sm) for row in catalogue.toolkits)
    minors = toolkits_for(gpu.cc, targets)
    branches, basis = branches_of(catalogue, gpu)
    until_branch = gpu.last_branch or (branches[-1].name if branches else None)
    row = catalogue.branch(until_branch) if until_branch else None
    until = row.eol if row is not None else None
    return GpuSupport(
        cuda=minors,
        drivers=spans_of(branches),
        drivers_from=basis,
        cudnn=_cudnn(catalogue, gpu, minors),
        tensorrt=_tensorrt(catalogue, gpu, minors),
        tensorrt_rtx=_span(
            [(r.version, gpu.cc.replace(".", "") in r.sm) for r in catalogue.tensorrt_rtx]
        ),
        until_branch=until_branch,
        until=until,
        ended=until is not None and until < catalogue.day,
    )


def _cudnn(catalogue: Catalogue, gpu: Gpu, minors: Sequence[str]) -> LibrarySpan:
    """Judge cuDNN by CUDA major and by its stated least compute capability.

    A build for a CUDA major is only taken to hold code for the GPU where every toolkit of that
    major targets it; which 12.x built it is not recorded.
    """
    first = numbers(gpu.first_toolkit)
    majors = {minor.split(".")[0] for minor in minors}
    whole = {major for major in majors if first <= (int(major), 0)}
    rows: list[tuple[str, str | None, bool | None]] = []
    for row in catalogue.cudnn:
        built = set(row.cuda_majors)
        served = True if built & whole else None if built & majors else False
        rows.append((row.version, row.min_cc, served))
    return _span(_by_least(rows, gpu.cc))


def _tensorrt(catalogue: Catalogue, gpu: Gpu, minors: Sequence[str]) -> LibrarySpan:
    """Judge TensorRT by the CUDA minors it is built for and its least compute capability."""
    rows: list[tuple[str, str | None, bool | None]] = []
    for row in catalogue.tensorrt:
        served = bool(set(row.built_for_cuda) & set(minors)) if row.built_for_cuda else None
        rows.append((row.version, row.min_cc, served))
    return _span(_by_least(rows, gpu.cc))


def _by_least(
    rows: Sequence[tuple[str, str | None, bool | None]], cc: str
) -> list[tuple[str, bool | None]]:
    """Join build and least compute capability; a least never falls again in a later version.

    So a version is served when a later one states a least that the GPU has, and is not when an
    earlier one states one that it has not.
    """
    stated = [least is not None and numbers(least) <= numbers(cc) for _, least, _ in rows]
    above = [least is not None and numbers(least) > numbers(cc) for _, least, _ in rows]
    judged: list[tuple[str, bool | None]] = []
    for at, (version, _, built) in enumerate(rows):
        least = False if any(above[: at + 1]) else True if any(stated[at:]) else None
        if built is False or least is False:
            judged.append((version, False))
        else:
            judged.append((version, True if built and least else None))
    return judged


def _span(judged: Sequence[tuple[str, bool | None]]) -> LibrarySpan:
    serving = [version for version, serves in judged if serves]
    if serving:
        after = judged[[v for v, _ in judged].index(serving[-1]) + 1 :]
        ends = next((version for version, serves in after if serves is False), None)
    else:
        ends = None
    return LibrarySpan(
        first=serving[0] if serving else None,
        last=serving[-1] if serving else None,
        not_from=ends,
        not_known=tuple(version for version, serves in judged if serves is None),
    )
