"""`stack check`: judge wishes from the catalogue alone, without index and network.

The same question that `stack lock` asks, over everything that the catalogue knows. Many specs share
one search, so that hundreds are judged in a second.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cudactl.contracts.lock import Allowance
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecFact, SpecFinding, SpecVerdict
from cudactl.stack.facts.catalogue import Catalogue, load_catalogue
from cudactl.stack.refusals import StackRefused
from cudactl.stack.solver.constraints import FLAGS, REFUSALS, Rule
from cudactl.stack.solver.constraints.frameworks import driver_cuda
from cudactl.stack.solver.dimensions import Choice, catalogue_dimensions
from cudactl.stack.solver.explaining import conflicts, speak, unanswered
from cudactl.stack.solver.instance import Instance
from cudactl.stack.solver.solving import Question, Solution, prepare, solve
from cudactl.stack.solver.wishes import NEED_CUDA, wishes_of
from cudactl.stack.spec import side_by_side
from cudactl.stack.spec.mirror_address import mirror_findings
from cudactl.stack.versions import admits

SEVERITIES = ("refused", "flagged", "note")
COMPONENTS = (
    *("driver", "cuda", "cudnn", "tensorrt", "tensorrt_rtx", "nccl", "dcgm", "container_toolkit"),
)


def check_spec(
    spec: StackSpec, catalogue: Catalogue | None = None, allowed: Sequence[Allowance] = ()
) -> SpecVerdict:
    """Return what the catalogue says of a wish. Never raises for a wish that can be read.

    Args:
        spec: The wish.
        catalogue: Facts; the one that came with cudactl where none is given.
        allowed: Refusals that are overridden, with reasons.
    """
    return judge(catalogue_question(spec, catalogue or load_catalogue(), allowed), allowed)


def catalogue_question(
    spec: StackSpec,
    catalogue: Catalogue,
    allowed: Sequence[Allowance] = (),
    *,
    alone: bool = False,
) -> Question:
    """Return the question that asks a wish of the whole catalogue.

    Args:
        spec: The wish.
        catalogue: Facts.
        allowed: Refusals that are overridden.
        alone: True where no other spec follows: only what this one asks for is prepared.
    """
    wishes = wishes_of(spec)
    if alone:
        instance = Instance(catalogue_dimensions(catalogue, {wish.dim for wish in wishes}))
    elif catalogue is load_catalogue():
        instance = _shared_instance(catalogue.hash)
    else:
        instance = _instance(catalogue)
    return Question(
        spec, catalogue, wishes, instance, tuple(allowance.code for allowance in allowed)
    )


def judge(question: Question, allowed: Sequence[Allowance] = ()) -> SpecVerdict:
    """Return the verdict on a question, whatever values it is asked over."""
    findings, solution, beside = answer_all(question)
    findings = [_overridden(finding, allowed) for finding in findings]
    if solution is None:
        return SpecVerdict(verdict="refused", findings=findings)
    findings += all_flags(question, solution, beside, allowed)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    flagged = any(finding.severity == "flagged" for finding in findings)
    flavour = solution.get("flavour")
    return SpecVerdict.model_validate(
        {
            "verdict": "flagged" if flagged else "ok",
            "findings": findings,
            "resolved": resolved(question.spec, solution),
            "driver_flavour": flavour.version if flavour else None,
        }
    )


@dataclass(frozen=True)
class Beside:
    """A toolkit beside the active one, as it was judged."""

    wish: str
    """As written in `cuda_also`."""
    question: Question
    solution: Solution


def answer_all(question: Question) -> tuple[list[SpecFinding], Solution | None, list[Beside]]:
    """Return the solution and those of the toolkits beside it, or what stands in their way."""
    spec = question.spec
    wrong = side_by_side.malformed(spec)
    if wrong is not None:
        return [wrong], None, []
    main = question
    newest = side_by_side.newest_beside(spec)
    if newest is not None:
        findings, found = answer(side_by_side.asking(question, side_by_side.alone(spec, newest)))
        if found is None:
            return side_by_side.about(findings, newest), None, []
        main = side_by_side.asking(question, side_by_side.with_driver(spec, found))
    findings, solution = answer(main)
    beside: list[Beside] = []
    for wish in spec.cuda_also if solution is not None else ():
        assert solution is not None
        one = side_by_side.with_driver(side_by_side.alone(spec, wish), solution)
        asked = side_by_side.asking(question, one)
        said, found = answer(asked)
        if found is None:
            return side_by_side.about(said, wish), None, []
        beside.append(Beside(wish, asked, found))
    return findings, solution, beside


def all_flags(
    question: Question,
    solution: Solution,
    beside: Sequence[Beside],
    allowed: Sequence[Allowance],
) -> list[SpecFinding]:
    """Return `flags`, and those that only a toolkit beside the active one has."""
    found = flags(question, solution, allowed)
    texts = {finding.text for finding in found}
    for one in beside:
        more = flags(one.question, one.solution, allowed)
        found += side_by_side.about([f for f in more if f.text not in texts], one.wish)
    return found


def answer(question: Question) -> tuple[list[SpecFinding], Solution | None]:
    """Return the solution, or the refusals that stand in its way."""
    missing = _cuda_missing(question.spec) or _nothing(question)
    if missing is not None:
        return [missing], None
    try:
        hopeless = prepare(question)
    except StackRefused as refused:
        return [_from_error(refused, question)], None
    if hopeless:
        return [unanswered(question, wish, hopeless) for wish in hopeless], None
    solution = solve(question)
    if solution is None:
        return conflicts(question), None
    return [], solution


def flags(
    question: Question, solution: Solution, allowed: Sequence[Allowance]
) -> list[SpecFinding]:
    """Return what is to be said of a stack that was found: overridden refusals, flags, notes."""
    catalogue = question.catalogue
    found = mirror_findings(question.spec, catalogue)
    for rule in (*REFUSALS, *FLAGS):
        overridden = rule.severity == "refused"
        if overridden and rule.code not in question.allowed:
            continue
        for combination in _combinations(rule, question, solution):
            if rule.clashes(*combination):
                finding = speak(rule, catalogue, combination)
                found.append(_overridden(finding, allowed) if overridden else finding)
                break
    return found


def resolved(spec: StackSpec, solution: Mapping[str, Choice]) -> dict[str, str]:
    """Return component → version, as a lock says it."""
    found = {name: solution[name].version for name in COMPONENTS if name in solution}
    if spec.driver is not None and spec.driver.branch == "preinstalled":
        found["driver"] = "preinstalled"
    return found


def _combinations(
    rule: Rule, question: Question, solution: Solution
) -> itertools.product[tuple[Choice, ...]] | list[tuple[Choice, ...]]:
    domains: list[list[Choice]] = []
    for dim in rule.dims:
        if dim == "gpu":
            names = [wish.value for wish in question.wishes if wish.dim == "gpu"]
            known = question.instance.dimensions.get("gpu", [])
            domains.append([choice for choice in known if choice.version in names])
        elif dim in solution:
            domains.append([solution[dim]])
        else:
            told = _told(dim, question, solution)
            domains.append([told] if told is not None else [])
    return list(itertools.product(*domains))


def _told(dim: str, question: Question, solution: Solution) -> Choice | None:
    """Return a value that is not chosen but follows: the catalogue's day, the newest of a kind."""
    catalogue = question.catalogue
    if dim == "day":
        return Choice("day", catalogue.day)
    if dim == "newest_tensorrt":
        return Choice(dim, catalogue.tensorrt[-1].version)
    if dim == "newest_patch" and "cuda" in solution:
        minor = solution["cuda"].row.minor
        there = question.instance.dimensions["cuda"]
        return next(choice for choice in there if admits(minor, choice.version))
    if dim == "driver_cuda" and "driver" in solution:
        return driver_cuda(catalogue, solution["driver"])
    return None


