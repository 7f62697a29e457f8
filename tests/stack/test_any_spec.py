"""Whatever is wished, the answer is a stack that holds or an explanation that helps.

Random wishes are judged by the solver and by the second opinion (independent.py, brute_force.py).
HYPOTHESIS_PROFILE=thorough runs many more, new ones every time.
"""

from __future__ import annotations

import copy
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.spec import StackSpec
from cudactl.stack.spec.check import check_spec
from cudactl.stack.spec.file import read_spec
from tests.stack import strategies
from tests.stack.brute_force import satisfiable
from tests.stack.independent import why_not

CODE = re.compile(r"^[A-Z]+(-[A-Z0-9]+)+$")
ORDER = ("ok", "flagged", "refused")
_common: dict[str, Any] = {
    "deadline": timedelta(seconds=5),
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}
# The everyday run is the same every time: what it finds is a change of ours, not luck.
settings.register_profile("everyday", max_examples=800, derandomize=True, **_common)
settings.register_profile("thorough", max_examples=20_000, **_common)
PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))

NOT_ASKED = ("kernel", "mirror", "container_runtime")
"""Keys that the second opinion does not look at."""
NOT_JUDGED = frozenset({"STACK-EMPTY"})
"""Codes of refusals that say nothing about whether the catalogue's rows fit together."""


def judged(wish: dict[str, Any]) -> Any:
    return check_spec(StackSpec.model_validate(wish))


def asked(wish: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in wish.items() if key not in NOT_ASKED}


def shown(answer: Any) -> str:
    lines = [f"{answer.verdict} {answer.resolved} {answer.driver_flavour}"]
    return "\n".join(lines + [f"{f.severity} {f.code}: {f.text}" for f in answer.findings])


def changed(wish: dict[str, Any], key: str, value: str | None) -> dict[str, Any]:
    """The wish with one suggestion followed."""
    result = copy.deepcopy(wish)
    at: dict[str, Any] = result
    *path, last = key.split(".")
    for part in path:
        at = at.setdefault(part, {})
    if value is None:
        at.pop(last, None)
    else:
        at[last] = yaml.safe_load(value) if last == "gpus" else value
    return result


@settings(PROFILE)
@given(wish=strategies.wishes())
@example(wish={"os": "ubuntu-24.04"})
@example(wish={"os": "ubuntu-20.04"})
def test_every_wish_gets_a_verdict_that_explains_itself(wish: dict[str, Any]) -> None:
    answer = judged(wish)
    worst = max(
        (f.severity for f in answer.findings if f.severity in ORDER), key=ORDER.index, default="ok"
    )
    assert answer.verdict == worst, shown(answer)
    for finding in answer.findings:
        assert CODE.match(finding.code), finding.code
        assert finding.text.strip()
        assert finding.facts
        assert all(fact.text.strip() and fact.source.strip() for fact in finding.facts), finding
        assert finding.source.strip()
        if finding.severity == "refused":
            assert finding.nearest or finding.remedy.strip(), shown(answer)
        for near in finding.nearest:
            StackSpec.model_validate(changed(wish, near.key, near.value))
    if answer.verdict == "refused":
        assert not answer.resolved
    elif wish.get("cuda"):
        assert "cuda" in answer.resolved


@settings(PROFILE)
@given(wish=st.one_of(strategies.near_wishes(), strategies.wishes()))
@example(wish={"os": "ubuntu-24.04", "cuda": "13.1.0", "tensorrt": "8"})
@example(
    wish={"os": "debian-13", "cuda": "13", "packages": "wheels", "driver": {"flavour": "open"}}
)
def test_an_accepted_stack_is_accepted_by_the_second_opinion(wish: dict[str, Any]) -> None:
    answer = judged(wish)
    if answer.verdict != "refused":
        assert why_not(wish, answer.resolved, answer.driver_flavour) == [], shown(answer)
        assert satisfiable(asked(wish)), shown(answer)


@settings(PROFILE)
@given(wish=st.one_of(strategies.near_wishes(), strategies.wishes()))
@example(wish={"os": "ubuntu-22.04", "gpus": ["K80"]})
def test_a_refused_wish_cannot_be_met_by_any_row_of_the_catalogue(wish: dict[str, Any]) -> None:
    answer = judged(wish)
    refusals = {f.code for f in answer.findings if f.severity == "refused"}
    if refusals - NOT_JUDGED:
        assert not satisfiable(asked(wish), strict=True), shown(answer)


