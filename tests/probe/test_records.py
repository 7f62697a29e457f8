"""What is read of the notes that cudactl's runs leave on a host."""

from __future__ import annotations

import json
from pathlib import Path

from cudactl.contracts.state import HostState
from cudactl.contracts.state_records import Records
from tests.probe.conftest import Probe


def read(probe: Probe, tree: Path, files: dict[str, str]) -> Records:
    for name, content in files.items():
        path = tree / "var/lib/cudactl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return HostState.model_validate(probe("state", "--root", str(tree))).records


def event(what: str, lock: str, **more: object) -> str:
    return json.dumps({"event": what, "lock": lock, "at": 1.0, **more}) + "\n"


def test_a_host_without_notes_has_none(probe: Probe, tmp_path: Path) -> None:
    assert read(probe, tmp_path, {}) == Records()


def test_the_newest_certified_lock_comes_first_and_each_once(probe: Probe, tmp_path: Path) -> None:
    lines = [
        event("begun", "aa", purpose="provision"),
        event("certified", "aa"),
        event("begun", "bb", purpose="provision"),
        event("certified", "bb"),
        event("certified", "aa"),
    ]
    found = read(probe, tmp_path, {"history.jsonl": "".join(lines)})
    assert found.certified == ["aa", "bb"]
    assert (found.begun, found.purpose, found.certified_since) == ("bb", "provision", True)


def test_a_run_that_began_after_the_certificate_is_not_certified(
    probe: Probe, tmp_path: Path
) -> None:
    lines = event("certified", "aa") + event("begun", "bb", purpose="rollback")
    found = read(probe, tmp_path, {"history.jsonl": lines})
    assert (found.begun, found.purpose, found.certified_since) == ("bb", "rollback", False)


def test_half_a_line_and_rubbish_are_passed_over(probe: Probe, tmp_path: Path) -> None:
    text = "[1]\n" + event("certified", "aa") + '{"event": "certified", "lo'
    found = read(probe, tmp_path, {"history.jsonl": text, "run.json": "{", "brought.json": "[]"})
    assert found == Records(certified=["aa"], certified_since=True)


def test_kept_packages_locks_and_copies_are_listed(probe: Probe, tmp_path: Path) -> None:
    found = read(
        probe,
        tmp_path,
        {
            "packages/0123456789ab/a_1_amd64.deb": "",
            "packages/incoming/b_1_amd64.deb": "",
            "locks/0123456789ab.lock": "{}",
            "locks/.half": "",
            "brought.json": '{"a": null, "b": "1.0", "c": 3}',
            "taken-over/etc/apt/sources.list.d/cuda.list": "deb",
        },
    )
    assert [(k.lock, k.files) for k in found.kept] == [("0123456789ab", ["a_1_amd64.deb"])]
    assert found.locks == ["0123456789ab"]
    assert found.brought == {"a": None, "b": "1.0"}
    assert found.taken_over == ["/etc/apt/sources.list.d/cuda.list"]


def test_a_run_that_did_not_end_is_told(probe: Probe, tmp_path: Path) -> None:
    run = {"run_id": "run-1", "lock": "aa", "since": 5.0, "packages": ["dkms"], "purpose": "x"}
    found = read(probe, tmp_path, {"run.json": json.dumps(run)}).interrupted
    assert found is not None
    assert (found.run_id, found.packages, found.purpose) == ("run-1", ["dkms"], "provision")
