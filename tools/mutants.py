#!/usr/bin/env python3
"""Mutation testing of the judge: each small change to it must turn some test red.

tools/mutants.py                       every mutant (an hour or so); lists the survivors
tools/mutants.py --sample 300          as many, drawn at random (--seed)
tools/mutants.py --only checks/cudnn   of one module
tools/mutants.py --doctor              of doctor's rules, by doctor's tests

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
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from mutations import changes

ROOT = Path(__file__).resolve().parent.parent
JUDGE = ROOT / "cudactl" / "judge"
TESTS = ROOT / "tests" / "judge"
LIMIT_S = 60
AGREED = 0.9
KILLED, SURVIVED, BROKEN = 1, 0, 2
UNCHANGED = -1
LEFT_OUT = (
    *("junk_anywhere", "whatever_is_missing", "hostile_examinations"),
    *("test_the_fault_turns", "the_first_thing_said", "fit_to_be_read"),
    *("what_was_reviewed", "each_answer_of_the_driver"),
)


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
    """A fixture: what is judged or diagnosed, and what its test is told."""

    document: dict[str, Any]
    red: Any
    """The red fixture; None for a healthy one."""
    policy: dict[str, Any] | None = None
    """None: it is doctor's."""
    answers: Any = None


def cases(*, doctor: bool) -> list[Case]:
    """Return the healthy and the red fixtures, each with what its test asks of the judge."""
    found = _examinations() if doctor else _evidence()
    return [replace(case, answers=answers(case)) for case in found]


def _evidence() -> list[Case]:
    from tests.judge.healthy import KINDS, fresh
    from tests.judge.red import every_red

    found = [Case(evidence, None, policy) for evidence, policy in map(fresh, KINDS)]
    for red in every_red():
        evidence, policy = fresh(red.kind)
        red.change(evidence)
        found.append(Case(evidence, red, policy))
    return found


def _examinations() -> list[Case]:
    from tests.judge.doctor.machines import examine, healthy
    from tests.judge.doctor.reds import RED
    from tests.judge.doctor.said import examined

    with tempfile.TemporaryDirectory() as folder:
        well = Case(examine(healthy(), Path(folder)), None)
    return [well, *(Case(examined(red), red) for red in RED)]


def answers(case: Case) -> Any:  # noqa: ANN401 - compared, and nothing else
    """Return what a fixture's test looks at, in test_red_fixtures.py and doctor/test_doctor.py."""
    if case.policy is None:
        return _diagnosed(case)
    from cudactl.judge import judge
    from tests.judge.healthy import NOW

    made = judge(case.document, case.policy, "h1", NOW)
    statuses = {(v["check"], v["gpu"]): v["status"] for v in made["verdicts"]}
    reasons = [v["reason"] for v in made["verdicts"] if case.red and v["check"] == case.red.check]
    named = any(case.red.says in reason for reason in reasons)
    return statuses, named, made["verdict"], made["level"]


def _diagnosed(case: Case) -> Any:  # noqa: ANN401
    from cudactl.judge.doctor import diagnose, exit_code
    from cudactl.judge.doctor.show import diagnosis_text
    from tests.judge.doctor.test_doctor import there

    found = diagnose(case.document)
    told = [one["code"] for one in found["findings"]]
    codes = exit_code(found), exit_code(found, strict=True), found["verdict"]
    if case.red is None or not told:
        return told, found["unread"], codes
    first = found["findings"][0]
    readable = all(
        one["confidence"] in ("certain", "likely", "possible")
        and all(there(case.document, place) for place in one["where"])
        and one["seen"]
        and one["where"]
        and one["remedy"]
        and all(one["seen"] + one["remedy"])
        for one in found["findings"]
    )
    texts = " ".join(text for one in found["findings"] for text in one["seen"] + one["remedy"])
    return (
        codes,
        told[:1],
        first["severity"],
        case.red.says in " | ".join(first["seen"]),
        set(told[1:]) <= set(case.red.also),
        {one["code"] for one in first["explains"]} >= set(case.red.explains),
        readable and not re.search(r"None|%[sd]", texts),
        diagnosis_text("h1", found),
    )


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
        doctor = known[0].policy is None
        there = sorted((TESTS / "doctor" if doctor else TESTS).glob("test_*.py"))
        plugins = ["-p", "no:cacheprovider", "-p", "no:timeout"]
        # What the red fixtures' own tests ask was asked above. Hundreds of random documents ask
        # whether it crashes, not whether it is right.
        chosen = ["-k", " and ".join(f"not {name}" for name in LEFT_OUT)]
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
    return len(about & names(mutant.path)) / max(1, len(about))


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


def wanted(path: Path, *, doctor: bool) -> bool:
    """Return True for modules that judge, or for those of doctor, which has tests of its own."""
    return path.name != "__init__.py" and ("doctor" in path.parts) is doctor


# --- the run ------------------------------------------------------------------------------------


def main() -> int:
    """Run; return the exit code: 0 when the score is at least 90 %."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sample", type=int, help="as many mutants, drawn at random")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="", help="part of a module's path")
    options.add_argument(
        "--doctor", action="store_true", help="doctor's rules in the judge's place"
    )
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = options.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    paths = [p for p in sorted(JUDGE.rglob("*.py")) if wanted(p, doctor=chosen.doctor)]
    found = [m for p in paths if chosen.only in str(p.relative_to(JUDGE)) for m in mutants(p)]
    if not found:
        print(f"no module of the judge is called {chosen.only!r}")
        return 2
    if chosen.sample is not None:
        found = random.Random(chosen.seed).sample(found, min(chosen.sample, len(found)))  # noqa: S311
    known = cases(doctor=chosen.doctor)
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
