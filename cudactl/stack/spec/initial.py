"""A first spec for a GPU and a purpose: every version asked of the solver, none remembered.

The newest CUDA that every GPU and the distribution carry, that a long-term or production driver
runs in full, and of which nothing has to be flagged; then, one after the other, the libraries that
the purpose needs. `initial_text.py` writes it down with its reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import ValidationError

from cudactl.contracts.spec import Arch, StackSpec
from cudactl.contracts.verdict import SpecVerdict
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Gpu
from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.refusals import StackRefused
from cudactl.stack.spec.check import check_spec
from cudactl.stack.versions import numbers

Purpose = Literal["training", "inference", "ci", "workstation"]
PURPOSES: dict[Purpose, tuple[str, ...]] = {
    "training": ("cudnn", "nccl", "container_toolkit"),
    "inference": ("cudnn", "nccl", "tensorrt", "container_toolkit"),
    "ci": ("cudnn",),
    "workstation": ("cudnn",),
}
"""Purpose → what it needs besides driver and CUDA."""
WITHOUT_DRIVER: tuple[Purpose, ...] = ("ci",)
SUGGESTED = ("tensorrt", "nccl", "dcgm", "container_toolkit")
"""What a reader may want to add."""
FOR_HOSTS = ("dcgm", "container_toolkit")
"""What belongs beside a driver; neither comes as a wheel."""
ARCHES: tuple[Arch, ...] = get_args(Arch)
USUAL_OS = "ubuntu-24.04"
MOST_PREFIXES = 40
"""Minors of a library that are tried before the best so far is taken."""


@dataclass(frozen=True)
class Beginning:
    """What a first spec is for; what is None is assumed, and said."""

    gpus: tuple[str, ...] = ()
    """Names as they were typed."""
    purpose: Purpose | None = None
    os: str | None = None
    arch: Arch | None = None
    wheels: bool = False
    """Libraries as Python wheels."""


@dataclass(frozen=True)
class Initial:
    """A first spec, and what has to be said of it."""

    spec: StackSpec
    verdict: SpecVerdict
    purpose: Purpose
    gpus: tuple[Gpu, ...]
    """Boards that the names cover."""
    passed_over: str | None
    """The newest CUDA minor, where it was not taken."""
    passed_verdict: SpecVerdict
    """What is said of it."""
    suggested: dict[str, str]
    """Key → prefix that could be added without a flag."""
    left_out: dict[str, tuple[str, ...]]
    """Key that the purpose needs and nothing can answer here → why not, as codes."""
    torch: str | None
    """PyTorch that could be added with the fewest flags."""
    torch_flags: tuple[str, ...]
    """What would be flagged then, as codes."""
    assumed: list[str] = field(default_factory=list)
    """What nobody said, one sentence each."""


def begin(wish: Beginning, catalogue: Catalogue) -> Initial:
    """Return a first spec.

    Raises:
        StackRefused: STACK-GPU-UNKNOWN; or what stands in the way of the CUDA that comes closest.
    """
    assumed: list[str] = []
    purpose = wish.purpose or get_args(Purpose)[0]
    if wish.purpose is None:
        assumed.append(f"purpose: {purpose}")
    if wish.os is None:
        assumed.append(f"os: {USUAL_OS}")
    if not wish.gpus:
        assumed.append("any GPU that the newest driver branch still serves: none was named")
    covered = [find_gpus(catalogue, name) for name in wish.gpus]
    # A name that covers several boards stays as it was typed: it then means all of them.
    names = [
        found[0].name if len(found) == 1 else name
        for name, found in zip(wish.gpus, covered, strict=True)
    ]
    os = _readable(wish.os or USUAL_OS, catalogue)
    values: dict[str, Any] = {"os": os, "gpus": list(dict.fromkeys(names))}
    if wish.wheels:
        values["packages"] = "wheels"
    elif purpose in WITHOUT_DRIVER:
        values["driver"] = {"branch": "none"}
    judged = _Judged(catalogue)
    choices = [
        judged.toolkits({**values, "arch": arch}) for arch in ([wish.arch] if wish.arch else ARCHES)
    ]
    # The first architecture, unless another one stands better; not for a newer minor only.
    ranked, newest, newest_verdict = min(choices, key=lambda choice: choice[0].rank[:2])
    if ranked.verdict.verdict == "refused":
        raise _impossible(ranked)
    if wish.arch is None and ranked.values["arch"] != ARCHES[0]:
        assumed.append(f"arch: {ranked.values['arch']}, which these GPUs come with")
    values, verdict = ranked.values, ranked.verdict
    if "driver" in verdict.resolved:
        values = {**values, "driver": {"branch": verdict.resolved["driver"].split(".")[0]}}
        values["driver"]["flavour"] = "auto"
    keys = [key for key in PURPOSES[purpose] if not (wish.wheels and key in FOR_HOSTS)]
    left_out: dict[str, tuple[str, ...]] = {}
    for key in keys:
        prefix = judged.prefix(key, values)
        if prefix is not None:
            values = {**values, key: prefix}
        else:
            newest_of = judged.versions(key)[0].split(".")[0]
            left_out[key] = codes(judged({**values, key: newest_of}))
    torch = judged.torch(values)
    passed = newest if newest != values["cuda"] else None
    return Initial(
        spec=judged.spec(values),
        verdict=judged(values),
        purpose=purpose,
        gpus=tuple(dict.fromkeys(gpu for found in covered for gpu in found)),
        passed_over=passed,
        passed_verdict=newest_verdict,
        suggested=judged.suggestions(values),
        left_out=left_out,
        torch=torch,
        torch_flags=codes(judged({**values, "frameworks": {"torch": torch}})) if torch else (),
        assumed=assumed,
    )


def _readable(os: str, catalogue: Catalogue) -> str:
    """Return the distribution, if it could be one; whether it is served, the solver says."""
    try:
        return StackSpec(os=os).os
    except ValidationError:
        raise StackRefused(
            "STACK-OS-NOT-SUPPORTED",
            f"{os[:60]!r} is no distribution and release",
            expected=f"one of {', '.join(row.name for row in catalogue.distributions)}",
            remedy=f"write, for example: --os {USUAL_OS}",
        ) from None


@dataclass(frozen=True)
class _Ranked:
    """One CUDA minor, judged."""

    rank: tuple[int, int, int]
    """Refusals, flags, and how many minors are newer."""
    values: dict[str, Any]
    verdict: SpecVerdict


class _Judged:
    """Asks the solver, by the catalogue alone."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def spec(self, values: dict[str, Any]) -> StackSpec:
        return StackSpec.model_validate({k: v for k, v in values.items() if v not in (None, [])})

    def __call__(self, values: dict[str, Any]) -> SpecVerdict:
        return check_spec(self.spec(values), self.catalogue)

    def toolkits(self, values: dict[str, Any]) -> tuple[_Ranked, str, SpecVerdict]:
        """Return the best CUDA minor, and the newest with what is said of it.

        The best is refused by nothing, flagged by least, and the newest of equals.
        """
        minors = list(dict.fromkeys(row.minor for row in reversed(self.catalogue.toolkits)))
        found = []
        for place, minor in enumerate(minors):
            asked = {**values, "cuda": minor}
            verdict = self(asked)
            refused = [f for f in verdict.findings if f.severity == "refused"]
            full = "driver" in verdict.resolved or self._runs_in_full(minor)
            rank = (len(refused), _flags(verdict) + (not full), place)
            found.append(_Ranked(rank, asked, verdict))
        return min(found, key=lambda one: one.rank), minors[0], found[0].verdict

    def _runs_in_full(self, minor: str) -> bool:
        """Return whether a long-term or production driver runs it in full, as far as is known."""
        # A newer minor needs at least what the older ones need, where its own need is not known.
        older = [row for row in self.catalogue.toolkits if numbers(row.minor) <= numbers(minor)]
        needed = [numbers(row.driver_full) for row in older if row.driver_full]
        newest = [d.newest for d in self.catalogue.drivers if d.kind in ("LTS", "PB") and d.newest]
        return not needed or max(map(numbers, newest)) >= max(needed)

    def versions(self, key: str) -> list[str]:
        """Return the versions of a library, newest first."""
        table: Sequence[Any] = self.catalogue.table(key)
        return [row.version for row in reversed(table)]

    def prefix(self, key: str, values: dict[str, Any]) -> str | None:
        """Return the prefix for a library that is flagged least: a major, or a minor of it."""
        versions = self.versions(key)
        return self._least(key, values, [versions[0].split(".")[0], *_minors(versions)])

    def suggestions(self, values: dict[str, Any]) -> dict[str, str]:
        """Return what could be added without a flag: key → prefix."""
        found = {}
        before = _flags(self(values))
        brings_driver = "driver" in self(values).resolved
        for key in SUGGESTED:
            if key in values or (key in FOR_HOSTS and not brings_driver):
                continue
            prefix = self.prefix(key, values)
            if prefix is not None and _flags(self({**values, key: prefix})) <= before:
                found[key] = prefix
        return found

    def torch(self, values: dict[str, Any]) -> str | None:
        """Return the PyTorch minor that is flagged least, the newest of equals."""
        prefixes = _minors([row.version for row in reversed(self.catalogue.torch)])
        return self._least("frameworks.torch", values, prefixes)

    def _least(self, key: str, values: dict[str, Any], prefixes: Sequence[str]) -> str | None:
        floor = _flags(self(values))
        best: tuple[int, str] | None = None
        for prefix in prefixes[:MOST_PREFIXES]:
            name, _, inner = key.partition(".")
            verdict = self({**values, name: {inner: prefix} if inner else prefix})
            if verdict.verdict == "refused":
                continue
            if _flags(verdict) <= floor:
                return prefix
            if best is None or _flags(verdict) < best[0]:
                best = (_flags(verdict), prefix)
        return best[1] if best is not None else None


def _minors(versions: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(".".join(version.split(".")[:2]) for version in versions))


def _impossible(ranked: _Ranked) -> StackRefused:
    error = StackRefused.because(ranked.verdict.findings)
    if error.code != "STACK-OS-NOT-SUPPORTED":
        cuda = ranked.values["cuda"]
        error.found = f"no CUDA serves all of this. The closest is {cuda}: {error.found}"
    return error


def _flags(verdict: SpecVerdict) -> int:
    return sum(finding.severity == "flagged" for finding in verdict.findings)


def codes(verdict: SpecVerdict) -> tuple[str, ...]:
    """Return the codes of what is refused or flagged."""
    return tuple(
        dict.fromkeys(f.code for f in verdict.findings if f.severity in ("refused", "flagged"))
    )