def _cuda_missing(spec: StackSpec) -> SpecFinding | None:
    for key in NEED_CUDA:
        if getattr(spec, key) is not None and spec.cuda is None:
            return SpecFinding(
                code="STACK-CUDA-MISSING",
                severity="refused",
                text=f"{key} is asked for, and no cuda: its version decides which build is taken",
                wishes=[f"{key}: {getattr(spec, key)}"],
                facts=[
                    SpecFact(
                        text=f"{key} is built for one CUDA at a time", source="NVIDIA's packages"
                    )
                ],
                remedy='add a line such as: cuda: "13.0"',
            )
    return None


def _nothing(question: Question) -> SpecFinding | None:
    about = {"os", "arch", "packages", "gpu", "kernel"}
    spec = question.spec
    preinstalled = spec.driver is not None and spec.driver.branch == "preinstalled"
    if any(wish.dim not in about for wish in question.wishes) or preinstalled:
        return None
    return SpecFinding(
        code="STACK-EMPTY",
        severity="refused",
        text="the spec asks for no package at all",
        facts=[SpecFact(text="no component and no driver is named", source="the spec")],
        remedy='add a line such as: cuda: "13.0"',
    )


def _from_error(error: StackRefused, question: Question) -> SpecFinding:
    return SpecFinding(
        code=error.code,
        severity="refused",
        text=error.found,
        wishes=[],
        facts=[SpecFact(text=error.expected or error.found, source="the catalogue")],
        remedy=error.remedy,
    )


def _overridden(finding: SpecFinding, allowed: Sequence[Allowance]) -> SpecFinding:
    for allowance in allowed:
        if allowance.code == finding.code:
            return finding.model_copy(update={"severity": "flagged", "allowed": allowance.reason})
    return finding


def _instance(catalogue: Catalogue) -> Instance:
    return Instance(catalogue_dimensions(catalogue))


@lru_cache(maxsize=1)
def _shared_instance(_: str) -> Instance:
    return _instance(load_catalogue())
