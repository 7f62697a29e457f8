"""Slurm, the real one: drain in our name, wait for jobs, return only what is still ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.reach.slurm import Slurm, nodes_by_host, parse_nodes
from tests.reach.slurm_cluster import SlurmCluster, cluster

OURS = "cudactl rollout 20260101-0000-test"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    folder = tmp_path_factory.mktemp("slurm")
    with (
        cluster(folder, ["n1", "n2", "n3"]) as there,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("PATH", "SLURM_CONF"):
            patch.setenv(name, there.environment[name])
        yield there


@pytest.fixture
def slurm(running: SlurmCluster) -> Iterator[SlurmCluster]:
    yield running
    running.as_found()


def test_a_node_is_drained_in_our_name_and_returned(slurm: SlurmCluster) -> None:
    service = Slurm(OURS)
    assert service.standings(["n1"])["n1"].in_service
    service.withdraw("n1")
    standing = service.standings(["n1"])["n1"]
    assert not standing.in_service
    assert standing.ours
    assert slurm.reason("n1") == OURS
    assert service.still_there("n1", 0.1) is None
    assert service.give_back("n1")
    assert slurm.state("n1") == "idle"


def test_a_foreign_drain_is_seen_and_never_lifted(slurm: SlurmCluster) -> None:
    slurm.drain("n2", "bad fan [ticket 12]")
    service = Slurm(OURS)
    standing = service.standings(["n2"])["n2"]
    assert not standing.in_service
    assert not standing.ours
    assert "bad fan [ticket 12]" in standing.why
    assert not service.give_back("n2")
    service.remark("n2", "ROLLOUT-NOT-CERTIFIED")
    assert slurm.reason("n2") == "bad fan [ticket 12]"
    assert slurm.state("n2") == "drained"


def test_a_drain_that_somebody_took_over_is_theirs(slurm: SlurmCluster) -> None:
    service = Slurm(OURS)
    service.withdraw("n1")
    slurm.drain("n1", f"{OURS}, and it smells burnt")
    assert not service.give_back("n1")
    assert slurm.state("n1") == "drained"


def test_another_rollouts_drain_is_not_ours(slurm: SlurmCluster) -> None:
    slurm.drain("n1", f"{OURS}2")
    assert not Slurm(OURS).standings(["n1"])["n1"].ours


def test_why_it_failed_stands_behind_our_name_and_it_stays_ours(slurm: SlurmCluster) -> None:
    service = Slurm(OURS)
    service.withdraw("n1")
    service.remark("n1", "ROLLOUT-NOT-CERTIFIED")
    assert slurm.reason("n1") == f"{OURS} : failed (ROLLOUT-NOT-CERTIFIED)"
    assert service.standings(["n1"])["n1"].ours
    assert service.give_back("n1")


def test_a_running_job_is_waited_for_and_named(slurm: SlurmCluster) -> None:
    number = slurm.begin_job("n3", 60)
    service = Slurm(OURS)
    service.withdraw("n3")
    assert number in (service.still_there("n3", 0.1) or "")
    assert not service.standings(["n3"])["n3"].idle
    slurm.run("scancel", number)
    slurm.wait(lambda: service.still_there("n3", 0.1) is None)


def test_a_suspended_job_still_holds_its_node(slurm: SlurmCluster) -> None:
    number = slurm.begin_job("n3", 60)
    slurm.run("scontrol", "suspend", number)
    assert number in (Slurm(OURS).still_there("n3", 0.1) or "")
    slurm.run("scontrol", "resume", number)


def test_a_node_that_slurm_does_not_know_is_absent(slurm: SlurmCluster) -> None:
    assert set(Slurm(OURS).standings(["n1", "nowhere"])) <= {"n1"}
    assert Slurm(OURS).standings(["nowhere"]) == {}


def test_nodes_are_found_by_their_hosts_and_by_their_own_names(slurm: SlurmCluster) -> None:
    assert {"n1", "n2", "n3"} <= set(nodes_by_host())


def test_a_silent_slurmctld_is_told_from_a_wrong_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "scontrol"
    program.write_text(
        "#!/bin/sh\necho 'slurm_load_node error: Unable to contact slurm' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableError) as silent:
        Slurm(OURS).standings(["n1"])
    assert silent.value.code == "SLURM-SILENT"


def test_a_controller_without_slurms_commands_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CudactlError) as missing:
        Slurm(OURS).standings(["n1"])
    assert missing.value.code == "SLURM-NO-CLIENT"
    assert "--engine none" in missing.value.remedy


@pytest.mark.parametrize(
    ("state", "in_service", "idle"),
    [
        ("IDLE", True, True),
        ("MIXED", True, False),
        ("ALLOCATED+COMPLETING", True, False),
        ("IDLE+DRAIN", False, True),
        ("MIXED+DRAIN", False, False),
        ("DOWN*", False, True),
        ("IDLE+POWERED_DOWN", False, True),
        ("IDLE+MAINTENANCE", True, True),
    ],
)
def test_states_are_read_as_slurm_writes_them(
    state: str, in_service: bool, idle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"NodeName=n1 Arch=x86_64\\n   NodeHostName=h1\\n   State={state} ThreadsPerCore=1\\n"
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    standing = Slurm(OURS).standings(["n1"])["n1"]
    assert (standing.in_service, standing.idle) == (in_service, idle)


def test_a_comment_is_not_taken_for_a_reason() -> None:
    text = (
        f"NodeName=n1\n   State=IDLE+DRAIN X=1\n   Comment=Reason={OURS}\n   Reason=bad fan [a@b]\n"
    )
    assert parse_nodes(text)["n1"]["Reason"] == "bad fan [a@b]"


def test_looking_and_draining_at_once_leaves_one_owner(slurm: SlurmCluster) -> None:
    """Two rollouts that want the same node: in the end it carries one name, and one has it."""
    first, second = Slurm(OURS), Slurm(f"{OURS}2")
    threads = [threading.Thread(target=s.withdraw, args=("n2",)) for s in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owners = [s.standings(["n2"])["n2"].ours for s in (first, second)]
    assert sorted(owners) == [False, True]
