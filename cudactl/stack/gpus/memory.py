"""How much GPU memory a model needs: each term with its formula, and what is left out.

Arithmetic only, in decimal units (1 GB = 10^9 bytes). What a user did not give is not estimated: it
is named as not included.

Sources: 16 bytes per parameter for mixed-precision Adam, Rajbhandari et al. 2020 (ZeRO,
arXiv:1910.02054, section 3.1); the size of a key-value cache follows from its definition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from cudactl.contracts.errors import UsageError

Purpose = Literal["training", "inference"]

WEIGHT_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
"""Bytes per parameter when a model is served."""

CACHE_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0}
"""Bytes per element of the key-value cache."""

OPTIMIZER_STATES: dict[str, tuple[tuple[str, float], ...]] = {
    "adam": (("first moment", 4.0), ("second moment", 4.0)),
    "adamw": (("first moment", 4.0), ("second moment", 4.0)),
    "adam-8bit": (("first moment", 1.0), ("second moment", 1.0)),
    "sgd": (),
    "sgd-momentum": (("momentum", 4.0),),
}
"""Optimizer → what it keeps per parameter beside the FP32 master copy, in bytes."""

_SCALE = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
SMALLEST, LARGEST = 1e3, 1e15
"""Numbers of parameters that are taken for a model: "70" alone is a forgotten unit."""


@dataclass(frozen=True)
class Term:
    """One part of the memory that is needed."""

    what: str
    formula: str
    """With the numbers put in."""
    gb: float
    """GB (10^9 bytes)."""


@dataclass(frozen=True)
class MemoryNeed:
    """What a model needs, and what that number stands on."""

    terms: tuple[Term, ...]
    assumptions: tuple[str, ...]
    not_included: tuple[str, ...]

    @property
    def gb(self) -> float:
        """All terms together, GB."""
        return sum(term.gb for term in self.terms)


@dataclass(frozen=True)
class Geometry:
    """What the key-value cache of a transformer depends on."""

    layers: int
    kv_heads: int
    """Heads of keys and values; fewer than the query's with grouped-query attention."""
    head_dim: int
    context: int
    """Tokens of one sequence."""
    batch: int = 1
    """Sequences at a time."""
    precision: str = "fp16"
    """Of the cache: a key of CACHE_BYTES."""


def parameters_of(text: str) -> float:
    """Return the parameters that "70B", "7b", "350M" or "1.8T" mean.

    Raises:
        UsageError: GPU-MODEL-SIZE.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([kmbt]?)", text.strip().lower())
    count = float(found.group(1)) * _SCALE[found.group(2)] if found else 0.0
    if not SMALLEST <= count <= LARGEST:
        raise UsageError(
            "GPU-MODEL-SIZE",
            f"--model {text if len(text) <= 40 else text[:39] + '…'} is no number of parameters",
            expected="parameters in all, with their unit: 7B, 70B, 350M, 1.8T",
            remedy="for a mixture of experts give all of its parameters: every expert is in memory",
        )
    return count


def inference_need(
    parameters: float, precision: str, geometry: Geometry | None = None
) -> MemoryNeed:
    """Return what serving a model needs: weights, and the key-value cache where it is known."""
    each = WEIGHT_BYTES[precision]
    terms = [_per_parameter(f"weights in {precision.upper()}", parameters, each)]
    left_out = ["activations and the workspace of libraries", "the CUDA context of each process"]
    assumed = ["all parameters are in GPU memory, split evenly over the GPUs"]
    if precision in ("int8", "int4"):
        assumed.append("scales and zero points of the quantisation weigh nothing")
        assumed.append("only the weights are quantised: arithmetic is FP16")
    if geometry is None:
        left_out.insert(
            0, "the key-value cache (give --layers, --kv-heads, --head-dim and --context)"
        )
    else:
        g = geometry
        size = CACHE_BYTES[g.precision]
        count = 2 * g.layers * g.kv_heads * g.head_dim * size * g.context * g.batch
        terms.append(
            Term(
                f"key-value cache in {g.precision.upper()}",
                f"2 (keys, values) x {g.layers} layers x {g.kv_heads} heads x {g.head_dim} "
                f"x {size:g} bytes x {g.context} tokens x {g.batch} sequences",
                count / 1e9,
            )
        )
        assumed.append("every sequence is as long as --context")
    return MemoryNeed(tuple(terms), tuple(assumed), tuple(left_out))


def training_need(
    parameters: float, precision: str, optimizer: str, activations_gb: float | None = None
) -> MemoryNeed:
    """Return what mixed-precision training needs: weights, gradients, master copy, optimizer."""
    terms = [
        _per_parameter("weights in 16 bits", parameters, 2.0),
        _per_parameter("gradients in 16 bits", parameters, 2.0),
        _per_parameter("master copy of the weights in FP32", parameters, 4.0),
    ]
    terms += [
        _per_parameter(f"{optimizer}: {what}", parameters, size)
        for what, size in OPTIMIZER_STATES[optimizer]
    ]
    assumed = [
        "every parameter is trained (no adapters)",
        "weights, gradients and optimizer are split evenly over the GPUs (ZeRO stage 3, FSDP)",
    ]
    if precision == "fp8":
        assumed.append("FP8 is what the matrix products are computed in; what is kept is 16 bits")
    left_out = ["the workspace of libraries", "the CUDA context of each process"]
    if activations_gb is None:
        left_out.insert(0, "activations (give --activations GB: they depend on batch and length)")
    else:
        terms.append(Term("activations", "as given", activations_gb))
    return MemoryNeed(tuple(terms), tuple(assumed), tuple(left_out))


def _per_parameter(what: str, parameters: float, each: float) -> Term:
    return Term(what, f"{spelled(parameters)} parameters x {each:g} bytes", parameters * each / 1e9)


def plain(value: float, digits: int = 5) -> str:
    """Return a number with so many digits that count, never as a power of ten."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def spelled(parameters: float) -> str:
    """Return a number of parameters as people write it: "70B"."""
    for unit in ("t", "b", "m", "k"):
        if parameters >= _SCALE[unit]:
            return f"{parameters / _SCALE[unit]:g}{unit.upper()}"
    return f"{parameters:g}"