@settings(PROFILE, max_examples=max(PROFILE.max_examples // 4, 1))
@given(wish=strategies.near_wishes())
def test_a_suggestion_that_is_followed_leads_to_a_stack(wish: dict[str, Any]) -> None:
    answer = judged(wish)
    refusals = [f for f in answer.findings if f.severity == "refused"]
    for suggestion in [s for f in refusals[:1] for s in f.nearest if len(refusals) == 1]:
        after = judged(changed(wish, suggestion.key, suggestion.value))
        assert after.verdict != "refused", f"{shown(answer)}\n{suggestion}\n{shown(after)}"


@settings(PROFILE, max_examples=max(PROFILE.max_examples // 4, 1))
@given(wish=strategies.wishes(), order=st.randoms(use_true_random=False))
def test_the_order_of_gpus_and_keys_changes_nothing(wish: dict[str, Any], order: Any) -> None:
    keys = list(wish)
    order.shuffle(keys)
    other = {key: copy.copy(wish[key]) for key in keys}
    if "gpus" in other:
        order.shuffle(other["gpus"])
    one, two = judged(wish), judged(other)
    assert (one.verdict, one.resolved, one.driver_flavour) == (
        two.verdict,
        two.resolved,
        two.driver_flavour,
    )
    assert {f.code for f in one.findings} == {f.code for f in two.findings}


@settings(PROFILE, max_examples=max(PROFILE.max_examples // 4, 1))
@given(wish=strategies.near_wishes())
def test_what_was_chosen_can_be_wished_and_is_chosen_again(wish: dict[str, Any]) -> None:
    answer = judged(wish)
    if answer.verdict == "refused":
        return
    exact = {
        key: value for key, value in answer.resolved.items() if key in ("cuda", "cudnn", "tensorrt")
    }
    again = judged({**wish, **exact})
    assert again.verdict != "refused", f"{shown(answer)}\n{shown(again)}"
    assert {k: again.resolved[k] for k in exact} == exact


def reading(file: Path) -> tuple[StackSpec | None, CudactlError | None]:
    """Read a file; only the one kind of error may come."""
    try:
        return read_spec(file), None
    except CudactlError as error:
        return None, error


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "stack.yaml"


@settings(PROFILE)
@given(
    text=st.one_of(
        st.text(max_size=200).map(str.encode),
        st.binary(max_size=200),
        strategies.mappings().map(lambda t: t.encode("utf-8", "surrogatepass")),
        strategies.scarred().map(str.encode),
    )
)
@example(text=b"")
@example(text=b"os: &a [*a]\n")
@example(text=b"? [os]\n: 1\n")
@example(text=b"os: !!python/object/apply:os.system [id]\n")
@example(text=b"- " * 40_000)
@example(text=b"<<: {os: ubuntu-24.04}\n")
@example(text=b"os: ubuntu-24.04\nos: debian-12\n")
@example(text=b"os: \xff\xfe\n")
@example(text=b"os: ubuntu-24.04\ncuda: 13.0\n")
@example(text=b"---\nos: ubuntu-24.04\n---\nos: debian-12\n")
def test_any_file_is_a_wish_or_one_clear_error(text: bytes, file: Path) -> None:
    file.write_bytes(text)
    spec, error = reading(file)
    if error is None:
        assert isinstance(spec, StackSpec)
        assert check_spec(spec).verdict in ORDER
        return
    assert CODE.match(error.code), error.code
    assert error.found.strip()
    assert error.expected.strip() or error.remedy.strip(), error.as_dict()


@settings(PROFILE)
@given(wish=strategies.wishes())
def test_a_wish_reads_the_same_from_a_file(wish: dict[str, Any], file: Path) -> None:
    file.write_text(yaml.safe_dump(wish))
    spec, error = reading(file)
    if error is None:
        assert spec == StackSpec.model_validate(wish)
    else:
        with pytest.raises(ValidationError):
            StackSpec.model_validate(wish)
