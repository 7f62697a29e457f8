"""The claim on a host, and what a run writes down there: the scripts themselves, run for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.state import HostLock, HostState
from cudactl.provision import claim as claims
from cudactl.provision import records
from cudactl.provision.steps.repository import repository_files
from tests.provision.test_plan import bare_like


def run(script: str, arguments: list[str], **places: str) -> dict[str, Any]:
    for place in places.values():
        standing, _, instead = place.partition("→")
        assert standing in script
        script = script.replace(standing, instead)
    command = [sys.executable, "-I", "-S", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def claim_on(tmp_path: Path) -> Any:
    def act(verb: str, claim: HostLock, replace: str = "") -> dict[str, Any]:
        place = f"{claims.PATH}→{tmp_path}/run/host.lock"
        return run(claims.SCRIPT, claims.arguments(verb, claim, replace), place=place)

    return act


def test_one_run_has_a_host_and_the_other_is_told_who(claim_on: Any) -> None:
    mine, other = claims.new_claim("run-1"), claims.new_claim("run-2")
    assert claims.held_by_other(claim_on("take", mine), "run-1") is None
    held = claims.held_by_other(claim_on("take", other), "run-2")
    assert held is not None
    assert held.run_id == "run-1"
    claim_on("drop", other)
    assert claim_on("take", other)["held"]["run_id"] == "run-1", "nobody drops another's claim"
    claim_on("drop", mine)
    assert claim_on("take", other)["held"]["run_id"] == "run-2"


def test_a_claim_that_is_renewed_does_not_expire(claim_on: Any) -> None:
    mine = claims.new_claim("run-1").model_copy(update={"expires": 1.0})
    claim_on("take", mine)
    claim_on("renew", claims.renewed(mine))
    other = claims.new_claim("run-2")
    assert claim_on("take", other)["held"]["run_id"] == "run-1"
    assert claim_on("take", other)["held"]["expires"] > claims.LASTS_S
    claim_on("renew", claims.renewed(other))
    assert claim_on("take", other)["held"]["run_id"] == "run-1", "renewing is not taking"


def test_a_claim_that_expired_is_taken_over(claim_on: Any) -> None:
    claim_on("take", claims.new_claim("run-1").model_copy(update={"expires": 1.0}))
    assert claim_on("take", claims.new_claim("run-2"))["held"]["run_id"] == "run-2"


class Notes:
    def __init__(self, base: Path) -> None:
        self.base = base

    def write(self, arguments: list[str]) -> None:
        run(records.SCRIPT, arguments, place=f"{records.BASE}→{self.base}")

    def history(self) -> list[tuple[str, str]]:
        lines = (self.base / "history.jsonl").read_text().splitlines()
        return [(e["event"], e["run"]) for e in map(json.loads, filter(None, lines))]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "cudactl")


def test_a_run_is_written_down_from_its_start_to_its_end(
    notes: Notes, apt_lock: StackLock, state: HostState, tmp_path: Path
) -> None:
    claim = claims.new_claim("run-1")
    (tmp_path / "lock").write_text("the lock")
    there = bare_like(state, packages={**state.packages, "libcudnn9-cuda-13": "9.1.0.70-1"})
    begin = records.begin_arguments(apt_lock, there, claim, "provision", str(tmp_path / "lock"))
    notes.write(begin)
    kept = notes.base / "locks" / f"{apt_lock.short_hash}.lock"
    assert kept.read_text() == "the lock"
    brought = json.loads((notes.base / "brought.json").read_text())
    assert brought["libcudnn9-cuda-13"] == "9.1.0.70-1", "it was there before us"
    assert brought["cuda-toolkit-13-0"] is None
    assert json.loads((notes.base / "run.json").read_text())["run_id"] == "run-1"
    notes.write(records.end_arguments(apt_lock, claim, "provision"))
    assert not (notes.base / "run.json").exists()
    assert notes.history() == [("begun", "run-1"), ("installed", "run-1")]


def test_what_a_killed_run_touched_is_not_forgotten_by_the_next(
    notes: Notes, apt_lock: StackLock, state: HostState
) -> None:
    first = claims.new_claim("run-1")
    notes.write(records.begin_arguments(apt_lock, state, first, "provision", ""))
    journal = notes.base / "run.json"
    journal.write_text(json.dumps({**json.loads(journal.read_text()), "packages": ["dkms"]}))
    second = claims.new_claim("run-2")
    notes.write(records.begin_arguments(apt_lock, state, second, "provision", ""))
    said = json.loads(journal.read_text())
    assert (said["run_id"], said["packages"]) == ("run-2", ["dkms"])


def test_half_a_line_of_a_power_cut_does_not_swallow_the_next(
    notes: Notes, apt_lock: StackLock, state: HostState
) -> None:
    notes.base.mkdir()
    (notes.base / "history.jsonl").write_text('{"event": "beg')
    claim = claims.new_claim("run-1")
    notes.write(records.begin_arguments(apt_lock, state, claim, "provision", ""))
    lines = (notes.base / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["run"] == "run-1"


def test_on_a_host_of_an_older_cudactl_the_locks_packages_count_as_brought(
    notes: Notes, apt_lock: StackLock, state: HostState
) -> None:
    files = [{"path": f.path, "sha256": f.sha256} for f in repository_files(apt_lock)]
    there = bare_like(state, packages={"libcudnn9-cuda-13": "9.13.0.50-1"}, files=files)
    claim = claims.new_claim("run-1")
    notes.write(records.begin_arguments(apt_lock, there, claim, "provision", ""))
    brought = json.loads((notes.base / "brought.json").read_text())
    assert brought["libcudnn9-cuda-13"] is None


def test_an_uninstall_leaves_no_certificate_that_a_gate_would_go_by(
    notes: Notes, apt_lock: StackLock
) -> None:
    notes.base.mkdir()
    (notes.base / "certificate.json").write_text("{}")
    notes.write(records.end_arguments(apt_lock, claims.new_claim("run-1"), "uninstall"))
    assert [p.name for p in notes.base.glob("*certificate*")] == ["last-certificate.json"]
    assert notes.history() == [("removed", "run-1")]
