"""From a result of Ansible's to what a reader is told."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.provision.events import differences, message


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"msg": "No space left on device"}, "No space left on device"),
        ({"results": [{"failed": False, "msg": "fine"}, {"failed": True, "msg": "bad"}]}, "bad"),
        (
            {"msg": "apt failed", "stderr": "Reading…\nE: Unable to fetch\nmore"},
            "E: Unable to fetch",
        ),
        ({"msg": "MODULE FAILURE", "module_stderr": "Traceback\n  x\nKeyError: 'a'"}, "KeyError"),
        ({"msg": "same", "stdout": "same"}, "same"),
        ({}, "no message"),
    ],
)
def test_a_failure_is_told_by_its_most_telling_lines(result: dict[str, Any], says: str) -> None:
    assert says in message(result)


def test_of_apts_output_only_its_errors_are_told() -> None:
    told = message({"msg": "apt failed", "stderr": "noise\n" * 50 + "E: hash sum mismatch\n"})
    assert told == "apt failed\nE: hash sum mismatch"


def test_apts_long_command_is_left_out() -> None:
    said = (
        "'/usr/bin/apt-get -y -o \"Dpkg::Options::=--force-confdef\" install 'a=1' 'b=2'' failed: "
        "E: You don't have enough free space in /var/cache/apt/archives/.\n"
    )
    told = message({"msg": said, "stderr": "E: You don't have enough free space in /var/…"})
    assert "apt-get" not in told
    assert told.startswith("E: You don't have enough free space")


def test_a_changed_file_is_a_unified_difference() -> None:
    diff = [
        {"before": "a\nb\n", "after": "a\nc\n", "before_header": "/etc/x", "after_header": "/y"}
    ]
    shown = differences({"diff": diff}).splitlines()
    assert shown[:2] == ["--- /etc/x", "+++ /y"]
    assert shown[-3:] == [" a", "-b", "+c"]


def test_every_item_of_a_loop_is_shown() -> None:
    items = [{"diff": [{"before": "", "after": f"{name}\n"}]} for name in ("one", "two")]
    shown = differences({"results": items})
    assert "+one" in shown
    assert "+two" in shown


@pytest.mark.parametrize(
    "result",
    [{}, {"diff": {}}, {"diff": []}, {"diff": [{"before": {"mode": "0644"}}]}, {"diff": None}],
)
def test_what_is_no_text_shows_nothing(result: dict[str, Any]) -> None:
    assert differences(result) == ""


def test_a_difference_that_comes_ready_is_taken_as_it_is() -> None:
    assert differences({"diff": {"prepared": "The following packages: x\n"}}) == (
        "The following packages: x"
    )
