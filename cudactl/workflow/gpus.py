"""Choose hardware: list GPUs, show and compare them, recommend some for a purpose.

`gpu list` must answer at once, so this module imports nothing heavy: what needs the catalogue's
models is imported by the function that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cudactl.contracts.errors import UsageError
from cudactl.stack.gpus.list import ListedGpu, listed_gpus
from cudactl.stack.gpus.memory import (
    Geometry,
    MemoryNeed,
    inference_need,
    parameters_of,
    training_need,
)
from cudactl.stack.gpus.ranking import Choice, Demand, choose
from cudactl.stack.gpus.support import GpuSupport, support_of

if TYPE_CHECKING:
    from cudactl.stack.facts.rows import Gpu
    from cudactl.stack.gpus.coverage import Coverage

__all__ = ["Listing", "Recommendation", "Request", "compare", "list_gpus", "recommend", "show"]


@dataclass(frozen=True)
class Listing:
    """What `gpu list` shows."""

    gpus: tuple[ListedGpu, ...]
    memory_not_known: tuple[str, ...]
    """GPUs left out because their memory is not known and a least memory was asked for."""


@dataclass(frozen=True)
class Request:
    """What `gpu recommend` is asked; None: not given."""

    purpose: Literal["training", "inference", "certification"]
    model: str | None = None
    """Parameters, e.g. "70B"."""
    precision: str | None = None
    """Of the arithmetic and of served weights; absent: bf16."""
    optimizer: str | None = None
    """Absent: adam."""
    activations: float | None = None
    """GB."""
    layers: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    context: int | None = None
    batch: int | None = None
    cache_precision: str | None = None
    """Of the key-value cache; absent: fp16."""
    usable: float | None = None
    """Percent of each GPU's memory that may be filled; absent: 90."""
    gpus_max: int | None = None
    watts: float | None = None
    spec: Path | None = None


@dataclass(frozen=True)
class Recommendation:
    """What `gpu recommend` answers for a model."""

    need: MemoryNeed
    demand: Demand
    choices: tuple[Choice, ...]
    """Those that fit, best first; then those that are not known; then those that do not fit."""


_ONLY_FOR = {
    "model": ("training", "inference"),
    "precision": ("training", "inference"),
    "optimizer": ("training",),
    "activations": ("training",),
    "layers": ("inference",),
    "kv_heads": ("inference",),
    "head_dim": ("inference",),
    "context": ("inference",),
    "batch": ("inference",),
    "cache_precision": ("inference",),
    "usable": ("training", "inference"),
    "watts": ("training", "inference"),
    "spec": ("certification",),
}


def list_gpus(
    architecture: str | None = None, min_memory: float | None = None, cc: str | None = None
) -> Listing:
    """Return the catalogue's GPUs, narrowed by architecture, least memory (GB) and capability.

    Raises:
        UsageError: GPU-ARCHITECTURE-UNKNOWN, GPU-CC-UNKNOWN or GPU-OPTION.
    """
    every = gpus = listed_gpus()
    if architecture is not None:
        wanted = architecture.strip().casefold()
        known = list(dict.fromkeys(gpu.architecture for gpu in every))
        gpus = [gpu for gpu in gpus if gpu.architecture.casefold() == wanted]
        if not gpus:
            raise UsageError(
                "GPU-ARCHITECTURE-UNKNOWN",
                f"the catalogue knows no architecture {architecture[:40]!r}",
                expected=f"one of: {', '.join(known)}",
                remedy="leave --architecture out to see every GPU",
            )
    if cc is not None:
        capabilities = list(dict.fromkeys(gpu.cc for gpu in every))
        if cc not in capabilities:
            raise UsageError(
                "GPU-CC-UNKNOWN",
                f"the catalogue knows no GPU with compute capability {cc[:40]!r}",
                expected=f"one of: {', '.join(capabilities)}",
                remedy="write it with its dot, as in 9.0",
            )
        gpus = [gpu for gpu in gpus if gpu.cc == cc]
    if min_memory is None:
        return Listing(tuple(gpus), ())
    _finite("--min-memory", min_memory)
    return Listing(
        tuple(g for g in gpus if g.memory_gb is not None and g.memory_gb >= min_memory),
        tuple(g.name for g in gpus if g.memory_gb is None),
    )


def show(name: str) -> list[tuple[Gpu, GpuSupport]]:
    """Return every GPU that a name covers, with the stacks that it can run.

    Raises:
        StackRefused: STACK-GPU-UNKNOWN.
    """
    from cudactl.stack.facts.catalogue import load_catalogue
    from cudactl.stack.gpus.find import find_gpus

    catalogue = load_catalogue()
    return [(gpu, support_of(catalogue, gpu)) for gpu in find_gpus(catalogue, name)]


