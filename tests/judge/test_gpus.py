"""What is judged GPU by GPU: verdicts, references, waivers, deferred GPUs, levels, coverage."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cudactl.contracts.certificate import Certificate
from cudactl.judge import JudgeError, exit_code, judge
from cudactl.judge.checks import CHECKS
from cudactl.judge.checks.registry import Check, failed, no_reference, passed
from cudactl.judge.context import Answer, Context, number
from tests.judge.healthy import GPU, NOW, add_device_leg, fresh

Document = dict[str, Any]
SECOND = {**GPU, "id": "GPU-c0dac711-0000-4000-8000-000000000002", "address": "0000:65:00.0"}
ONE, TWO = str(GPU["id"]), str(SECOND["id"])


def _sum(context: Context, values: Document, expect: Document) -> Answer:
    found = number(values, "sum")
    return passed("4", "4", "right") if found == 4 else failed(str(found), "4", "wrong")


def _speed(context: Context, values: Document, expect: Document) -> Answer:
    found = number(values, "gbs")
    if context.reference is None:
        return no_reference(f"{found} GB/s", "nothing is known of this GPU")
    floor = 0.5 * float(context.reference["memory_gbs"])
    return (passed if found >= floor else failed)(f"{found}", f"{floor}", "half of the reference")


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> tuple[Document, Document]:
    """Two H200 on which two checks were measured: that a sum is right, and that copies are fast."""
    for check in (
        Check("driver.sum", "driver", "s", ("sum",), _sum, False, True, "execution"),
        Check("driver.speed", "driver", "g", ("gbs",), _speed, False, True, "performance"),
    ):
        monkeypatch.setitem(CHECKS, check.id, check)
    evidence, policy = fresh("gpu")
    evidence["legs"] = [leg for leg in evidence["legs"] if leg["gpu"] is None]
    evidence["gpus"] = [dict(GPU), dict(SECOND)]
    evidence["state"]["gpus"] = [
        {"address": gpu["address"], "device": "2335", "driver": "nvidia"}
        for gpu in evidence["gpus"]
    ]
    for gpu in evidence["gpus"]:
        values = {"driver.sum": {"sum": 4}, "driver.speed": {"gbs": 4000.0}}
        add_device_leg(evidence, "driver", values, gpu=gpu)
    policy["legs"] = policy["device_legs"] = []
    policy["expectations"] = [
        {"check": name, "expect": {}, "source": "a test", "skip": None}
        for name in ("stack.os", "driver.sum", "driver.speed")
    ]
    policy["expectations"][0]["expect"] = {"os": "ubuntu-24.04", "machine": "x86_64"}
    return evidence, policy


def values(evidence: Document, gpu: str, check: str) -> Document:
    (leg,) = [x for x in evidence["legs"] if x["gpu"] == gpu]
    found: Document = next(m["values"] for m in leg["measurements"] if m["check"] == check)
    return found


def certify(pair: tuple[Document, Document], now: float = NOW) -> Document:
    certificate = judge(*copy.deepcopy(pair), "h1", now)
    Certificate.model_validate(certificate)
    return certificate


def status(certificate: Document) -> dict[tuple[str, str | None], str]:
    return {(v["check"], v["gpu"]): v["status"] for v in certificate["verdicts"]}


def one(certificate: Document, check: str, gpu: str | None) -> Document:
    (found,) = [v for v in certificate["verdicts"] if (v["check"], v["gpu"]) == (check, gpu)]
    verdict: Document = found
    return verdict


# --- verdicts -----------------------------------------------------------------------------------


def test_every_gpu_has_its_own_verdict_and_the_machine_has_one(
    pair: tuple[Document, Document],
) -> None:
    assert status(certify(pair)) == {
        ("stack.os", None): "PASS",
        ("driver.sum", ONE): "PASS",
        ("driver.sum", TWO): "PASS",
        ("driver.speed", ONE): "PASS",
        ("driver.speed", TWO): "PASS",
    }


def test_a_bad_gpu_is_named_and_the_other_stays_good(pair: tuple[Document, Document]) -> None:
    values(pair[0], TWO, "driver.sum")["sum"] = 5
    certificate = certify(pair)
    assert status(certificate)["driver.sum", ONE] == "PASS"
    assert status(certificate)["driver.sum", TWO] == "FAIL"
    assert certificate["verdict"] == "FAIL"


def test_one_gpu_cannot_answer_for_the_other(pair: tuple[Document, Document]) -> None:
    evidence, _ = pair
    evidence["legs"] = [leg for leg in evidence["legs"] if leg["gpu"] != TWO]
    certificate = certify(pair)
    assert status(certificate)["driver.sum", TWO] == "ERROR"
    assert "the leg driver did not run" in one(certificate, "driver.sum", TWO)["reason"]
    assert certificate["level"] == "none"


def test_the_machines_part_of_a_leg_cannot_answer_for_a_gpu(
    pair: tuple[Document, Document],
) -> None:
    evidence, _ = pair
    (device,) = [leg for leg in evidence["legs"] if leg["gpu"] == TWO]
    (machine,) = [x for x in evidence["legs"] if x["leg"] == "driver" and x["gpu"] is None]
    machine["measurements"] += device["measurements"]
    device["measurements"] = []
    assert status(certify(pair))["driver.sum", TWO] == "ERROR"


def test_no_tested_gpu_is_no_pass(pair: tuple[Document, Document]) -> None:
    evidence, policy = pair
    evidence["legs"] = [leg for leg in evidence["legs"] if leg["gpu"] is None]
    evidence["gpus"] = []
    certificate = certify(pair)
    assert status(certificate)["driver.sum", None] == "ERROR"
    assert one(certificate, "driver.sum", None)["reason"].startswith("no GPU was tested")
    # Not even a lock that names no GPU makes it one: GPUs are there.
    policy["without_gpu"] = "the lock names none"
    assert status(certify(pair))["driver.sum", None] == "ERROR"


def test_where_no_gpu_is_and_the_lock_names_none_the_checks_are_left_out_with_the_reason(
    pair: tuple[Document, Document],
) -> None:
    evidence, policy = pair
    evidence["legs"] = [leg for leg in evidence["legs"] if leg["gpu"] is None]
    evidence["gpus"] = evidence["state"]["gpus"] = []
    policy["without_gpu"] = "the lock names none"
    verdict = one(certify(pair), "driver.sum", None)
    assert (verdict["status"], verdict["reason"]) == ("SKIP", "the lock names none")


def test_a_gpu_that_somebody_uses_is_not_healthy_but_unmeasured(
    pair: tuple[Document, Document],
) -> None:
    (leg,) = [x for x in pair[0]["legs"] if x["gpu"] == TWO]
    leg.update(outcome="deferred", detail="process 4711 computes on it", measurements=[])
    certificate = certify(pair)
    verdict = one(certificate, "driver.sum", TWO)
    assert verdict["status"] == "ERROR"
    assert "somebody uses the GPU" in verdict["reason"]
    assert exit_code(certificate["verdict"]) == 4
    assert status(certificate)["driver.sum", ONE] == "PASS"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e: e["gpus"].append(dict(GPU)), "holds a GPU twice"),
        (lambda e: e["gpus"].pop(), "ran on a GPU that was not tested"),
        (lambda e: e["legs"].append(copy.deepcopy(e["legs"][-1])), "leg driver twice"),
        (lambda e: e["gpus"][0].pop("device"), "gpus.device is missing"),
        (lambda e: e["gpus"][0].update(id=7), "gpus.id is missing or of the wrong type"),
    ],
)
def test_gpus_that_make_no_sense_are_refused(
    pair: tuple[Document, Document], change: Any, says: str
) -> None:
    change(pair[0])
    with pytest.raises(JudgeError, match=says):
        certify(pair)


# --- references ---------------------------------------------------------------------------------


def test_a_gpu_that_nobody_has_described_is_measured_and_not_judged(
    pair: tuple[Document, Document],
) -> None:
    evidence, _ = pair
    for gpu in evidence["gpus"]:
        gpu["device"] = "ffff"
    certificate = certify(pair)
    verdict = one(certificate, "driver.speed", ONE)
    assert (verdict["status"], verdict["measured"]) == ("NO_REFERENCE", "4000.0 GB/s")
    assert certificate["verdict"] == "PASS"
    assert certificate["level"] == "execution"
    assert "its speed was not judged" in certificate["level_reason"]


def test_no_leg_fails_a_gpu_for_being_unknown() -> None:
    evidence, policy = fresh("gpu")
    policy["references"] = {}
    certificate = judge(evidence, policy, "h1", NOW)
    found = {v["check"]: v["status"] for v in certificate["verdicts"]}
    assert {c: s for c, s in found.items() if s not in ("PASS", "SKIP", "NO_REFERENCE")} == {}
    assert {found["driver.device"], found["driver.bandwidth"]} == {"NO_REFERENCE"}
    assert found["driver.memory"] == found["driver.compute"] == "PASS", "right is right on any GPU"
    assert (certificate["verdict"], certificate["level"]) == ("PASS", "execution")


def test_each_gpu_is_held_against_its_own_model(pair: tuple[Document, Document]) -> None:
    evidence, _ = pair
    evidence["gpus"][1]["device"] = "26b9"  # an L40S, of far less bandwidth
    values(evidence, TWO, "driver.speed")["gbs"] = 700.0
    assert status(certify(pair))["driver.speed", TWO] == "PASS"
    values(evidence, ONE, "driver.speed")["gbs"] = 700.0
    assert status(certify(pair))["driver.speed", ONE] == "FAIL"


# --- levels -------------------------------------------------------------------------------------


def test_performance_is_shown_when_every_gpu_passed_a_check_of_speed(
    pair: tuple[Document, Document],
) -> None:
    certificate = certify(pair)
    assert certificate["level"] == "performance"
    pair[0]["gpus"][1]["device"] = "ffff"
    assert certify(pair)["level"] == "execution"


def test_execution_is_shown_when_every_gpu_computed_rightly(
    pair: tuple[Document, Document],
) -> None:
    _, policy = pair
    del policy["expectations"][2]
    assert certify(pair)["level"] == "execution"
    del policy["expectations"][1]
    certificate = certify(pair)
    assert certificate["level"] == "linkage"
    assert "no GPU was used" in certificate["level_reason"]


def test_a_declared_skip_shows_nothing(pair: tuple[Document, Document]) -> None:
    pair[1]["expectations"][1]["skip"] = "not today, says the owner"
    certificate = certify(pair)
    assert status(certificate)["driver.sum", ONE] == "SKIP"
    assert certificate["level"] == "linkage"
    assert "not every GPU passed" in certificate["level_reason"]


def test_a_gpu_that_was_left_out_keeps_the_machine_at_linkage(
    pair: tuple[Document, Document],
) -> None:
    evidence, _ = pair
    evidence["legs"] = [leg for leg in evidence["legs"] if leg["gpu"] != TWO]
    del evidence["gpus"][1]
    certificate = certify(pair)
    assert (certificate["verdict"], certificate["level"]) == ("PASS", "linkage")
    assert "1 of 2 GPUs were tested" in certificate["level_reason"]


def test_a_simulated_library_makes_it_simulated_however_well_it_computed(
    pair: tuple[Document, Document],
) -> None:
    pair[0]["legs"][0]["libraries"][0]["simulated"] = True
    assert certify(pair)["level"] == "simulated"


def test_the_certificate_says_how_much_of_each_gpu_was_reached(
    pair: tuple[Document, Document],
) -> None:
    for gpu, reached in ((ONE, 132), (TWO, 131)):
        (leg,) = [x for x in pair[0]["legs"] if x["gpu"] == gpu]
        for check, found in (
            ("driver.compute", {"sms_visited": reached, "sm_count": 132}),
            ("driver.memory", {"checked_bytes": 2**30, "total_bytes": True}),
        ):
            leg["measurements"].append({"check": check, "values": found, "error": None})
    assert certify(pair)["coverage"] == {
        ONE: {"sms_visited": 132, "sm_count": 132, "checked_bytes": 2**30},
        TWO: {"sms_visited": 131, "sm_count": 132, "checked_bytes": 2**30},
    }


# --- waivers ------------------------------------------------------------------------------------

WAIVER = {
    "check": "driver.sum",
    "gpu": None,
    "host": None,
    "owner": "ops@x",
    "reason": "ticket 17",
    "expires": NOW + 10,
}


@pytest.fixture
def flawed(pair: tuple[Document, Document]) -> tuple[Document, Document]:
    """Both GPUs compute wrongly."""
    for gpu in (ONE, TWO):
        values(pair[0], gpu, "driver.sum")["sum"] = 5
    return pair


def test_a_waived_finding_is_shown_with_its_owner_and_what_it_was(
    flawed: tuple[Document, Document],
) -> None:
    flawed[1]["waivers"] = [WAIVER]
    certificate = certify(flawed)
    verdict = one(certificate, "driver.sum", ONE)
    assert verdict["status"] == "WAIVED"
    assert verdict["reason"] == "waived by ops@x: ticket 17; it was FAIL: wrong"
    assert certificate["verdict"] == "PASS"
    assert certificate["level"] == "linkage", "a waived check shows nothing"


def test_a_waiver_ends_on_its_day(flawed: tuple[Document, Document]) -> None:
    flawed[1]["waivers"] = [WAIVER]
    assert certify(flawed, NOW + 9.5)["verdict"] == "PASS"
    certificate = certify(flawed, NOW + 10)
    assert certificate["verdict"] == "FAIL"
    reason = one(certificate, "driver.sum", ONE)["reason"]
    assert reason == "wrong (the waiver of ops@x has expired)"


@pytest.mark.parametrize(
    ("narrowed", "waived"),
    [
        ({"gpu": TWO}, {TWO}),
        ({"host": "h1"}, {ONE, TWO}),
        ({"host": "h2"}, set()),
        ({"host": "h1", "gpu": ONE}, {ONE}),
        ({"check": "driver.speed"}, set()),
    ],
)
def test_a_waiver_covers_what_it_names_and_nothing_else(
    flawed: tuple[Document, Document], narrowed: Document, waived: set[str]
) -> None:
    flawed[1]["waivers"] = [{**WAIVER, **narrowed}]
    found = status(certify(flawed))
    assert {gpu for gpu in (ONE, TWO) if found["driver.sum", gpu] == "WAIVED"} == waived


def test_what_could_not_be_measured_cannot_be_waived(pair: tuple[Document, Document]) -> None:
    values(pair[0], ONE, "driver.sum").clear()
    pair[1]["waivers"] = [WAIVER]
    certificate = certify(pair)
    assert status(certificate)["driver.sum", ONE] == "ERROR"
    assert status(certificate)["driver.sum", TWO] == "PASS", "and what passes needs no waiver"
    assert certificate["verdict"] == "ERROR"
