"""Why a wish cannot stand: which wishes, which facts, and the nearest wishes that can.

A refusal names the smallest set of wishes that cannot stand together, the fact and source behind
it, and single changes that would work, nearest first.
"""

from __future__ import annotations

import bisect
import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Sequence

from cudactl.contracts.verdict import NearestSpec, SpecFact, SpecFinding
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.refusals import listed
from cudactl.stack.solver.constraints import REFUSALS, Rule, Said
from cudactl.stack.solver.constraints.rule import fact
from cudactl.stack.solver.dimensions import Choice
from cudactl.stack.solver.solving import Question
from cudactl.stack.solver.wishes import NEED_CUDA, Wish
from cudactl.stack.versions import nearest, numbers

MOST_NEAREST = 4
MOST_CONFLICTS = 4
READINESS = (
    *("driver.flavour", "driver.branch", "driver", "container_toolkit", "dcgm", "nccl", "cudnn"),
    *("tensorrt", "tensorrt_rtx", "frameworks.tensorflow", "frameworks.torch", "driver.source"),
    *("cuda", "packages", "os", "arch", "gpus"),
)
"""What people change most readily, first."""

TITLES = {
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT for RTX",
    "nccl": "NCCL",
    "dcgm": "DCGM",
    "container_toolkit": "container toolkit",
    "driver": "driver",
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
}


def unanswered(question: Question, wish: Wish, hopeless: Sequence[Wish]) -> SpecFinding:
    """Return the refusal of a wish that no value answers: a version that does not exist."""
    catalogue = question.catalogue
    others = [other for other in question.wishes if other not in hopeless]
    changes = _changes(question, wish, others, count=3)
    known = [c for c in question.instance.dimensions.get(wish.dim, []) if not c.named]
    if wish.dim == "os":
        names = ", ".join(choice.version for choice in known)
        text = f"{wish.value} is not supported; cudactl knows {names}"
        facts = [fact("NVIDIA has a repository for each of these", catalogue.distributions[0])]
        remedy = "choose one of them"
        return _refusal("STACK-OS-NOT-SUPPORTED", text, [wish], facts, changes, remedy)
    versions = list(dict.fromkeys(choice.version for choice in known))
    name = TITLES.get(wish.dim, wish.dim)
    beyond = bool(versions) and numbers(wish.value) > max(map(numbers, versions))
    text, code = f"there is no {name} {wish.value}", "STACK-UNKNOWN-VERSION"
    if beyond:
        text = f"{name} {wish.value} is not known to the catalogue of {catalogue.day}"
    if question.index is not None:
        text = f"{question.index} has no {name} {wish.value}; it has {listed(versions)}"
        code, beyond = "STACK-VERSION-NOT-IN-INDEX", False
    if versions:
        near = ", ".join(nearest(wish.value, versions))
        least, most = min(versions, key=numbers), max(versions, key=numbers)
        told = f"{name} versions known: {least} to {most}; nearest {near}"
    else:
        told = f"no {name} is known"
    row = next((choice.row for choice in known if choice.row is not None), catalogue.toolkits[-1])
    remedy = "choose one that exists"
    if beyond:
        remedy += "; if it is new: cudactl catalogue refresh, or a newer cudactl"
    return _refusal(code, text, [wish], [fact(told, row)], changes, remedy)


def conflicts(question: Question) -> list[SpecFinding]:
    """Return why the wishes cannot stand together, one finding a set of wishes and a reason."""
    written = [wish for wish in question.wishes if wish.written]
    fixed = [wish for wish in question.wishes if not wish.written]
    sets = question.instance.smallest_conflicts(written, fixed, question.allowed)
    found = []
    for wishes in sets[:MOST_CONFLICTS]:
        together = (*wishes, *fixed)
        for codes in question.instance.smallest_reasons(together, question.allowed):
            found.append(_conflict(question, wishes, together, codes))
    return found


def _conflict(
    question: Question, wishes: Sequence[Wish], together: Sequence[Wish], codes: Sequence[str]
) -> SpecFinding:
    told = [(code, said) for code in codes for said in _said(question, together, code)]
    if not told:
        raise AssertionError(f"no rule explains {[wish.text for wish in together]}")
    code, first = told[0]
    text, remedy = "; ".join(dict.fromkeys(said.text for _, said in told)), first.remedy
    if len(codes) > 1:
        text = f"{', '.join(wish.text for wish in wishes)} cannot stand together: {text}"
        code, remedy = "STACK-CONFLICT", "change one of them"
    elif len(told) > 1:
        remedy = "change one of them"
    if any(rule.code == code and rule.allowable for rule in REFUSALS):
        remedy += f"; or, knowing better: --allow {code} --reason TEXT"
    facts = list(dict.fromkeys(one for _, said in told for one in said.facts))
    dims = {dim for rule in REFUSALS if rule.code in codes for dim in rule.dims}
    changes = nearest_specs(question, [w for w in together if w in wishes or w.dim in dims])
    return _refusal(code, text, wishes, facts, changes, remedy)


def _said(question: Question, wishes: Sequence[Wish], code: str) -> list[Said]:
    """Let a rule speak of the best values that the wishes admit and that it forbids.

    Where several GPUs are part of the conflict, it speaks of each.
    """
    gpus: list[Wish | None] = [wish for wish in wishes if wish.dim == "gpu"]
    context = [one.code for one in REFUSALS if one.background and one.code != code]
    found = []
    for rule in REFUSALS:
        if rule.code != code or not set(rule.dims) <= {wish.dim for wish in question.wishes}:
            continue
        for gpu in gpus if "gpu" in rule.dims and gpus else [None]:
            about = [w for w in wishes if w.dim != "gpu" or w is gpu]
            domains = [_domain(question, about, dim) for dim in rule.dims]
            for combination in itertools.product(*domains):
                if rule.clashes(*combination) and question.instance.possible(
                    about, values=combination, rules=[*context]
                ):
                    found.append(rule.says(question.catalogue, *combination))
                    break
    return found