def compare(names: Sequence[str]) -> list[Gpu]:
    """Return the GPUs that names cover, each once, in the order of the names.

    Raises:
        StackRefused: STACK-GPU-UNKNOWN.
        UsageError: GPU-ONE-ONLY, when all names mean the same one.
    """
    from cudactl.stack.facts.catalogue import load_catalogue
    from cudactl.stack.gpus.find import find_gpus

    catalogue = load_catalogue()
    found = {gpu.name: gpu for name in names for gpu in find_gpus(catalogue, name)}
    if len(found) < 2:
        raise UsageError(
            "GPU-ONE-ONLY",
            f"{' and '.join(names)} mean one GPU: {', '.join(found)}",
            expected="at least two GPUs",
            remedy=f"name another one, or look at it alone: cudactl gpu show '{names[0]}'",
        )
    return list(found.values())


def recommend(request: Request) -> Recommendation | Coverage:
    """Return GPUs for a purpose: ranked ones for a model, a test fleet for certification.

    Raises:
        UsageError: GPU-OPTION, GPU-GEOMETRY, GPU-PRECISION, GPU-MODEL-SIZE, and what reading a spec
            raises.
        StackRefused: GPU-NONE-SERVED, and what `cover` raises.
    """
    from cudactl.stack.facts.catalogue import load_catalogue

    _check_options(request)
    catalogue = load_catalogue()
    if request.purpose == "certification":
        from cudactl.stack.gpus.coverage import cover
        from cudactl.stack.spec.file import read_spec

        spec = read_spec(request.spec) if request.spec is not None else None
        return cover(catalogue, spec, request.gpus_max)
    need = _need(request)
    demand = Demand(
        purpose=request.purpose,
        precision=request.precision or "bf16",
        memory_gb=need.gb,
        usable=(request.usable if request.usable is not None else 90) / 100,
        gpus_max=request.gpus_max,
        watts_max=request.watts,
    )
    return Recommendation(need, demand, tuple(choose(catalogue.gpus, demand)))


def _need(request: Request) -> MemoryNeed:
    if request.model is None:
        raise UsageError(
            "GPU-OPTION",
            f"--purpose {request.purpose} was asked without a model",
            expected="--model with the number of parameters",
            remedy="add, for example: --model 70B",
        )
    parameters = parameters_of(request.model)
    precision = request.precision or "bf16"
    if request.purpose == "inference":
        return inference_need(parameters, precision, _geometry(request))
    if precision in ("int8", "int4"):
        raise UsageError(
            "GPU-PRECISION",
            f"--precision {precision} is for served weights; nothing is trained in it",
            expected="bf16, fp16 or fp8",
            remedy="train in bf16, and quantise for inference",
        )
    return training_need(parameters, precision, request.optimizer or "adam", request.activations)


def _geometry(request: Request) -> Geometry | None:
    """Return what the key-value cache depends on; None when it was not given."""
    shape = (request.layers, request.kv_heads, request.head_dim)
    if shape == (None, None, None):
        return None
    layers, kv_heads, head_dim, context = *shape, request.context
    if layers is None or kv_heads is None or head_dim is None or context is None:
        given = {
            "--layers": layers,
            "--kv-heads": kv_heads,
            "--head-dim": head_dim,
            "--context": context,
        }
        missing = [option for option, value in given.items() if value is None]
        raise UsageError(
            "GPU-GEOMETRY",
            f"the key-value cache cannot be computed without {' and '.join(missing)}",
            expected="--layers, --kv-heads, --head-dim and --context together",
            remedy="they stand in the model's config.json; or leave all of them out",
        )
    return Geometry(
        layers,
        kv_heads,
        head_dim,
        context,
        batch=request.batch or 1,
        precision=request.cache_precision or "fp16",
    )


def _check_options(request: Request) -> None:
    for field in fields(request):
        value = getattr(request, field.name)
        if value is None:
            continue
        option = "--" + field.name.replace("_", "-")
        if field.name in _ONLY_FOR and request.purpose not in _ONLY_FOR[field.name]:
            raise UsageError(
                "GPU-OPTION",
                f"{option} means nothing for {request.purpose}",
                expected=f"it goes with --purpose {' or '.join(_ONLY_FOR[field.name])}",
                remedy=f"leave {option} out, or ask for another purpose",
            )
        if isinstance(value, float):
            _finite(option, value)


def _finite(option: str, value: float) -> None:
    if not math.isfinite(value):
        raise UsageError(
            "GPU-OPTION",
            f"{option} {value} is no quantity",
            expected="a finite number",
            remedy="write it in digits",
        )
