#!/usr/bin/env python3
"""Mutation testing of the judge: each small change to it must turn some test red.

tools/mutants.py                       every mutant (an hour or so); lists the survivors
tools/mutants.py --sample 300          as many, drawn at random (--seed)
tools/mutants.py --only checks/cudnn   of one module

Kept here and not left to mutmut, since that leaves decorated functions alone and every check is
one. A mutant is a module of the judge with one change, loaded in a process of its own: first it
judges all healthy and red fixtures, which takes part of a second; only one that judges them all
rightly is given to the judge's other tests.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import importlib.abc
import importlib.util
import io
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
JUDGE = ROOT / "cudactl" / "judge"
TESTS = ROOT / "tests" / "judge"
LIMIT_S = 60
AGREED = 0.9
KILLED, SURVIVED, BROKEN = 1, 0, 2
UNCHANGED = -1

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
}


@dataclass(frozen=True)
class Mutant:
    """One change to one module."""

    module: str
    path: Path
    number: int
    """Which of the module's changes it is."""
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.text}"


# --- changes ------------------------------------------------------------------------------------


def changes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Apply each change to the tree in turn, yield (line, what it is), and take it back."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    hints = {id(n) for hint in _annotations(tree) for n in ast.walk(hint)}
    for node in [n for n in ast.walk(tree) if id(n) not in hints and id(n) not in docstrings]:
        for field, new, text in _replacements(node):
            old = getattr(node, field)
            setattr(node, field, new)
            yield getattr(node, "lineno", 0), text
            setattr(node, field, old)
        yield from _removals(node)


def _replacements(node: ast.AST) -> Iterator[tuple[str, Any, str]]:
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            new = COMPARED[type(operator)]
            swapped = [*node.ops[:at], new(), *node.ops[at + 1 :]]
            yield "ops", swapped, f"{type(operator).__name__} → {new.__name__}"
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "op", other, f"{type(node.op).__name__} → {type(other).__name__}"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "op", ast.Not(), "not removed"  # replaced in _removals' way, see below
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in CALCULATED:
        new_op = CALCULATED[type(node.op)]
        yield "op", new_op(), f"{type(node.op).__name__} → {new_op.__name__}"
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        negated = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
        yield "test", ast.fix_missing_locations(negated), "condition negated"
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield "ifs", [], "filter removed"
    elif isinstance(node, ast.Constant):
        yield from _constants(node)


def _constants(node: ast.Constant) -> Iterator[tuple[str, Any, str]]:
    value = node.value
    if isinstance(value, bool):
        yield "value", not value, f"{value} → {not value}"
    elif isinstance(value, int | float):
        yield "value", value + 1, f"{value} → {value + 1}"
    elif isinstance(value, str) and value and not set(value) & set(" %,;:()"):
        # A word that decides something; sentences are for people.
        yield "value", value + "XX", f"{value!r} → {value + 'XX'!r}"


def _removals(node: ast.AST) -> Iterator[tuple[int, str]]:
    for field in ("body", "orelse", "finalbody"):
        body = getattr(node, field, None)
        if not isinstance(body, list):
            continue
        for at, statement in enumerate(body):
            if isinstance(statement, ast.Continue):
                new: ast.stmt = ast.Break()
            elif isinstance(statement, ast.Raise | ast.AugAssign) or (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            ):
                new = ast.Pass()
            else:
                continue
            body[at] = ast.copy_location(new, statement)
            yield statement.lineno, f"{type(statement).__name__} → {type(new).__name__}"
            body[at] = statement


