"""Traps are refused or flagged, and for the reason that makes them traps.

tests/data/traps.yaml says for each what it is, what the verdict must be, and which words one
finding must hold together; a refusal for another reason is a failure here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.facts.package_names import explain_package
from cudactl.stack.spec.check import check_spec
from cudactl.stack.spec.file import parse_spec
from tests.conftest import Cudactl
from tests.stack.brute_force import satisfiable

TRAPS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "data" / "traps.yaml").read_text(encoding="utf-8")
)["traps"]
NOT_ASKED = ("kernel", "mirror", "container_runtime")
"""Keys that the second opinion does not look at."""


def expected(trap: dict[str, Any]) -> list[str]:
    return [trap["expect"]] if isinstance(trap["expect"], str) else trap["expect"]


def cases(key: str) -> list[Any]:
    return [
        pytest.param(trap, case, id=f"{trap['id']}-{number}")
        for trap in TRAPS
        for number, case in enumerate(trap.get(key, []), 1)
    ]


def says(finding: Any, words: list[str | list[str]]) -> bool:
    """Whether a finding's own words (not the wishes that it repeats) hold all of `words`."""
    facts = " ".join(fact.text for fact in finding.facts)
    text = f"{finding.text} {facts} {finding.remedy}"
    return all(
        any(
            re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", text, re.IGNORECASE)
            for word in ([one] if isinstance(one, str) else one)
        )
        for one in words
    )


def shown(findings: Any) -> str:
    return "\n".join(
        f"{f.severity} {f.code}: {f.text} {[x.text for x in f.facts]}" for f in findings
    )


@pytest.mark.parametrize(("trap", "wish"), cases("specs"))
def test_a_trap_is_seen_for_its_reason(trap: dict[str, Any], wish: dict[str, Any]) -> None:
    answer = check_spec(parse_spec(yaml.safe_dump(wish), "stack.yaml"))
    assert answer.verdict in expected(trap), shown(answer.findings)
    telling = [f for f in answer.findings if f.severity == answer.verdict]
    assert any(says(f, trap["words"]) for f in telling), shown(answer.findings)
    assert all(f.source for f in telling)


@pytest.mark.parametrize(("trap", "wish"), cases("specs"))
def test_the_second_opinion_agrees(trap: dict[str, Any], wish: dict[str, Any]) -> None:
    asked = {key: value for key, value in wish.items() if key not in NOT_ASKED}
    if expected(trap) == ["refused"]:
        assert not satisfiable(asked, strict=True)
    if expected(trap) == ["flagged"]:
        assert satisfiable(asked)


@pytest.mark.parametrize(("trap", "package"), cases("packages"))
def test_a_misleading_package_name_is_explained(
    trap: dict[str, Any], package: dict[str, str]
) -> None:
    findings = explain_package(load_catalogue(), package["name"], package["os"])
    telling = [f for f in findings if f.severity in expected(trap)]
    assert any(says(f, trap["words"]) for f in telling), shown(findings)
    assert all(f.source for f in telling)


def test_a_plain_package_name_is_not_held_for_a_trap() -> None:
    for name in ("libcublas-13-0", "libcudnn9-cuda-13", "cuda-nvcc-13-0", "vim"):
        findings = explain_package(load_catalogue(), name, "ubuntu-24.04")
        assert not [f for f in findings if f.severity != "note"], name


def test_a_misleading_package_name_is_explained_on_the_command_line(cudactl: Cudactl) -> None:
    done = cudactl("stack", "why", "nvidia-open-590")
    assert "pinning" in done.stdout + done.stderr


def test_every_trap_says_why_and_from_where() -> None:
    assert len({trap["id"] for trap in TRAPS}) == len(TRAPS)
    for trap in TRAPS:
        assert trap["reason"], trap["id"]
        assert trap["source"], trap["id"]
        assert trap["words"], trap["id"]
        assert trap.get("specs") or trap.get("packages"), trap["id"]
        assert set(expected(trap)) <= {"refused", "flagged"}, trap["id"]
    assert len([trap for trap in TRAPS if trap.get("own")]) >= 30
