"""What a certificate holds beside its verdicts: each word is the evidence's or the policy's."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.judge import JudgeError, judge
from cudactl.judge.checks import CHECKS
from cudactl.judge.judging import MAX_TEXT, overall, plain
from cudactl.judge.levels import coverage, lowered
from tests.judge.healthy import NOW, fresh, leg, value


def certificate(kind: str = "gpu", **changes: Any) -> dict[str, Any]:
    evidence, policy = fresh(kind)
    policy.update(changes)
    return judge(evidence, policy, "web-1", NOW)


def test_it_says_which_machine_it_is_of() -> None:
    evidence, policy = fresh("gpu")
    evidence["state"].update(hostname="h1.example.org", machine_id="c" * 32, boot_id="boot-7")
    evidence["state"]["kernel"]["running"] = "6.8.0-99-generic"
    found = judge(evidence, policy, "web-1", NOW)
    assert (found["host"], found["hostname"]) == ("web-1", "h1.example.org")
    assert (found["machine_id"], found["boot_id"]) == ("c" * 32, "boot-7")
    assert (found["os"], found["kernel"]) == ("ubuntu-24.04", "6.8.0-99-generic")
    assert certificate("lab")["os"] == "ubuntu-24.04 look-alike"


@pytest.mark.parametrize("missing", [None, "", 5, [], True])
def test_an_identity_that_is_no_text_is_none(missing: Any) -> None:
    evidence, policy = fresh("lab")
    evidence["state"].update(machine_id=missing, boot_id=missing)
    evidence["state"]["module"]["loaded"] = missing
    found = judge(evidence, policy, "h", NOW)
    assert (found["machine_id"], found["boot_id"], found["driver"]) == (None, None, None)


def test_it_says_which_policy_it_is_by() -> None:
    allowed = [{"code": "STACK-X", "reason": "a trial"}]
    found = certificate(allowed=allowed, resolved={"cuda": "13.0.2"}, tier="nightly")
    assert found["allowed"] == allowed
    assert found["resolved"] == {"cuda": "13.0.2"}
    assert found["tier"] == "nightly"
    assert found["lock_hash"] == fresh("gpu")[1]["lock_hash"]
    assert certificate(allowed=None, resolved=None)["allowed"] == []


def test_it_says_when_and_until_when() -> None:
    evidence, policy = fresh("gpu")
    policy["valid_s"] = 60
    found = judge(evidence, policy, "h", NOW)
    assert found["issued"] == NOW
    assert found["expires"] == evidence["taken_at"] + 60
    del policy["valid_s"]
    assert judge(evidence, policy, "h", NOW)["expires"] == evidence["taken_at"]


def test_it_says_who_measured_and_which_libraries_were_loaded() -> None:
    evidence, policy = fresh("gpu")
    evidence["probe_version"] = "9.9.9"
    found = judge(evidence, policy, "h", NOW)
    assert found["tool"] == "9.9.9"
    paths = [library["path"] for library in found["libraries"]]
    assert len(paths) == len(set(paths))
    assert set(paths) == {x["path"] for part in evidence["legs"] for x in part["libraries"]}


def test_each_verdict_says_which_leg_it_belongs_to() -> None:
    for verdict in certificate()["verdicts"]:
        assert verdict["leg"] == CHECKS[verdict["check"]].leg
        assert set(verdict) == {
            "check",
            "leg",
            "gpu",
            "status",
            "measured",
            "expected",
            "reason",
        }


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        (["PASS", "FAIL", "ERROR", "WARN"], "FAIL"),
        (["PASS", "ERROR", "WARN"], "ERROR"),
        (["WARN", "PASS"], "WARN"),
        (["PASS", "SKIP", "NO_REFERENCE", "WAIVED"], "PASS"),
        (["SKIP", "NO_REFERENCE", "WAIVED"], "ERROR"),
        ([], "ERROR"),
    ],
)
def test_the_worst_decides_and_what_shows_nothing_is_no_pass(
    statuses: list[str], whole: str
) -> None:
    assert overall(statuses) == whole


def test_text_for_people_is_one_line_of_bounded_length() -> None:
    assert plain("a\n b\t\x1b[31mc") == "a b [31mc"
    assert plain("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert plain("x" * (MAX_TEXT + 1)) == "x" * (MAX_TEXT - 1) + "…"
    assert plain(None) == "None"


# --- waivers ------------------------------------------------------------------------------------


def waived(waiver: dict[str, Any], host: str = "web-1") -> dict[str, Any]:
    evidence, policy = fresh("wheels")
    value(evidence, "toolkit.cublas")["version"] = "1.2.3"
    whole = {"check": "toolkit.cublas", "owner": "ops", "reason": "a trial", "expires": NOW + 1}
    policy["waivers"] = [{**whole, **waiver}]
    made = judge(evidence, policy, host, NOW)
    found: dict[str, Any] = next(v for v in made["verdicts"] if v["check"] == "toolkit.cublas")
    return found


def test_a_waived_finding_keeps_what_it_was() -> None:
    found = waived({})
    assert found["status"] == "WAIVED"
    assert found["reason"].startswith("waived by ops: a trial; it was FAIL: ")
    assert "another version" in found["reason"]


@pytest.mark.parametrize(
    ("waiver", "status"),
    [
        ({"expires": NOW}, "FAIL"),
        ({"expires": NOW + 0.1}, "WAIVED"),
        ({"host": "web-1"}, "WAIVED"),
        ({"host": "web-2"}, "FAIL"),
        ({"gpu": "GPU-1"}, "FAIL"),
        ({"check": "toolkit.nvrtc"}, "FAIL"),
    ],
)
def test_a_waiver_is_for_its_check_its_host_its_gpu_and_its_time(
    waiver: dict[str, Any], status: str
) -> None:
    assert waived(waiver)["status"] == status


def test_a_warning_is_waived_as_a_failure_is() -> None:
    evidence, policy = fresh("gpu")
    value(evidence, "health.modes")["persistence"] = 0
    policy["waivers"] = [
        {"check": "health.modes", "owner": "ops", "reason": "x", "expires": NOW + 1}
    ]
    made = judge(evidence, policy, "h", NOW)
    found = next(v for v in made["verdicts"] if v["check"] == "health.modes")
    assert found["status"] == "WAIVED"
    assert "it was WARN: " in found["reason"]


def test_an_expired_waiver_is_told() -> None:
    assert waived({"expires": NOW - 1})["reason"].endswith("(the waiver of ops has expired)")


def test_what_could_not_be_measured_is_never_waived() -> None:
    evidence, policy = fresh("wheels")
    del value(evidence, "toolkit.cublas")["version"]
    policy["waivers"] = [
        {"check": "toolkit.cublas", "owner": "ops", "reason": "x", "expires": NOW + 1}
    ]
    made = judge(evidence, policy, "h", NOW)
    assert made["verdict"] == "ERROR"


# --- skips, legs, levels ------------------------------------------------------------------------


def test_a_skip_of_a_check_on_gpus_is_told_for_each_gpu() -> None:
    evidence, policy = fresh("gpu")
    expectation = next(e for e in policy["expectations"] if e["check"] == "driver.compute")
    expectation["skip"] = "the owner says so"
    found = [
        v for v in judge(evidence, policy, "h", NOW)["verdicts"] if v["check"] == "driver.compute"
    ]
    assert [v["gpu"] for v in found] == [g["id"] for g in evidence["gpus"]]
    assert {(v["status"], v["reason"]) for v in found} == {("SKIP", "the owner says so")}


def test_a_check_on_gpus_where_none_was_tested_is_an_error_unless_declared() -> None:
    evidence, policy = fresh("wheels")
    policy["expectations"].append({"check": "driver.compute", "expect": {}, "source": "x"})
    policy["expectations"] = [e for e in policy["expectations"] if "skip" not in e or not e["skip"]]
    seen: dict[str, dict[str, Any]] = {}
    for without in (None, "no GPU here"):
        made = judge(evidence, {**policy, "without_gpu": without}, "h", NOW)
        for verdict in made["verdicts"]:
            if verdict["check"] == "driver.compute":
                seen[str(without)] = verdict
    assert (seen["None"]["status"], seen["None"]["gpu"]) == ("ERROR", None)
    assert "no GPU was tested" in seen["None"]["reason"]
    assert seen["no GPU here"]["status"] == "SKIP"
    assert seen["no GPU here"]["reason"] == "no GPU here"


def test_a_declared_skip_needs_no_gpu_to_be_told_by() -> None:
    evidence, policy = fresh("wheels")
    policy["without_gpu"] = None
    policy["expectations"].append({"check": "driver.compute", "skip": "not today", "source": "x"})
    evidence["state"]["gpus"] = [{"address": "0000:17:00.0", "device": "2335"}]
    found = [
        v for v in judge(evidence, policy, "h", NOW)["verdicts"] if v["check"] == "driver.compute"
    ]
    assert [(v["status"], v["gpu"], v["reason"]) for v in found] == [("SKIP", None, "not today")]


def test_every_leg_of_the_policy_is_asked_whether_it_ended_once() -> None:
    evidence, policy = fresh("gpu")
    asked = [(v["check"], v["gpu"]) for v in judge(evidence, policy, "h", NOW)["verdicts"]]
    assert len(asked) == len(set(asked))
    ran = {check for check, _ in asked if check.endswith(".ran")}
    assert ran == {f"{name}.ran" for name in policy["legs"]}
    on_gpu = {check for check, _ in asked if check.endswith(".ran_on_gpu")}
    assert on_gpu == {f"{name}.ran_on_gpu" for name in policy["device_legs"]}


def test_a_check_without_a_name_is_refused() -> None:
    evidence, policy = fresh("wheels")
    for junk in (None, 5, [], {}, {"check": 5}, {"check": None}):
        policy["expectations"] = [junk]
        with pytest.raises(JudgeError, match="does not know"):
            judge(evidence, policy, "h", NOW)
    for nothing in (None, {}, "", 0):
        with pytest.raises(JudgeError, match="expects nothing"):
            judge(evidence, {**policy, "expectations": nothing}, "h", NOW)


def test_coverage_counts_only_whole_numbers_of_gpus_that_were_reached() -> None:
    class Told:
        def __init__(self, values: dict[str, Any]) -> None:
            self.tested = [{"id": "GPU-1"}, {"id": "GPU-2"}]
            self.values = values
            self.gpu: dict[str, Any] = {}

        def at(self, gpu: dict[str, Any], references: dict[str, Any]) -> Told:
            found = Told(self.values)
            found.gpu = gpu
            return found

        def measurement(self, leg: str, check: str) -> dict[str, Any] | None:
            assert leg == "driver"
            return {"values": self.values} if self.gpu["id"] == "GPU-1" else None

    whole = {"sms_visited": 131, "sm_count": 132, "checked_bytes": 5, "total_bytes": 9}
    assert coverage(Told({**whole, "other": 1})) == {"GPU-1": whole}
    assert coverage(Told({"sms_visited": True, "sm_count": "132", "checked_bytes": 1.5})) == {}


def test_the_level_falls_below_what_was_left_out_and_says_how_much() -> None:
    def left(*names: str, **more: object) -> dict[str, Any]:
        return {
            "expectations": [{"check": n, "skip": "x", "left_out": True, **more} for n in names]
        }

    assert lowered("performance", "why", left("toolkit.speed.bf16")) == (
        "execution",
        "1 check was left out, so this is not shown: it computed, the numbers are right, and it is "
        "as fast as this GPU should be",
    )
    assert (
        lowered("performance", "why", left("driver.compute", "toolkit.speed.bf16"))[0] == "linkage"
    )
    assert lowered("linkage", "why", left("driver.compute", "cudnn.forward")) == (
        "linkage",
        "why; 2 checks were left out",
    )
    assert lowered("simulated", "why", left("stack.os")) == (
        "simulated",
        "why; 1 check was left out",
    )
    # A leg's end counts only where nothing else of its leg was left out.
    assert lowered("linkage", "why", left("cudnn.ran"))[0] == "none"
    assert lowered("execution", "why", left("energy.ran_on_gpu", "energy.draw"))[0] != "none"
    # What the lock declares, and what was not left out, lowers nothing.
    assert lowered("linkage", "why", left("stack.os", left_out=False)) == ("linkage", "why")
    assert lowered("linkage", "why", left("stack.os", skip=None)) == ("linkage", "why")
    assert lowered("linkage", "why", left("not.a.check")) == ("linkage", "why")


def test_a_leg_that_ended_badly_says_how() -> None:
    evidence, policy = fresh("wheels")
    leg(evidence, "toolkit").update(outcome="crashed", detail="SIGSEGV: in libfoo", measurements=[])
    found = {v["check"]: v for v in judge(evidence, policy, "h", NOW)["verdicts"]}
    assert found["toolkit.ran"]["reason"] == "the leg crashed: SIGSEGV: in libfoo"
    assert found["toolkit.cublas"]["reason"] == "not measured: the leg toolkit crashed"