def _annotations(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield node.returns


def mutants(path: Path) -> list[Mutant]:
    """Return the mutants of a module."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    tree = ast.parse(path.read_text())
    found = []
    for number, (line, text) in enumerate(changes(tree)):
        if text != "not removed":  # a condition's negation is the same change
            found.append(Mutant(module, path, number, line, text))
    return found


def compiled(mutant: Mutant) -> Any:  # noqa: ANN401 - a code object
    """Return a mutant's code."""
    tree = ast.parse(mutant.path.read_text())
    if mutant.number == UNCHANGED:
        return compile(tree, str(mutant.path), "exec")
    for number, _ in enumerate(changes(tree)):
        if number == mutant.number:
            changed = copy.deepcopy(tree)
            return compile(ast.fix_missing_locations(changed), str(mutant.path), "exec")
    raise LookupError(str(mutant))


class Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a mutant's code."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._code = compiled(mutant)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a specification for the mutant's module only."""
        if name != self._mutant.module:
            return None
        return importlib.util.spec_from_file_location(name, self._mutant.path, loader=self)

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutant's code."""
        exec(self._code, module.__dict__)  # noqa: S102 - that is what a loader does


# --- judging ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Evidence, the policy that it is judged by, and what must come of it."""

    evidence: dict[str, Any]
    policy: dict[str, Any]
    now: float
    check: str
    says: str
    answers: Any


def cases() -> list[Case]:
    """Return the healthy and the red fixtures, each with what its test asks of the judge.

    That is what tests/judge/test_red_fixtures.py asks: every check's status, the words of the one
    that is red, the verdict and the level.
    """
    from tests.judge.healthy import KINDS, NOW, fresh
    from tests.judge.red import every_red

    found = []
    for kind in KINDS:
        evidence, policy = fresh(kind)
        found.append(Case(evidence, policy, NOW, "", "", None))
    for red in every_red():
        evidence, policy = fresh(red.kind)
        red.change(evidence)
        found.append(Case(evidence, policy, NOW, red.check, red.says, None))
    return [replace(case, answers=answers(case)) for case in found]


def answers(case: Case) -> Any:  # noqa: ANN401 - compared, and nothing else
    """Return what a fixture's test looks at."""
    from cudactl.judge import judge

    made = judge(case.evidence, case.policy, "h1", case.now)
    statuses = {(v["check"], v["gpu"]): v["status"] for v in made["verdicts"]}
    named = any(case.says in v["reason"] for v in made["verdicts"] if v["check"] == case.check)
    return statuses, named, made["verdict"], made["level"]


def forget(*rooms: str) -> None:
    """Forget modules, so that they are imported again."""
    for name in [n for n in sys.modules if n.split(".")[0] in rooms or n.startswith(rooms)]:
        del sys.modules[name]


def seen(mutant: Mutant, known: Sequence[Case]) -> int:
    """Return whether the tests see a mutant; runs in a process of its own."""
    sys.meta_path.insert(0, Loader(mutant))
    forget("cudactl.judge")
    try:
        for case in known:
            if answers(case) != case.answers:
                return KILLED
    except Exception:  # whatever it does other than judging is seen
        return KILLED
    import pytest

    forget("cudactl", "tests")
    sink = io.StringIO()
    with redirect_stdout(sink), redirect_stderr(sink):
        # The red fixtures' own test asks what was asked above.
        there = [p for p in sorted(TESTS.glob("test_*.py")) if p.name != "test_red_fixtures.py"]
        plugins = ["-p", "no:cacheprovider", "-p", "no:timeout"]
        # Hundreds of random documents ask whether it crashes, not whether it is right.
        chosen = ["-k", "not junk_anywhere and not whatever_is_missing"]
        first = [str(path) for path in sorted(there, key=lambda p: -nearness(mutant, p))]
        code = pytest.main(["-x", "-q", *plugins, *chosen, *first])
    # 1 is a test that fails, 2 tests that cannot be imported; else pytest itself did not run.
    return {0: SURVIVED, 1: KILLED, 2: KILLED}.get(int(code), BROKEN)


@functools.cache
def names(path: Path) -> frozenset[str]:
    """Return the words of a file that name a check, or what a check measures."""
    return frozenset(re.findall(r"[a-z]+[._][a-z_0-9.]+", path.read_text()))


def nearness(mutant: Mutant, test: Path) -> float:
    """Return how much of a test's file is about a mutant's module: the nearest are run first."""
    about = names(test)
    return len(about & names(mutant.path)) / len(about)


def run(mutant: Mutant, known: Sequence[Case]) -> int:
    """Return KILLED, SURVIVED or BROKEN (no test ran); a mutant that does not end is killed."""
    child = os.fork()
    if child == 0:
        code = KILLED
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            # Processor time: a busy machine must not pass for a mutant that does not end.
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            code = seen(mutant, known)
        except BaseException:  # SystemExit of a broken test run too
            code = KILLED
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code in (SURVIVED, BROKEN) else KILLED


def wanted(path: Path) -> bool:
    """Return True for modules that judge; the doctor advises, and has tests of its own."""
    return path.name != "__init__.py" and "doctor" not in path.parts


# --- the run ------------------------------------------------------------------------------------


def main() -> int:
    """Run; return the exit code: 0 when the score is at least 90 %."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sample", type=int, help="as many mutants, drawn at random")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="", help="part of a module's path")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = options.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    paths = [p for p in sorted(JUDGE.rglob("*.py")) if wanted(p)]
    found = [m for p in paths if chosen.only in str(p.relative_to(JUDGE)) for m in mutants(p)]
    if not found:
        print(f"no module of the judge is called {chosen.only!r}")
        return 2
    if chosen.sample is not None:
        found = random.Random(chosen.seed).sample(found, min(chosen.sample, len(found)))  # noqa: S311
    known = cases()
    print(f"{len(found)} mutants, {len(known)} fixtures", flush=True)
    if run(replace(found[0], number=UNCHANGED), known) != SURVIVED:
        print("the judge as it stands fails its tests: nothing can be said of mutants")
        return 4
    begun, survivors = time.monotonic(), []
    by_module: Counter[str] = Counter(m.module for m in found)
    left: Counter[str] = Counter()
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for done, (mutant, outcome) in enumerate(
            zip(found, pool.map(lambda m: run(m, known), found), strict=True), 1
        ):
            if outcome == BROKEN:
                print(f"no test ran for {mutant}: nothing can be said of mutants")
                pool.shutdown(cancel_futures=True)
                return 4
            if outcome == SURVIVED:
                survivors.append(mutant)
                left[mutant.module] += 1
                print(f"survived  {mutant}", flush=True)
            if done % 100 == 0:
                print(f"{done} of {len(found)}, {time.monotonic() - begun:.0f} s", flush=True)
    if run(replace(found[0], number=UNCHANGED), known) != SURVIVED:
        print("the judge or its tests changed meanwhile, and fail now: nothing can be said")
        return 4
    for module, count in sorted(by_module.items()):
        print(f"{1 - left[module] / count:7.1%}  {count:5}  {module}")
    score = 1 - len(survivors) / len(found)
    print(f"{score:.1%} of {len(found)} mutants were seen; {len(survivors)} were not")
    return 0 if score >= AGREED else 3


if __name__ == "__main__":
    sys.exit(main())
