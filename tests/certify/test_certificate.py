"""Certificates: made from evidence and a policy, shown to people, and what they exit with."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest

from cudactl.certify.certificate import EvidenceError, exit_of, make_certificate
from cudactl.certify.show import certificate_table
from cudactl.contracts.certificate import Certificate, Policy
from cudactl.contracts.errors import Exit
from tests.judge.healthy import NOW, fresh, leg, value


def certificate(kind: str = "lab", **changes: Any) -> Certificate:
    evidence, policy = fresh(kind)
    made = make_certificate(evidence, Policy.model_validate(policy), "gpu-01", NOW)
    return made.model_copy(update=changes) if changes else made


def shown(made: Certificate) -> str:
    return click.unstyle(certificate_table(made))


# --- making -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("lab", "simulated"),
        ("gpu", "performance"),
        ("driverless", "linkage"),
        ("wheels", "linkage"),
    ],
)
def test_healthy_machines_pass_at_the_level_that_was_shown(kind: str, level: str) -> None:
    made = certificate(kind)
    assert (made.verdict, made.level) == ("PASS", level)
    assert exit_of(made) == Exit.PASS


@pytest.mark.parametrize(
    ("outcome", "verdict", "code"),
    [
        ("crashed", "FAIL", Exit.FAIL),
        ("timeout", "FAIL", Exit.FAIL),
        ("stuck", "FAIL", Exit.FAIL),
        ("no_output", "ERROR", Exit.UNMEASURED),
    ],
)
def test_exit_codes_tell_a_failure_from_not_knowing(outcome: str, verdict: str, code: Exit) -> None:
    evidence, policy = fresh("gpu")
    leg(evidence, "cudnn")["outcome"] = outcome
    made = make_certificate(evidence, Policy.model_validate(policy), "gpu-01", NOW)
    assert (made.verdict, exit_of(made)) == (verdict, code)
    assert made.level == "none"


@pytest.mark.parametrize("spoil", [{}, {"legs": 1}, {"schema_version": 2}, {"state": {}}, {"x": 1}])
def test_what_is_no_evidence_is_refused_with_the_place(spoil: dict[str, Any]) -> None:
    evidence, policy = fresh("lab")
    evidence = {**evidence, **spoil} if spoil else {}
    with pytest.raises(EvidenceError) as caught:
        make_certificate(evidence, Policy.model_validate(policy), "gpu-01", NOW)
    error = caught.value
    assert (error.code, error.exit_code) == ("EVIDENCE-UNREADABLE", Exit.USAGE)
    assert error.remedy
    for place in spoil:
        assert place in error.found


# --- showing ------------------------------------------------------------------------------------


def test_the_first_line_says_host_verdict_and_level() -> None:
    first = shown(certificate("gpu")).splitlines()[0]
    assert first == "Certificate for gpu-01: PASS, level performance"


def test_a_simulated_certificate_cannot_be_mistaken_for_another() -> None:
    text = shown(certificate("lab"))
    assert text.splitlines()[0].endswith("level simulated")
    assert "simulated ones" in text
    assert "no GPU was there" in text
    assert "look-alike" in text


def test_machine_lock_driver_and_gpus_are_named() -> None:
    made = certificate("gpu")
    text = shown(made)
    assert f"{made.hostname}, {made.os}, kernel {made.kernel}" in text
    assert made.lock_hash[:12] in text
    assert "driver   580.95.05" in text
    assert "0000:01:00.0 2335" in shown(certificate("gpu", gpus=["0000:01:00.0 2335"]))
    assert "none loaded;  GPUs: none" in shown(certificate("wheels"))


def test_every_check_has_its_line_and_the_counts_add_up() -> None:
    made = certificate("gpu")
    text = shown(made)
    for verdict in made.verdicts:
        assert re.search(rf"^  {verdict.status} +{re.escape(verdict.check)} ", text, re.MULTILINE)
    passed = sum(v.status == "PASS" for v in made.verdicts)
    assert f"{passed} PASS" in text
    assert f"{len(made.libraries)} vendor libraries loaded and hashed" in text


def test_a_failed_check_shows_measured_expected_and_why() -> None:
    evidence, policy = fresh("gpu")
    value(evidence, "toolkit.cublas")["version"] = "12.9.1"
    made = make_certificate(evidence, Policy.model_validate(policy), "gpu-01", NOW)
    text = " ".join(shown(made).split())
    assert "FAIL toolkit.cublas" in text
    assert "12.9.1" in text
    assert "(expected" in text
    assert "13.1.0" in text
    assert "Certificate for gpu-01: FAIL, level none" in text


def test_until_when_it_stands_is_said() -> None:
    made = certificate("gpu", expires=1_795_600_000.0)
    assert "valid until 2026-11-25 09:46 UTC" in shown(made)


def test_what_was_allowed_is_on_every_certificate() -> None:
    allowed = [{"code": "STACK-GPU-TOOLKIT", "reason": "a trial for a week"}]
    assert "STACK-GPU-TOOLKIT: a trial for a week" in shown(certificate("gpu", allowed=allowed))


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_lines_fit_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    room = max(columns, 80)  # names of checks and machines are not cut
    assert max(len(line) for line in shown(certificate("wheels")).splitlines()) <= room + 20


def test_evidence_cannot_write_on_the_terminal() -> None:
    evidence, policy = fresh("gpu")
    evidence["state"]["hostname"] = "h\x1b[2Jx"
    value(evidence, "toolkit.cublas")["version"] = "1\x1b]0;title\x07"
    made = make_certificate(evidence, Policy.model_validate(policy), "gpu\x1b[31m", NOW)
    assert "\x1b" not in click.unstyle(certificate_table(made)).replace("\x1b[0m", "")
