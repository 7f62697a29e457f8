"""The gate: one line, and green only for a certificate that stands for this machine now."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.judge import judge
from cudactl.judge.gate import NAGIOS, gate
from tests.judge.healthy import NOW, fresh

BITS = {"boot_id": "boot-1", "driver": "580.95.05", "machine_id": "a" * 32}
DAY = 24 * 3600.0


@pytest.fixture
def kept() -> dict[str, Any]:
    evidence, policy = fresh("gpu")
    return judge(evidence, policy, "h1", NOW)


def test_a_fresh_certificate_of_this_machine_stands(kept: dict[str, Any]) -> None:
    code, line = gate(kept, BITS, NOW + 7200)
    assert code == 0
    assert "PASS at level performance" in line
    assert "2 h old" in line


@pytest.mark.parametrize(
    ("change", "bits", "later", "code", "says"),
    [
        ({}, {}, 8 * DAY, 3, "expired"),
        ({}, {"boot_id": "boot-2"}, 0, 3, "rebooted"),
        ({}, {"boot_id": None}, 0, 3, "rebooted"),
        ({"boot_id": None}, {"boot_id": None}, 0, 3, "rebooted"),
        ({}, {"driver": "580.82.07"}, 0, 3, "loaded is 580.82.07"),
        ({}, {"driver": None}, 0, 3, "loaded is none"),
        ({}, {"machine_id": "b" * 32}, 0, 3, "another machine's"),
        ({"verdict": "FAIL"}, {}, 0, 3, "FAIL by lock"),
        ({"verdict": "ERROR"}, {}, 0, 3, "ERROR by lock"),
        ({"verdict": "SKIP"}, {}, 0, 3, "SKIP by lock"),
        ({"level": "none"}, {}, 0, 3, "nothing was shown"),
        ({}, {}, -DAY, 4, "from the future"),
        ({"expires": float("nan")}, {}, 0, 3, "expired"),
        ({"issued": float("nan")}, {}, 0, 4, "clock"),
        ({"expires": "soon"}, {}, 0, 4, "cannot be read"),
        ({"issued": None}, {}, 0, 4, "cannot be read"),
    ],
)
def test_everything_else_does_not(
    kept: dict[str, Any],
    change: dict[str, Any],
    bits: dict[str, Any],
    later: float,
    code: int,
    says: str,
) -> None:
    found, line = gate({**kept, **change}, {**BITS, **bits}, NOW + later)
    assert (found, says in line) == (code, True), line


def test_no_certificate_and_a_broken_one_are_told_apart() -> None:
    assert gate(None, BITS, NOW) == (
        4,
        "cudactl: no certificate is kept here; run: cudactl certify host --store",
    )
    code, line = gate({}, BITS, NOW)
    assert (code, "cannot be read" in line) == (4, True)


def test_the_line_is_short_and_printable_whatever_is_kept(kept: dict[str, Any]) -> None:
    verdicts = [{"check": "x\n\x1b[31m" + "y" * 900, "status": "FAIL"}] * 9
    _, line = gate({**kept, "verdict": "FAIL", "verdicts": verdicts}, BITS, NOW)
    assert len(line) <= 200
    assert line.isprintable()


def test_every_exit_code_of_the_gate_has_its_nagios_code() -> None:
    assert NAGIOS == {0: 0, 3: 2, 4: 3}
