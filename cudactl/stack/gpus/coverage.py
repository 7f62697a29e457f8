"""A small set of GPUs on which a stack can be certified for all that it serves.

What differs between machines of one stack: the GPUs' architecture, the kernel module flavour, and
whether a fabric manager is needed. A test fleet must show each of them once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.gpus.ranking import value_of
from cudactl.stack.gpus.support import Branch, LibrarySpan, branches_of, support_of
from cudactl.stack.refusals import StackRefused
from cudactl.stack.versions import admits, nearest, numbers

if TYPE_CHECKING:
    from cudactl.contracts.spec import StackSpec
    from cudactl.stack.facts.catalogue import Catalogue
    from cudactl.stack.facts.rows import Gpu, Toolkit


@dataclass(frozen=True)
class Served:
    """A GPU that a stack serves, with what a test on it shows."""

    gpu: Gpu
    shows: frozenset[str]


@dataclass(frozen=True)
class Pick:
    """One GPU of the test fleet."""

    gpu: str
    cc: str
    adds: tuple[str, ...]
    """What it is the first of the set to show."""
    watts: float | None
    """W."""


@dataclass(frozen=True)
class Coverage:
    """A test fleet, and what it leaves open."""

    stack: str
    """What was covered, in words."""
    picks: tuple[Pick, ...]
    open: tuple[str, ...]
    """What no pick shows, because --gpus-max was reached."""
    other_ccs: tuple[str, ...]
    """Compute capabilities that the stack serves and the set has not: other machine code."""
    left_out: dict[str, str]
    """GPU → why the stack does not serve it, or why that is not known."""


def cover(catalogue: Catalogue, spec: StackSpec | None, gpus_max: int | None = None) -> Coverage:
    """Return a small set of GPUs that shows all that a stack serves.

    Raises:
        StackRefused: STACK-GPU-UNKNOWN, STACK-UNKNOWN-VERSION, or GPU-NONE-SERVED.
    """
    toolkit = _toolkit(catalogue, spec.cuda if spec else None)
    served, left_out = _served(catalogue, spec, toolkit)
    if not served:
        raise StackRefused(
            "GPU-NONE-SERVED",
            "no GPU of the catalogue is known to run this stack",
            expected="a stack that serves at least one GPU",
            remedy="see why: " + "; ".join(f"{g}: {why}" for g, why in list(left_out.items())[:3]),
        )
    picks, still_open = _pick(served, gpus_max)
    shown = {pick.cc for pick in picks}
    return Coverage(
        stack=_in_words(spec, toolkit),
        picks=picks,
        open=still_open,
        other_ccs=tuple(
            sorted({s.gpu.cc for s in served} - shown, key=numbers),
        ),
        left_out=left_out,
    )


def _pick(
    served: Sequence[Served], gpus_max: int | None
) -> tuple[tuple[Pick, ...], tuple[str, ...]]:
    """Take the GPU that shows most that is still missing, again and again; fewer watts first."""
    missing = frozenset[str]().union(*(s.shows for s in served))
    picks: list[Pick] = []
    while missing and (gpus_max is None or len(picks) < gpus_max):
        best = min(
            served,
            key=lambda s: (-len(s.shows & missing), _watts(s.gpu), s.gpu.name),
        )
        adds = tuple(sorted(best.shows & missing))
        picks.append(Pick(best.gpu.name, best.gpu.cc, adds, value_of(best.gpu, "watts")))
        missing -= best.shows
    return tuple(picks), tuple(sorted(missing))


def _served(
    catalogue: Catalogue, spec: StackSpec | None, toolkit: Toolkit
) -> tuple[list[Served], dict[str, str]]:
    wanted = list(catalogue.gpus)
    if spec is not None and spec.gpus:
        named = {gpu.name for name in spec.gpus for gpu in find_gpus(catalogue, name)}
        wanted = [gpu for gpu in wanted if gpu.name in named]
    served: list[Served] = []
    left_out: dict[str, str] = {}
    for gpu in wanted:
        branches = _branches(catalogue, spec, gpu, toolkit)
        why = _why_not(catalogue, spec, gpu, toolkit, branches)
        if why:
            left_out[gpu.name] = why
            continue
        shows = {f"architecture {gpu.architecture}"}
        shows |= {f"{flavour} kernel module" for b in branches for flavour in b.flavours}
        if gpu.nvswitch == "yes":
            shows.add("fabric manager")
        served.append(Served(gpu, frozenset(shows)))
    return served, left_out


def _branches(
    catalogue: Catalogue, spec: StackSpec | None, gpu: Gpu, toolkit: Toolkit
) -> list[Branch]:
    """Return the driver branches that the stack could have on this GPU, with their flavours."""
    driver = spec.driver if spec else None
    branches, _ = branches_of(catalogue, gpu)
    left = [b for b in branches if numbers(b.name) >= numbers(toolkit.driver_minor)[:1]]
    if driver is not None and driver.branch and driver.branch[0].isdigit():
        left = [b for b in left if b.name == driver.branch.split(".")[0]]
    if driver is not None and driver.flavour != "auto":
        left = [Branch(b.name, (driver.flavour,)) for b in left if driver.flavour in b.flavours]
    return left


def _why_not(
    catalogue: Catalogue,
    spec: StackSpec | None,
    gpu: Gpu,
    toolkit: Toolkit,
    branches: Sequence[Branch],
) -> str | None:
    if gpu.cc.replace(".", "") not in toolkit.sm:
        return f"CUDA {toolkit.version} does not target compute capability {gpu.cc}"
    if not branches:
        known = branches_of(catalogue, gpu)[0]
        return (
            "no driver of this stack drives it" if known else "which driver drives it is not known"
        )
    if spec is None or not (spec.cudnn or spec.tensorrt):
        return None
    support = support_of(catalogue, gpu)
    for name, wish, span, rows in (
        ("cuDNN", spec.cudnn, support.cudnn, [r.version for r in catalogue.cudnn]),
        ("TensorRT", spec.tensorrt, support.tensorrt, [r.version for r in catalogue.tensorrt]),
    ):
        why = _library_why_not(name, wish, span, rows) if wish else None
        if why:
            return why
    return None


def _library_why_not(name: str, wish: str, span: LibrarySpan, versions: list[str]) -> str | None:
    fitting = [v for v in versions if admits(wish, v)]
    if any(span.covers(v) for v in fitting):
        return None
    if any(span.covers(v) is None for v in fitting):
        return f"whether {name} {wish} serves it is not known"
    return f"{name} {wish} does not serve it"


def _toolkit(catalogue: Catalogue, wish: str | None) -> Toolkit:
    fitting = [row for row in catalogue.toolkits if wish is None or admits(wish, row.version)]
    if not fitting:
        near = nearest(str(wish), [row.version for row in catalogue.toolkits])
        raise StackRefused(
            "STACK-UNKNOWN-VERSION",
            f"the spec asks for CUDA {wish}, which the catalogue does not know",
            expected="a released toolkit",
            remedy=f"the nearest are {', '.join(near)}",
        )
    return fitting[-1]


def _in_words(spec: StackSpec | None, toolkit: Toolkit) -> str:
    if spec is None:
        return f"CUDA {toolkit.version}, the newest of the catalogue"
    parts = [f"CUDA {toolkit.version}" + ("" if spec.cuda else ", the newest of the catalogue")]
    if spec.driver is not None and spec.driver.branch:
        parts.append(f"driver {spec.driver.branch}")
    if spec.driver is not None and spec.driver.flavour != "auto":
        parts.append(f"{spec.driver.flavour} kernel module")
    parts += [f"cuDNN {spec.cudnn}"] if spec.cudnn else []
    parts += [f"TensorRT {spec.tensorrt}"] if spec.tensorrt else []
    parts += [f"on {', '.join(spec.gpus)}"] if spec.gpus else []
    return "; ".join(parts)


def _watts(gpu: Gpu) -> float:
    watts = value_of(gpu, "watts")
    return math.inf if watts is None else watts
