"""`cudactl rollout` as it is typed: what is refused, what is said, with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cudactl.stack.lock.file import write_lock
from tests.conftest import Cudactl
from tests.provision.conftest import *  # noqa: F403 - its locks are fixtures


@pytest.fixture
def lock(apt_lock, tmp_path: Path) -> Path:
    write_lock(apt_lock, tmp_path / "some.lock")
    return tmp_path / "some.lock"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"CUDACTL_STATE_DIR": str(tmp_path / "state")}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--max-down", "0"), "ROLLOUT-OPTION"),
        (("--max-down", "0%"), "ROLLOUT-OPTION"),
        (("--max-down", "half"), "ROLLOUT-OPTION"),
        (("--max-down", "101%"), "ROLLOUT-OPTION"),
        (("--canary", "elsewhere"), "ROLLOUT-CANARY-UNKNOWN"),
        (("--group-by", "rack"), "ROLLOUT-NO-GROUP"),
        (("--max-hosts", "1", "other.invalid"), "TOO-MANY-HOSTS"),
    ],
)
def test_a_wrong_wish_is_refused_before_any_host_is_asked(
    cudactl: Cudactl, lock: Path, env: dict[str, str], arguments: tuple[str, ...], code: str
) -> None:
    done = cudactl("rollout", "start", "nobody.invalid", "--lock", lock, *arguments, env=env)
    assert done.returncode == 2
    assert code in done.stderr
    assert not Path(env["CUDACTL_STATE_DIR"]).exists()


def test_nothing_begins_without_a_yes(cudactl: Cudactl, lock: Path, env: dict[str, str]) -> None:
    done = cudactl("rollout", "start", "nobody.invalid", "--lock", lock, env=env)
    assert (done.returncode, "NOT-CONFIRMED" in done.stderr) == (2, True)
    assert "down at once: 1 of all" in done.stdout
    assert "down already, and counted: nobody.invalid" in done.stdout
    assert not Path(env["CUDACTL_STATE_DIR"]).exists()


def test_hosts_that_do_not_answer_are_left_alone_and_told(
    cudactl: Cudactl, lock: Path, env: dict[str, str]
) -> None:
    names = ("nobody.invalid", "nowhere.invalid")
    done = cudactl("rollout", "start", *names, "--lock", lock, "--yes", "--json", env=env)
    assert done.returncode == 4
    report = json.loads(done.stdout)
    assert (report["status"], report["counts"]) == ("finished", {"skipped": 2})
    assert {h["code"] for h in report["hosts"]} == {"HOST-NAME-UNKNOWN"}
    assert all(h["down"] for h in report["hosts"])
    assert "nobody.invalid" in (Path(report["folder"]) / "report.md").read_text()

    done = cudactl("rollout", "status", env=env)
    assert done.returncode == 4
    assert "what to do" in done.stdout
    done = cudactl("rollout", "status", "--all", env=env)
    assert (done.returncode, report["id"] in done.stdout) == (0, True)
    # Tried again, they are looked at again.
    done = cudactl("rollout", "resume", report["id"], "--retry", "--json", env=env)
    assert done.returncode == 4
    assert json.loads(done.stdout)["counts"] == {"skipped": 2}
    for verb in ("pause", "abort"):
        done = cudactl("rollout", verb, env=env)
        assert (done.returncode, "ROLLOUT-ENDED" in done.stderr) == (3, True)


@pytest.mark.parametrize("verb", ["status", "pause", "abort", "resume"])
def test_a_rollout_that_is_not_there_is_named(
    cudactl: Cudactl, env: dict[str, str], verb: str
) -> None:
    done = cudactl("rollout", verb, "20260101", env=env)
    assert (done.returncode, "ROLLOUT-UNKNOWN" in done.stderr) == (2, True)


def test_another_budget_is_checked_before_anything_is_resumed(
    cudactl: Cudactl, env: dict[str, str]
) -> None:
    done = cudactl("rollout", "resume", "--max-down", "all", env=env)
    assert (done.returncode, "ROLLOUT-OPTION" in done.stderr) == (2, True)
