"""Which GPUs suit a model: how many of each it takes, and in which order they are offered.

Pure: catalogue rows and a demand in, choices with their reasons out. A GPU whose figure is not
known is set apart and never guessed at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cudactl.stack.gpus.memory import Purpose, plain
from cudactl.stack.versions import numbers

if TYPE_CHECKING:
    from cudactl.stack.facts.rows import Gpu

RATE_OF = {"bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "int8": "fp16", "int4": "fp16"}
"""Precision → the catalogue's rate that counts; quantised weights are computed with in FP16."""

ARITHMETIC_SINCE = {"tf32": "8.0", "bf16": "8.0", "fp8": "8.9"}
"""First compute capability with matrix arithmetic in it (CUDA C++ Programming Guide, appendix on
compute capabilities)."""

_UNITS = {"memory_gb": "memory", "memory_gbs": "bandwidth"}


@dataclass(frozen=True)
class Demand:
    """What is asked of the GPUs."""

    purpose: Purpose
    precision: str
    memory_gb: float
    """What the model needs in all, GB."""
    usable: float = 0.9
    """Part of each GPU's memory that the model may fill."""
    gpus_max: int | None = None
    watts_max: float | None = None
    """Of all GPUs together, W."""


@dataclass(frozen=True)
class Choice:
    """One GPU, held against the demand."""

    gpu: str
    verdict: Literal["fits", "not known", "does not fit"]
    why: str
    count: int | None
    """GPUs that hold the model; None: not known."""
    memory_gb: float | None
    """GB, of one."""
    memory_gbs: float | None
    """GB/s, of one."""
    rate: float | None
    """Dense Tflop/s of one, at the precision that counts."""
    nvlink_gbs: float | None
    """GB/s, both directions, of one."""
    watts: float | None
    """W, of all."""
    rate_per_watt: float | None
    """Dense Tflop/s per W."""
    contested: tuple[str, ...]
    """Fields of these whose sources disagree."""


def value_of(gpu: Gpu, field: str) -> float | None:
    """Return a figure of a GPU as a number; None: not known."""
    cell = getattr(gpu, field)
    return float(cell) if cell else None


def lacks(gpu: Gpu, field: str) -> bool:
    """Return True where the GPU has no such arithmetic, so that an empty cell means "none"."""
    return has_none(gpu.cc, field)


def has_none(cc: str, field: str) -> bool:
    """Return True where GPUs of a compute capability have no arithmetic in this precision."""
    since = ARITHMETIC_SINCE.get(field)
    return since is not None and numbers(cc) < numbers(since)


def choose(gpus: Iterable[Gpu], demand: Demand) -> list[Choice]:
    """Return every GPU held against the demand: those that fit, best first, then the others.

    Inference ranks by fewest GPUs, then by the bandwidth of all of them; training by the dense rate
    at its precision, then memory, then NVLink. Equals go by fewer watts, then by name.
    """
    order = {"fits": 0, "not known": 1, "does not fit": 2}
    return sorted(
        (_held_against(gpu, demand) for gpu in gpus),
        key=lambda c: (order[c.verdict], *_rank(c, demand.purpose), c.gpu),
    )


def _rank(choice: Choice, purpose: Purpose) -> tuple[float, ...]:
    count = choice.count or 0
    watts = choice.watts if choice.watts is not None else math.inf
    if purpose == "training":
        return (
            -(choice.rate or 0),
            -(choice.memory_gb or 0),
            -(choice.nvlink_gbs or 0),
            count,
            watts,
        )
    return (count, -count * (choice.memory_gbs or 0), watts)


def _held_against(gpu: Gpu, demand: Demand) -> Choice:
    memory, bandwidth = value_of(gpu, "memory_gb"), value_of(gpu, "memory_gbs")
    field = RATE_OF[demand.precision]
    rate, watts = value_of(gpu, field), value_of(gpu, "watts")
    count = math.ceil(demand.memory_gb / (memory * demand.usable)) if memory else None
    if count is not None:
        count = max(count, 1)
    in_all = watts * count if watts is not None and count is not None else None
    used = {"memory_gb", "memory_gbs", "watts", "nvlink_gbs", field}
    verdict, why = _verdict(gpu, demand, count, in_all)
    return Choice(
        gpu=gpu.name,
        verdict=verdict,
        why=why,
        count=count,
        memory_gb=memory,
        memory_gbs=bandwidth,
        rate=rate,
        nvlink_gbs=value_of(gpu, "nvlink_gbs"),
        watts=in_all,
        rate_per_watt=rate / watts if rate is not None and watts else None,
        contested=tuple(f for f in gpu.contested if f in used),
    )


def _verdict(
    gpu: Gpu, demand: Demand, count: int | None, watts: float | None
) -> tuple[Literal["fits", "not known", "does not fit"], str]:
    field = RATE_OF[demand.precision]
    if lacks(gpu, field):
        return "does not fit", (
            f"compute capability {gpu.cc} has no {field.upper()} arithmetic "
            f"(from {ARITHMETIC_SINCE[field]})"
        )
    if count is not None and demand.gpus_max is not None and count > demand.gpus_max:
        return "does not fit", f"takes {count} GPUs, --gpus-max is {demand.gpus_max}"
    if watts is not None and demand.watts_max is not None and watts > demand.watts_max:
        return (
            "does not fit",
            f"{count} take {plain(watts)} W, --watts is {plain(demand.watts_max)}",
        )
    needed = ["memory_gb", field if demand.purpose == "training" else "memory_gbs"]
    if demand.watts_max is not None:
        needed.append("watts")
    missing = [f for f in needed if value_of(gpu, f) is None]
    if missing:
        names = [_UNITS.get(f, f"dense {f.upper()} rate" if f == field else f) for f in missing]
        return "not known", f"{' and '.join(names)} not known"
    return "fits", _reason(gpu, demand, count or 1)


def _reason(gpu: Gpu, demand: Demand, count: int) -> str:
    room = count * (value_of(gpu, "memory_gb") or 0) * demand.usable
    verb = "holds" if count == 1 else "hold"
    holds = f"{count} {verb} {plain(demand.memory_gb, 4)} of {plain(room, 4)} GB"
    ends = f"; {gpu.last_branch} is its last driver branch" if gpu.last_branch else ""
    if demand.purpose == "inference":
        bandwidth = value_of(gpu, "memory_gbs") or 0
        return f"{holds}; {plain(count * bandwidth)} GB/s in all{ends}"
    rate = value_of(gpu, RATE_OF[demand.precision]) or 0
    link = value_of(gpu, "nvlink_gbs")
    between = "NVLink not known" if link is None else f"NVLink {link:g} GB/s"
    return f"{rate:g} Tflop/s each; {holds}" + (f"; {between}" if count > 1 else "") + ends
