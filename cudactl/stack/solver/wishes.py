"""From a spec to wishes: what each written key asks of which dimension, and what is asked unsaid.

A wish admits some values of one dimension. Wishes are what a refusal names, so each knows the words
that the user wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cudactl.contracts.spec import StackSpec
from cudactl.stack.solver.dimensions import LIBRARIES, Choice
from cudactl.stack.versions import admits

NEED_CUDA = ("cudnn", "tensorrt", "tensorrt_rtx", "nccl")
"""Components whose packages differ by CUDA version."""


@dataclass(frozen=True)
class Wish:
    """One key of the spec, or a default that stands for it."""

    key: str
    """Key as written, e.g. "driver.branch"; "gpus" stands for each of its entries."""
    dim: str
    """Dimension it speaks of."""
    value: str
    """Value as written; for a default, what it means."""
    admits: Callable[[Choice], bool]
    """Whether a value of the dimension answers it."""
    written: bool = True
    """False for what is asked because nothing was written."""

    @property
    def text(self) -> str:
        """The wish in the user's words."""
        if not self.written:
            return f"{self.key} (not written: {self.value})"
        return f"{self.key}: {self.value}"

    @property
    def slot(self) -> tuple[str, str]:
        """What tells this wish from the spec's others; wishes of equal slot admit the same."""
        return (self.key if self.written else f"{self.key}?", self.value)


def wishes_of(spec: StackSpec) -> list[Wish]:
    """Return what a spec asks for, in the order of the spec's keys."""
    found = [
        _exactly("os", "os", spec.os),
        _exactly("arch", "arch", spec.arch, written="arch" in spec.model_fields_set),
        _exactly(
            "packages", "packages", spec.packages, written="packages" in spec.model_fields_set
        ),
    ]
    found += [_exactly("gpus", "gpu", name) for name in dict.fromkeys(spec.gpus)]
    if spec.kernel is not None:
        found.append(_exactly("kernel", "kernel", spec.kernel))
    found += _driver(spec)
    if spec.cuda is not None:
        found.append(_prefix("cuda", "cuda", spec.cuda))
    for dim in LIBRARIES:
        prefix = getattr(spec, dim)
        if prefix is not None:
            found.append(_prefix(dim, dim, prefix))
    for name, prefix in sorted(spec.frameworks.items()):
        found.append(_prefix(f"frameworks.{name}", name, prefix))
    return found


def brings_driver(spec: StackSpec) -> bool:
    """Return True when a stack of this wish holds a driver."""
    branch = spec.driver.branch if spec.driver is not None else None
    if branch in ("none", "preinstalled"):
        return False
    if branch is not None or (spec.packages == "apt" and not _only_frameworks(spec)):
        return True
    # A flavour or a source that is written down asks for a driver, even where none can come.
    written = spec.driver.model_fields_set if spec.driver is not None else set()
    return bool(written & {"flavour", "source"})


def _only_frameworks(spec: StackSpec) -> bool:
    others = (spec.cuda, spec.container_toolkit, spec.dcgm, spec.driver)
    return bool(spec.frameworks) and all(value is None for value in others)


def _driver(spec: StackSpec) -> list[Wish]:
    if not brings_driver(spec):
        return []
    driver = spec.driver
    branch = driver.branch if driver is not None else None
    source = driver.source if driver is not None else "nvidia"
    flavour = driver.flavour if driver is not None else "auto"
    named_source = driver is not None and "source" in driver.model_fields_set
    found = [_exactly("driver.source", "source", source, written=named_source)]
    if branch is not None:
        found.append(_prefix("driver.branch", "driver", branch))
    else:
        found.append(
            Wish(
                "driver",
                "driver",
                "the newest long-term or production branch that fits",
                is_default,
                written=False,
            )
        )
    if flavour == "auto":
        anything = Wish(
            "driver.flavour", "flavour", "open or proprietary", lambda _: True, written=False
        )
        found.append(anything)
    else:
        found.append(_exactly("driver.flavour", "flavour", flavour))
    return found


def is_default(choice: Choice) -> bool:
    """Return True for a driver that may be chosen when the spec names none."""
    replaced = bool(choice.archive) and all(row.becomes for row in choice.archive.values())
    return choice.branch.kind in ("LTS", "PB") and not replaced and not choice.named


def _exactly(key: str, dim: str, value: str, *, written: bool = True) -> Wish:
    return Wish(key, dim, value, lambda choice: choice.version == value, written)


def _prefix(key: str, dim: str, prefix: str) -> Wish:
    def answers(choice: Choice) -> bool:
        if choice.named:
            return choice.version == prefix
        return admits(prefix, choice.version)

    return Wish(key, dim, prefix, answers)
