"""What somebody leaves out is shown as skipped, for their reason, and lowers the level."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.certify.certificate import make_certificate
from cudactl.certify.selection import select
from cudactl.contracts.certificate import Certificate, Policy
from cudactl.contracts.errors import UsageError
from tests.judge.healthy import NOW, fresh


def policy(kind: str = "wheels") -> Policy:
    return Policy.model_validate(fresh(kind)[1])


def judged(chosen: Policy, kind: str = "wheels", *, legs: set[str] | None = None) -> Certificate:
    evidence, _ = fresh(kind)
    if legs is not None:  # what the probe would not have run
        evidence["legs"] = [leg for leg in evidence["legs"] if leg["leg"] in legs]
    return make_certificate(evidence, chosen, "h1", NOW)


def statuses(made: Certificate) -> dict[str, str]:
    return {v.check: v.status for v in made.verdicts}


def test_nothing_left_out_is_the_policy_itself() -> None:
    whole = policy()
    assert select(whole, (), (), None) is whole


def test_a_leg_left_out_is_not_run_and_shown_with_the_reason() -> None:
    chosen = select(policy(), (), ("nvcc",), "no compiler here")
    assert "nvcc" not in chosen.request["legs"]
    assert "nvcc" not in chosen.legs
    made = judged(chosen, legs={"toolkit", "cudnn", "tensorrt"})
    reason = "left out by the user: no compiler here"
    skipped = {v.check for v in made.verdicts if v.status == "SKIP" and v.reason == reason}
    assert skipped >= {"nvcc.version", "nvcc.link", "nvcc.ran"}
    assert {check.split(".")[0] for check in skipped} == {"nvcc"}
    assert made.verdict == "PASS"


def test_what_was_left_out_was_not_shown_so_the_level_is_lower() -> None:
    assert judged(policy()).level == "linkage"
    made = judged(select(policy(), (), ("nvcc.link",), None))
    assert made.level == "none"
    assert "1 check was left out, so this is not shown: right files" in made.level_reason


def test_only_asks_that_and_no_other() -> None:
    chosen = select(policy(), ("cudnn",), (), None)
    assert set(chosen.request["legs"]) == {"cudnn"}
    made = judged(chosen, legs={"cudnn"})
    passed = {check for check, status in statuses(made).items() if status == "PASS"}
    assert passed == {"cudnn.library", "cudnn.sublibraries", "cudnn.ran"}
    assert set(statuses(made).values()) == {"PASS", "SKIP"}
    assert "not named by --only" in made.verdicts[0].reason


def test_one_check_of_a_leg_needs_its_leg_to_end_well() -> None:
    chosen = select(policy(), ("cudnn.library",), (), None)
    evidence, _ = fresh("wheels")
    next(leg for leg in evidence["legs"] if leg["leg"] == "cudnn")["outcome"] = "crashed"
    made = make_certificate(evidence, chosen, "h1", NOW)
    assert statuses(made)["cudnn.ran"] == "FAIL"
    assert statuses(made)["cudnn.sublibraries"] == "SKIP"


def test_a_leg_that_crashes_cannot_be_hidden_without_a_lower_level() -> None:
    evidence, _ = fresh("wheels")
    next(leg for leg in evidence["legs"] if leg["leg"] == "cudnn")["outcome"] = "crashed"
    made = make_certificate(evidence, select(policy(), (), ("cudnn.ran",), "x"), "h1", NOW)
    assert (made.verdict, made.level) == ("PASS", "none")


def test_only_and_skip_together_are_both_meant() -> None:
    chosen = select(policy(), ("toolkit", "cudnn"), ("toolkit.nvrtc",), None)
    asked = {e.check for e in chosen.expectations if e.skip is None}
    assert "toolkit.cublas" in asked
    assert not {"toolkit.nvrtc", "nvcc.link", "stack.os"} & asked


@pytest.mark.parametrize("name", ["coffee", "cudnn.teapot", "", "driver.module"])
def test_a_name_that_the_run_does_not_know_is_refused_with_what_it_knows(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(policy(), (), (name,), None)
    assert caught.value.code == "CHECK-UNKNOWN"
    assert "cudnn" in caught.value.expected


def test_leaving_everything_out_is_refused() -> None:
    legs = ("stack", "toolkit", "cudnn", "tensorrt", "nvcc")
    with pytest.raises(UsageError) as caught:
        select(policy(), (), legs, None)
    assert caught.value.code == "CHECK-NONE-LEFT"


@pytest.mark.parametrize(
    ("level", "left_out", "then"),
    [
        ("performance", {"execution"}, "linkage"),
        ("performance", {"performance"}, "execution"),
        ("execution", {"performance"}, "execution"),
        ("execution", {"execution", "performance"}, "linkage"),
        ("performance", {"linkage"}, "none"),
        ("simulated", {"linkage"}, "simulated"),
        ("none", {"performance"}, "none"),
    ],
)
def test_a_level_falls_below_the_lowest_that_was_left_out(
    level: str, left_out: set[str], then: str
) -> None:
    from cudactl.judge.checks import CHECKS
    from cudactl.judge.levels import lowered

    named: list[dict[str, Any]] = []
    for wanted in sorted(left_out):
        found = next(
            (c.id for c in CHECKS.values() if c.level == wanted and not c.id.endswith(".ran")), None
        )
        if found is None:
            pytest.skip(f"no check of level {wanted} yet")
        named.append({"check": found, "skip": "x", "left_out": True})
    found_level, reason = lowered(level, "why", {"expectations": named})
    assert found_level == then
    assert "left out" in reason
