"""The selftest that travels in the wheel: the tests' own faults, and it can fail itself."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudactl.certify import selftest
from cudactl.certify.selftest import apply, difference, run_selftest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every twelfth fault: enough to see that a broken judge is found out."""
    real = selftest._fixture
    monkeypatch.setattr(
        selftest, "_fixture", lambda name: real(name)[::12] if name == "faults" else real(name)
    )


def test_its_fixtures_are_the_tests_own() -> None:
    tool = runpy.run_path(str(ROOT / "tools/selftest.py"))
    for name, text in tool["rendered"]().items():
        kept = (tool["FOLDER"] / name).read_text()
        assert kept == text, f"{name} is not what the tests say; run tools/selftest.py"


def test_every_fault_is_found_and_named_rightly_and_no_alarm_is_false() -> None:
    result = run_selftest()
    assert [f for f in result.faults if not f.detected] == []
    assert result.alarms == []
    assert len(result.faults) >= 60
    assert result.good


@pytest.mark.usefixtures("few")
def test_a_judge_that_calls_everything_a_pass_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = selftest.judge

    def lenient(*arguments: Any) -> dict[str, Any]:
        certificate = real(*arguments)
        for verdict in certificate["verdicts"]:
            verdict["status"] = "PASS"
        return certificate

    monkeypatch.setattr(selftest, "judge", lenient)
    result = run_selftest()
    assert not any(fault.detected for fault in result.faults)
    assert not result.good


@pytest.mark.usefixtures("few")
def test_a_judge_that_calls_nothing_a_pass_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = selftest.judge

    def strict(*arguments: Any) -> dict[str, Any]:
        certificate = real(*arguments)
        for verdict in certificate["verdicts"]:
            verdict["status"] = "FAIL"
        return certificate

    monkeypatch.setattr(selftest, "judge", strict)
    result = run_selftest()
    assert result.alarms
    assert not result.good


@pytest.mark.usefixtures("few")
def test_a_fault_named_for_another_reason_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = selftest.judge

    def vague(*arguments: Any) -> dict[str, Any]:
        certificate = real(*arguments)
        for verdict in certificate["verdicts"]:
            verdict["reason"] = "something is wrong"
        return certificate

    monkeypatch.setattr(selftest, "judge", vague)
    assert not any(fault.detected for fault in run_selftest().faults)


def test_a_selftest_without_faults_shows_nothing() -> None:
    assert not selftest.Selftest([], 4, []).good


FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(old=st.dictionaries(st.text(max_size=3), VALUES), new=st.dictionaries(st.text(), VALUES))
def test_the_difference_of_two_documents_makes_one_of_the_other(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    patch = json.loads(json.dumps(list(difference(old, new)), allow_nan=False))
    assert repr(apply(copy.deepcopy(old), patch)) == repr(_ordered(old, new))


def test_numbers_that_are_none_travel_as_json() -> None:
    for number in (float("nan"), float("inf"), float("-inf")):
        patch = json.dumps(list(difference({"a": 1.0}, {"a": number})), allow_nan=False)
        assert repr(apply({"a": 1.0}, json.loads(patch))["a"]) == repr(number)


def _ordered(old: Any, new: Any) -> Any:
    """Return `new` with its keys in the order in which the changes leave them."""
    if isinstance(old, dict) and isinstance(new, dict):
        kept = {key: _ordered(old[key], new[key]) for key in old if key in new}
        return {**kept, **{key: item for key, item in new.items() if key not in old}}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [_ordered(was, now) for was, now in zip(old, new, strict=True)]
    return new
