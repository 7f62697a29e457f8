"""Several toolkits on one host: each is judged as a spec of its own would be, with one driver.

`cuda` is the active one, to which cuDNN, TensorRT and NCCL belong; those of `cuda_also` are
toolkits only. The driver is chosen for the newest of all, since that one asks most of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cudactl.contracts.spec import DriverSpec, StackSpec
from cudactl.contracts.verdict import SpecFact, SpecFinding
from cudactl.stack.solver.solving import Question, Solution
from cudactl.stack.solver.wishes import brings_driver, wishes_of
from cudactl.stack.versions import admits, numbers

KEY = "cuda_also"
CODE = "STACK-CUDA-ALSO"
OF_THE_ACTIVE = (
    *("cudnn", "tensorrt", "tensorrt_rtx", "nccl", "dcgm", "container_toolkit"),
    "container_runtime",
)


def malformed(spec: StackSpec) -> SpecFinding | None:
    """Return why the toolkits of a spec cannot stand side by side, before any fact is asked."""
    if not spec.cuda_also:
        return None
    if spec.packages == "wheels":
        return _refused(
            "wheels of several toolkits are no single stack",
            "a stack of wheels has one folder, and a second stack is another lock",
            "write a second spec for the other toolkit; stacks lie side by side",
        )
    if spec.cuda is None:
        return _refused(
            "toolkits are asked for beside one that is not written",
            "cuda is the toolkit that is active",
            'add a line such as: cuda: "13.0"',
        )
    asked = [spec.cuda, *spec.cuda_also]
    for index, one in enumerate(asked):
        for other in asked[:index]:
            if admits(one, other) or admits(other, one) or minor(one) == minor(other):
                return _refused(
                    f"{one} and {other} are the same toolkit minor",
                    "releases of one minor share their folder, /usr/local/cuda-X.Y",
                    f"write each minor once in cuda and {KEY}",
                )
    return None


def minor(version: str) -> str:
    """Return the minor that a version or prefix names: "13.0.2" → "13.0"."""
    return ".".join(version.split(".")[:2])


def newest_beside(spec: StackSpec) -> str | None:
    """Return the toolkit that decides the driver, where that is not the active one."""
    free = brings_driver(spec) and (spec.driver is None or spec.driver.branch is None)
    newest = max(spec.cuda_also, key=numbers, default=None)
    if not free or newest is None or spec.cuda is None or numbers(newest) < numbers(spec.cuda):
        return None
    return newest


def alone(spec: StackSpec, cuda: str) -> StackSpec:
    """Return the spec of one toolkit beside the active one: it, the driver and the machine."""
    return _written(spec, {"cuda": cuda, KEY: [], "frameworks": {}, **dict.fromkeys(OF_THE_ACTIVE)})


def with_driver(spec: StackSpec, solution: Solution) -> StackSpec:
    """Return the spec with exactly the driver of a solution, where that has one."""
    driver = solution.get("driver")
    if driver is None:
        return spec
    values = spec.driver.model_dump(exclude_unset=True) if spec.driver is not None else {}
    values["branch"] = driver.version
    if "flavour" in solution:
        values["flavour"] = solution["flavour"].version
    return _written(spec, {"driver": DriverSpec.model_validate(values)})


def asking(question: Question, spec: StackSpec) -> Question:
    """Return the same question about another spec."""
    return replace(question, spec=spec, wishes=wishes_of(spec))


def about(findings: Sequence[SpecFinding], cuda: str) -> list[SpecFinding]:
    """Return findings that say which of the toolkits they are about."""
    return [
        one.model_copy(update={"text": f"{KEY} {cuda}: {one.text}", "nearest": []})
        for one in findings
    ]


def _written(spec: StackSpec, values: dict[str, object]) -> StackSpec:
    """Return a copy in which what is emptied counts as not written."""
    copy = spec.model_copy(update=values)
    kept = {key: getattr(copy, key) for key in copy.model_fields_set if getattr(copy, key)}
    return StackSpec.model_validate({**kept, "os": spec.os})


def _refused(text: str, fact: str, remedy: str) -> SpecFinding:
    return SpecFinding(
        code=CODE,
        severity="refused",
        text=text,
        wishes=[KEY],
        facts=[SpecFact(text=fact, source="how toolkits are installed")],
        remedy=remedy,
    )
