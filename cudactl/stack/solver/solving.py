"""From a wish to the one stack that answers it best, or to what stands in the way.

Values are decided dimension by dimension, the best that still leaves a solution: the newest CUDA,
then the driver, and so on. Same wishes, catalogue and index: same stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cudactl.contracts.spec import StackSpec
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.solver.constraints.driver import complete
from cudactl.stack.solver.dimensions import ORDER, Choice, gpu_choice
from cudactl.stack.solver.instance import Instance
from cudactl.stack.solver.wishes import Wish
from cudactl.stack.versions import numbers

Solution = dict[str, Choice]
"""Dimension → the value that was chosen; GPUs stand in the wishes."""


@dataclass(frozen=True)
class Question:
    """One spec, ready to be asked."""

    spec: StackSpec
    catalogue: Catalogue
    wishes: Sequence[Wish]
    instance: Instance
    allowed: tuple[str, ...] = ()
    """Codes of refusals that are overridden."""
    index: str | None = None
    """What the index is called, where its packages are all that there is; else the catalogue."""


def prepare(question: Question) -> list[Wish]:
    """Add the values that only this spec names; return the wishes that nothing can answer."""
    hopeless = []
    for wish in question.wishes:
        if question.instance.admitted(wish):
            continue
        choice = _named(question, wish)
        if choice is not None:
            question.instance.add(choice)
        if not question.instance.admitted(wish):
            hopeless.append(wish)
    return hopeless


def _named(question: Question, wish: Wish) -> Choice | None:
    catalogue = question.catalogue
    if wish.dim == "gpu":
        return gpu_choice(catalogue, wish.value, find_gpus(catalogue, wish.value))
    if wish.dim == "kernel":
        return Choice("kernel", wish.value, catalogue.kernels)
    if wish.dim == "driver" and wish.written and "." in wish.value:
        branch = catalogue.branch(wish.value.split(".")[0])
        if branch is not None:
            return Choice("driver", wish.value, branch, known=False, named=True, source="nvidia")
    return None


def solve(question: Question) -> Solution | None:
    """Return the best stack, or None when the wishes cannot stand together."""
    instance, without = question.instance, question.allowed
    if not instance.possible(question.wishes, without=without):
        return None
    solution: Solution = {}
    chosen: list[Choice] = []
    for dim in ORDER:
        wishes = [wish for wish in question.wishes if wish.dim == dim]
        if not wishes or dim == "gpu":
            continue
        values = [c for c in instance.admitted(wishes[0]) if all(w.admits(c) for w in wishes)]
        for choice in sorted(values, key=preference(question, solution, dim)):
            if instance.possible(question.wishes, values=[*chosen, choice], without=without):
                solution[dim] = choice
                chosen.append(choice)
                break
        else:
            raise AssertionError(f"{dim} was possible and has no possible value")
    return solution


def preference(
    question: Question, solution: Solution, dim: str
) -> Callable[[Choice], tuple[object, ...]]:
    """Return the key that sorts a dimension's values best first."""
    cuda = solution.get("cuda")

    def driver(choice: Choice) -> tuple[object, ...]:
        full = cuda is None or complete(choice, cuda)
        eol = choice.branch.eol
        past = eol is not None and eol < question.catalogue.day
        # Among what a spec names (one branch), its newest; among all, a supported one first.
        return (past, full is False, *_newest(choice))

    def flavour(choice: Choice) -> tuple[object, ...]:
        # `auto` is open wherever every GPU accepts it; without GPUs, what the branch prefers.
        best = "open" if question.spec.gpus else solution["driver"].branch.default_flavour
        return (choice.version != best,)

    def torch(choice: Choice) -> tuple[object, ...]:
        other = cuda is not None and cuda.row.minor not in choice.builds
        return (*_newest(choice), other, choice.row is not choice.base)

    special = {"driver": driver, "flavour": flavour, "torch": torch}
    return special.get(dim, _newest)


def _newest(choice: Choice) -> tuple[object, ...]:
    return (_is_preview(choice), tuple(-n for n in numbers(choice.version)))


def _is_preview(choice: Choice) -> bool:
    """Return True for a release candidate: taken only where nothing else answers."""
    return getattr(choice.row, "prerelease", "") == "yes"
