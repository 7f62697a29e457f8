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


def test_the_line_says_what_was_shown_and_how_old_it_is(kept: dict[str, Any]) -> None:
    lock = str(kept["lock_hash"])[:12]
    shown = f"cudactl: PASS at level {kept['level']}, lock {lock}, "
    assert gate(kept, BITS, kept["issued"] + 2 * 3600) == (0, shown + "2 h old")
    assert gate(kept, BITS, kept["issued"]) == (0, shown + "0 h old")
    # A clock that was set back a little makes nothing younger than new.
    assert gate(kept, BITS, kept["issued"] - 300) == (0, shown + "0 h old")
    assert gate(kept, BITS, kept["issued"] - 301)[0] == 4


def test_the_line_says_what_to_do_about_what_no_longer_stands(kept: dict[str, Any]) -> None:
    again = "; certify again"
    late = gate(kept, BITS, kept["expires"] + 3 * 3600)
    assert late == (3, "cudactl: the certificate expired 3 h ago" + again)
    assert gate(kept, BITS, kept["expires"])[0] == 0
    other = gate(kept, {**BITS, "driver": "570.1"}, NOW)
    assert other[1] == f"cudactl: certified with driver {BITS['driver']}, loaded is 570.1{again}"
    none = gate({**kept, "driver": None}, BITS, NOW)
    assert none[1] == f"cudactl: certified with driver none, loaded is {BITS['driver']}{again}"
    assert gate(kept, {**BITS, "boot_id": "x"}, NOW)[1].endswith("since it was certified" + again)
    assert gate(kept, {**BITS, "machine_id": "x"}, NOW)[1].endswith("another machine's" + again)
    nothing = gate({**kept, "level": "none"}, BITS, NOW)
    assert nothing[1] == "cudactl: PASS at level none: nothing was shown by it" + again
    assert gate({}, BITS, NOW)[1] == "cudactl: the certificate kept here cannot be read" + again


@pytest.mark.parametrize("level", ["linkage", "execution", "performance", "simulated"])
def test_every_level_stands_and_so_do_warnings(kept: dict[str, Any], level: str) -> None:
    assert gate({**kept, "level": level, "verdict": "WARN"}, BITS, NOW)[0] == 0


def test_the_first_four_findings_of_a_failure_are_named(kept: dict[str, Any]) -> None:
    findings: list[Any] = [
        {"check": f"c{n}", "status": status}
        for n, status in enumerate(("PASS", "FAIL", "WARN", "ERROR", "FAIL", "FAIL", "FAIL"))
    ]
    failed = {**kept, "verdict": "FAIL", "verdicts": ["junk", *findings]}
    lock = str(kept["lock_hash"])[:12]
    assert gate(failed, BITS, NOW) == (3, f"cudactl: FAIL by lock {lock}: c1, c3, c4, c5")
    assert gate({**failed, "verdicts": None}, BITS, NOW)[1] == f"cudactl: FAIL by lock {lock}: "


def test_a_line_of_just_the_length_that_fits_is_whole(kept: dict[str, Any]) -> None:
    lock = str(kept["lock_hash"])[:12]
    room = 200 - len(f"cudactl: FAIL by lock {lock}: ")
    for length, whole in ((room, True), (room + 1, False)):
        verdicts = [{"check": "y" * length, "status": "FAIL"}]
        _, line = gate({**kept, "verdict": "FAIL", "verdicts": verdicts}, BITS, NOW)
        assert len(line) == 200
        assert line.endswith("y" if whole else "y…")
