"""Every check can fail: each has a fault that turns exactly it red; healthy machines stay green."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.certificate import Certificate
from cudactl.contracts.evidence import Evidence
from cudactl.judge import judge
from cudactl.judge.checks import CHECKS
from tests.judge.healthy import KINDS, NOW, fresh
from tests.judge.red import Red, every_red

GREEN = ("PASS", "SKIP")
RED = every_red()


@functools.cache
def healthy(kind: str) -> dict[tuple[str, str | None], str]:
    """Return what is judged of a healthy machine."""
    return statuses(judge(*fresh(kind), "h1", NOW))


def statuses(certificate: dict[str, Any]) -> dict[tuple[str, str | None], str]:
    """Return (check, GPU) → status."""
    found = {(v["check"], v["gpu"]): v["status"] for v in certificate["verdicts"]}
    assert len(found) == len(certificate["verdicts"])
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_healthy_machine_raises_no_alarm(kind: str) -> None:
    evidence, policy = fresh(kind)
    Evidence.model_validate(evidence)
    certificate = judge(evidence, policy, "h1", NOW)
    Certificate.model_validate(certificate)
    assert {c: s for c, s in statuses(certificate).items() if s not in GREEN} == {}
    assert certificate["verdict"] == "PASS"


def test_every_check_is_asked_of_some_healthy_machine_and_passes_there() -> None:
    passed = set()
    for kind in KINDS:
        evidence, policy = fresh(kind)
        certificate = judge(evidence, policy, "h1", NOW)
        passed |= {check for (check, _), s in statuses(certificate).items() if s == "PASS"}
    assert passed == set(CHECKS)


def test_every_check_has_a_red_fixture_that_turns_nothing_else_red() -> None:
    exact = {red.check for red in RED if not red.also and red.status == "FAIL"}
    assert set(CHECKS) - exact == set()


@pytest.mark.parametrize("red", RED, ids=str)
def test_the_fault_turns_the_check_red_for_its_reason_and_no_other(red: Red) -> None:
    evidence, policy = fresh(red.kind)
    before = healthy(red.kind)
    red.change(evidence)
    certificate = judge(evidence, policy, "h1", NOW)
    after = statuses(certificate)
    verdict = next(v for v in certificate["verdicts"] if v["check"] == red.check)
    assert verdict["status"] == red.status, verdict
    assert red.says in verdict["reason"], verdict
    changed = {key[0] for key in before.keys() | after.keys() if after.get(key) != before.get(key)}
    assert changed == {red.check, *red.also}
    if red.status in ("FAIL", "ERROR"):
        assert certificate["verdict"] in ("FAIL", "ERROR")
        assert certificate["level"] in ("none", "simulated")


def test_no_two_faults_are_the_same() -> None:
    assert len({str(red) for red in RED}) == len(RED)


def test_every_check_says_in_one_line_what_holds_when_it_passes() -> None:
    titles = [check.title for check in CHECKS.values()]
    assert all(titles)
    assert len(set(titles)) == len(titles)


def test_the_judge_reads_no_clock_no_file_and_no_network() -> None:
    """Pure by construction: it imports nothing that could."""
    folder = Path(__file__).parent.parent.parent / "cudactl" / "judge"
    allowed = {"__future__", "copy", "hashlib", "json", "math", "posixpath", "re", "textwrap"}
    allowed |= {"time", "typing"}
    pure = {"gmtime", "strftime"}  # of `time`: what makes a number into a date
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert {a.name for a in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module in allowed, path
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("open", "exec", "eval", "__import__"), path
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "time":
                assert node.attr in pure, path
                assert node.attr != "gmtime" or "gmtime()" not in path.read_text(), path