def _domain(question: Question, wishes: Sequence[Wish], dim: str) -> list[Choice]:
    about = [wish for wish in (*wishes, *question.wishes) if wish.dim == dim]
    values: list[Choice] = []
    for wish in about:
        values += [c for c in question.instance.admitted(wish) if c not in values]
        if wish in wishes and dim != "gpu":
            return values
    return values or question.instance.dimensions.get(dim, [])


def nearest_specs(question: Question, wishes: Iterable[Wish]) -> list[NearestSpec]:
    """Return single changes after which everything stands, most natural first."""
    found: list[tuple[tuple[int, int], NearestSpec]] = []
    for wish in wishes:
        rank = READINESS.index(wish.key) if wish.key in READINESS else len(READINESS)
        others = [other for other in question.wishes if other is not wish]
        for place, change in enumerate(_changes(question, wish, others)):
            found.append(((place, rank), change))
    found.sort(key=lambda entry: entry[0])
    return [change for _, change in found][:MOST_NEAREST]


def _changes(
    question: Question, wish: Wish, others: list[Wish], count: int = 2
) -> list[NearestSpec]:
    """Return a few values for one wish that work with all the others."""
    instance, allowed = question.instance, question.allowed
    others = [other for other in others if other is not wish]
    if not instance.possible(others, without=allowed):
        return []
    if wish.dim == "gpu":
        return [NearestSpec(key="gpus", value=None, text=f"lock hosts with {wish.value} apart")]
    changes: list[NearestSpec] = []
    for choice in sorted(
        (c for c in instance.dimensions.get(wish.dim, ()) if not wish.admits(c) and not c.named),
        key=_distance(question, wish),
    ):
        value = _like(wish, choice.version)
        change = _change(wish, value)
        if change in changes or (numbers(value) and not re.fullmatch(r"[0-9.]+", value)):
            continue
        if instance.possible(others, values=[choice], without=allowed):
            changes.append(change)
            if len(changes) == count:
                break
    if not changes and _can_go(question, wish):
        changes.append(NearestSpec(key=wish.key, value=None, text=f"leave out {wish.key}"))
    return changes


def _can_go(question: Question, wish: Wish) -> bool:
    """Return True when the spec still means something without this key."""
    if wish.dim in ("os", "arch", "packages", "source", "flavour", "driver"):
        return False
    rest = {other.dim for other in question.wishes if other is not wish}
    if wish.dim == "cuda" and rest & set(NEED_CUDA):
        return False
    return bool(rest - {"os", "arch", "packages", "source", "flavour", "gpu", "kernel"})


def _distance(question: Question, wish: Wish) -> Callable[[Choice], tuple[object, ...]]:
    """Order values by how far they are from the wish, in steps of what exists; newer first."""
    if wish.dim == "os":
        alike = difflib.SequenceMatcher(b=wish.value)

        def resemblance(choice: Choice) -> tuple[object, ...]:
            alike.set_seq1(choice.version)
            return (-alike.ratio(), choice.version)

        return resemblance
    known = question.instance.dimensions.get(wish.dim, ())
    steps = sorted({numbers(choice.version) for choice in known})
    meant = next((m for m in map(replacement, question.instance.admitted(wish)) if m), wish.value)
    goal = bisect.bisect_left(steps, numbers(meant))
    place = {version: index for index, version in enumerate(steps)}

    def distance(choice: Choice) -> tuple[object, ...]:
        index = place[numbers(choice.version)]
        return (abs(index - goal), -index)

    return distance


def replacement(choice: Choice) -> str | None:
    """Return the branch that a transitional package of an archive really installs."""
    for row in choice.archive.values():
        if row.becomes:
            return next((part for part in row.becomes.split("-") if part.isdigit()), None)
    return None


def _like(wish: Wish, version: str) -> str:
    """Return a version with as many parts as the wish was written with: "12.9.1" → "12.9"."""
    if wish.key == "driver":
        return version.split(".")[0]
    parts = wish.value.count(".") + 1 if numbers(wish.value) else 9
    if wish.dim in ("cuda", "torch", "tensorflow"):
        parts = max(parts, 2)
    return ".".join(version.split(".")[:parts])


def _change(wish: Wish, value: str) -> NearestSpec:
    key = "driver.branch" if wish.key == "driver" else wish.key
    if "." not in key:
        quoted = f'"{value}"' if numbers(value) else value
        return NearestSpec(key=key, value=value, text=f"{key}: {quoted}")
    outer, _, inner = key.partition(".")
    quoted = f'"{value}"' if numbers(value) else value
    return NearestSpec(key=key, value=value, text=f"{outer}: {{{inner}: {quoted}}}")


def _refusal(
    code: str,
    text: str,
    wishes: Sequence[Wish],
    facts: list[SpecFact],
    changes: list[NearestSpec],
    remedy: str,
) -> SpecFinding:
    return SpecFinding(
        code=code,
        severity="refused",
        text=text,
        wishes=[wish.text for wish in wishes],
        facts=facts,
        nearest=changes,
        remedy=remedy,
    )


def speak(rule: Rule, catalogue: Catalogue, combination: Sequence[Choice]) -> SpecFinding:
    """Return what a rule says of one combination of values."""
    said = rule.says(catalogue, *combination)
    return SpecFinding(
        code=rule.code,
        severity=rule.severity,
        text=said.text,
        wishes=[],
        facts=list(said.facts),
        remedy=said.remedy,
    )
