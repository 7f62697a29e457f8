"""The judge: pure, refuses what is no evidence, and never claims more than was shown."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudactl.contracts.base import canonical_hash
from cudactl.contracts.certificate import Certificate
from cudactl.judge import JudgeError, exit_code, judge
from tests.judge.healthy import NOW, every_library, fresh, value

Evidence = dict[str, Any]


def test_the_same_input_gives_the_same_output_and_is_left_alone() -> None:
    evidence, policy = fresh("lab")
    before = copy.deepcopy((evidence, policy))
    first = judge(evidence, policy, "h1", NOW)
    assert judge(evidence, policy, "h1", NOW) == first
    assert (evidence, policy) == before


def test_a_certificate_is_bound_to_its_machine_lock_and_evidence() -> None:
    evidence, policy = fresh("gpu")
    certificate = Certificate.model_validate(judge(evidence, policy, "web-1", NOW))
    assert certificate.host == "web-1"
    assert certificate.machine_id == "a" * 32
    assert certificate.boot_id == "boot-1"
    assert certificate.driver == "580.95.05"
    assert certificate.gpus == ["0000:17:00.0 2335"]
    assert certificate.lock_hash == policy["lock_hash"]
    assert certificate.evidence_sha256 == canonical_hash(evidence)


def test_old_evidence_judged_today_expires_by_when_it_was_measured() -> None:
    evidence, policy = fresh("wheels")
    taken = evidence["taken_at"]
    late = judge(evidence, policy, "h1", taken + 30 * 24 * 3600)
    assert late["expires"] == taken + policy["valid_s"]
    # A clock that runs ahead on the host buys no time.
    evidence["taken_at"] = NOW + 10 * 365 * 24 * 3600
    assert judge(evidence, policy, "h1", NOW)["expires"] == NOW + policy["valid_s"]


@pytest.mark.parametrize(
    ("kind", "level", "says"),
    [
        ("lab", "simulated", "no GPU was there"),
        ("driverless", "linkage", "no GPU was there"),
        ("wheels", "linkage", "no GPU was there"),
        ("gpu", "performance", "as fast as this GPU should be"),
    ],
)
def test_the_level_says_what_was_shown_and_no_more(kind: str, level: str, says: str) -> None:
    evidence, policy = fresh(kind)
    certificate = judge(evidence, policy, "h1", NOW)
    assert certificate["level"] == level
    assert says in certificate["level_reason"]


def test_one_simulated_library_is_enough_to_be_simulated() -> None:
    evidence, policy = fresh("gpu")
    for known in every_library(evidence, "libcudnn_ops"):
        known["simulated"] = True
    assert judge(evidence, policy, "h1", NOW)["level"] == "simulated"


def test_a_failed_machine_is_certified_nothing() -> None:
    evidence, policy = fresh("gpu")
    evidence["state"]["os"]["version_id"] = "22.04"
    certificate = judge(evidence, policy, "h1", NOW)
    assert (certificate["verdict"], certificate["level"]) == ("FAIL", "none")


@pytest.mark.parametrize(
    ("verdict", "code"),
    [("PASS", 0), ("WARN", 0), ("FAIL", 3), ("ERROR", 4), ("SKIP", 4), ("", 4), ("pass", 4)],
)
def test_exit_codes(verdict: str, code: int) -> None:
    assert exit_code(verdict) == code


def test_a_failure_outweighs_what_could_not_be_measured() -> None:
    evidence, policy = fresh("lab")
    value(evidence, "toolkit.cublas").pop("version")
    assert judge(evidence, policy, "h1", NOW)["verdict"] == "ERROR"
    value(evidence, "nvcc.version")["version"] = "1"
    assert judge(evidence, policy, "h1", NOW)["verdict"] == "FAIL"


def test_a_skip_is_declared_by_the_policy_with_its_reason() -> None:
    evidence, policy = fresh("lab")
    expectation = next(e for e in policy["expectations"] if e["check"] == "nvcc.link")
    expectation["skip"] = "no compiler on these hosts, says the owner"
    certificate = judge(evidence, policy, "h1", NOW)
    verdict = next(v for v in certificate["verdicts"] if v["check"] == "nvcc.link")
    assert (verdict["status"], verdict["reason"]) == ("SKIP", expectation["skip"])


def test_a_policy_that_only_skips_is_no_pass() -> None:
    evidence, policy = fresh("lab")
    policy["legs"] = []
    policy["expectations"] = [{"check": "stack.os", "expect": {}, "source": "", "skip": "why not"}]
    assert judge(evidence, policy, "h1", NOW)["verdict"] == "ERROR"


def _expect(policy: Evidence, check: str) -> None:
    policy["expectations"].append({"check": check, "expect": {}, "source": "x", "skip": None})


POLICIES: dict[str, Callable[[Evidence], object]] = {
    "expects nothing": lambda p: p.update(expectations=[]),
    "does not know": lambda p: _expect(p, "toolkit.teapot"),
    "check stack.os twice": lambda p: _expect(p, "stack.os"),
    "leg that this judge does not know": lambda p: p["legs"].append("coffee"),
    "names no lock": lambda p: p.pop("lock_hash"),
}


@pytest.mark.parametrize("says", POLICIES)
def test_a_policy_that_makes_no_sense_is_refused(says: str) -> None:
    evidence, policy = fresh("lab")
    POLICIES[says](policy)
    with pytest.raises(JudgeError, match=says):
        judge(evidence, policy, "h1", NOW)


HOSTILE: dict[str, Callable[[Evidence], object]] = {
    "no evidence of a version": lambda e: e.update(schema_version=2),
    "evidence.state": lambda e: e.pop("state"),
    "evidence.legs": lambda e: e.update(legs={"a": 1}),
    "evidence.taken_at": lambda e: e.update(taken_at="now"),
    "evidence.taken_at is no finite number": lambda e: e.update(taken_at=float("nan")),
    "state.gpus.address": lambda e: e["state"].update(gpus=[None]),
    "state.packages": lambda e: e["state"].update(packages=["libc6"]),
    "state.packages has 6000 entries": lambda e: e["state"].update(
        packages={str(n): "1" for n in range(6000)}
    ),
    "state.hostname": lambda e: e["state"].update(hostname=5),
    "legs.leg": lambda e: e["legs"].append("driver"),
    "leg driver twice": lambda e: e["legs"].append(e["legs"][0]),
    "ended in an unknown way": lambda e: e["legs"][0].update(outcome="fine"),
    "driver.libcuda.values": lambda e: e["legs"][0]["measurements"][0].update(values=None),
    "holds driver.libcuda twice": lambda e: e["legs"][0]["measurements"].append(
        e["legs"][0]["measurements"][0]
    ),
    "whether .* is simulated": lambda e: e["legs"][0]["libraries"][0].update(simulated="no"),
    "two different things": lambda e: e["legs"][3]["libraries"][0].update(intact=False),
    "driver.libraries.path": lambda e: e["legs"][0]["libraries"][0].pop("path"),
    "no Unicode": lambda e: e["state"].update(hostname="\ud800"),
}


@pytest.mark.parametrize("says", HOSTILE)
def test_what_is_no_evidence_is_refused_with_the_place_named(says: str) -> None:
    evidence, policy = fresh("lab")
    HOSTILE[says](evidence)
    with pytest.raises(JudgeError, match=says):
        judge(evidence, policy, "h1", NOW)


def test_evidence_nested_without_end_is_refused() -> None:
    evidence, policy = fresh("lab")
    inner: list[Any] = []
    for _ in range(100_000):
        inner = [inner]
    evidence["state"]["files"] = inner
    with pytest.raises(JudgeError, match="nested too deeply"):
        judge(evidence, policy, "h1", NOW)


def test_another_leg_cannot_answer_for_a_check() -> None:
    evidence, policy = fresh("lab")
    toolkit = next(leg for leg in evidence["legs"] if leg["leg"] == "toolkit")
    driver = next(leg for leg in evidence["legs"] if leg["leg"] == "driver")
    driver["measurements"] += toolkit["measurements"]
    toolkit["measurements"] = []
    certificate = judge(evidence, policy, "h1", NOW)
    found = {v["check"]: v["status"] for v in certificate["verdicts"]}
    assert found["toolkit.cublas"] == "ERROR"


def test_text_from_a_host_cannot_move_the_readers_terminal() -> None:
    evidence, policy = fresh("lab")
    evidence["state"]["hostname"] = "h1\x1b[2J\nPASS"
    value(evidence, "nvcc.version")["version"] = "\x1b]0;owned\x07" + "9" * 5000
    text = json.dumps(judge(evidence, policy, "h\r1", NOW), ensure_ascii=False)
    assert "\\u001b" not in text
    assert "\x1b" not in text
    assert "\\r" not in text
    assert "9" * 700 not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def _places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    found = []
    for key, item in items:
        found.append((*at, key))
        if isinstance(item, (dict, list)):
            found += _places(item, (*at, key))
    return found


LAB = fresh("lab")
PLACES = _places(LAB[0])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(PLACES), junk=JSON)
def test_junk_anywhere_in_evidence_is_judged_or_refused_but_never_a_crash(
    place: tuple[Any, ...], junk: Any
) -> None:
    evidence, policy = fresh("lab")
    node = evidence
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = junk
    try:
        certificate = judge(evidence, policy, "h1", NOW)
    except JudgeError:
        return
    assert certificate["verdict"] in ("PASS", "WARN", "FAIL", "ERROR")
    assert certificate["level"] in ("none", "linkage", "simulated")


@settings(max_examples=100, deadline=None)
@given(place=st.sampled_from(PLACES))
def test_whatever_is_missing_no_check_passes_for_it(place: tuple[Any, ...]) -> None:
    """Leaving something out never turns a red check green."""
    evidence, policy = fresh("lab")
    value(evidence, "toolkit.cublas")["version"] = "1.2.3"
    node = evidence
    try:
        for key in place[:-1]:
            node = node[key]
        del node[place[-1]]
        certificate = judge(evidence, policy, "h1", NOW)
    except (JudgeError, KeyError, IndexError):
        return
    found = {v["check"]: v["status"] for v in certificate["verdicts"]}
    assert found["toolkit.cublas"] in ("FAIL", "ERROR")
