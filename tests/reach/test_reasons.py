"""A host that does not answer gets a reason that says what to do."""

from __future__ import annotations

import pytest

from cudactl.contracts.errors import Exit
from cudactl.reach.reasons import Ending, reason_for
from cudactl.reach.targets import Target

TARGET = Target(name="n1", address="n1.example.org", user="ops")


@pytest.mark.parametrize(
    ("code", "err", "expected"),
    [
        (255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "HOST-KEY-CHANGED"),
        (255, "Host key verification failed.", "HOST-KEY-UNKNOWN"),
        (255, "ops@n1: Permission denied (publickey).", "HOST-LOGIN-REFUSED"),
        (255, "ssh: Could not resolve hostname n1: unknown", "HOST-NAME-UNKNOWN"),
        (255, "ssh: connect to host n1 port 22: Connection refused", "HOST-UNREACHABLE"),
        (255, "ssh: connect to host n1 port 22: Connection timed out", "HOST-UNREACHABLE"),
        (255, "something new", "HOST-UNREACHABLE"),
        (1, "sudo: a password is required", "HOST-NO-SUDO"),
        (1, "ops is not in the sudoers file.", "HOST-NO-SUDO"),
        (127, "bash: line 1: exec: python3: not found", "HOST-NO-PYTHON"),
        (1, "AttributeError: module 'os' has no attribute 'memfd_create'", "HOST-OLD-PYTHON"),
        (139, "Segmentation fault", "PROBE-FAILED"),
    ],
)
def test_each_way_to_fail_has_its_reason(code: int, err: str, expected: str) -> None:
    error = reason_for(TARGET, Ending(code, err=err.encode()), None, 60.0)
    assert error.code == expected
    assert error.exit_code == Exit.UNMEASURED, "nothing is known about the host"
    assert error.remedy
    assert "n1" in error.found


def test_a_changed_key_warns_of_somebody_in_between() -> None:
    text = (
        "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@\n"
        "Host key verification failed."
    )
    error = reason_for(TARGET, Ending(255, err=text.encode()), None, 60.0)
    assert error.code == "HOST-KEY-CHANGED"
    assert "ssh-keygen -R n1.example.org" in error.remedy


def test_silence_until_the_deadline_is_a_hang() -> None:
    error = reason_for(TARGET, Ending(None, stopped="deadline"), None, 30.0)
    assert error.code == "HOST-HANGS"
    assert "30 s" in error.found


def test_the_probes_own_error_is_passed_on() -> None:
    said = {"error": {"code": "PROBE-REQUEST", "found": "no legs asked for", "remedy": "ask"}}
    error = reason_for(TARGET, Ending(2), said, 60.0)
    assert error.code == "PROBE-REQUEST"
    assert error.found == "n1: no legs asked for"
