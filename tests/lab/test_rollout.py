"""A rollout over three real hosts that a real Slurm schedules: one is killed under, one fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cudactl.lab.hosts import Lab, LabHost
from tests.lab.running import BIN
from tests.reach.slurm_cluster import SlurmCluster, cluster

pytestmark = pytest.mark.lab

FEW = """\
os: {os}
driver: {{branch: none}}
container_toolkit: "1"
mirror: {{url: "{url}", key: "{key}"}}
"""
"""Four small packages: what is provisioned is not the question here."""
BREAK = "/etc/apt/apt.conf.d/99-broken"
"""On a host: every apt transaction fails before dpkg does anything."""


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with cluster(tmp_path_factory.mktemp("slurm"), ["n1", "n2", "n3"]) as there:
        yield there


@pytest.fixture
def terminal(slurm: SlurmCluster, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(slurm, tmp_path / "state")
    yield made
    for process in made.begun:
        process.kill()
        process.wait()


class Terminal:
    """Runs `cudactl rollout` as a user of the cluster does."""

    def __init__(self, slurm: SlurmCluster, state: Path) -> None:
        self.environment = {**slurm.environment, "CUDACTL_STATE_DIR": str(state)}
        self.begun: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(BIN / "cudactl"), "rollout", *arguments],
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def begin(self, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(BIN / "cudactl"), "rollout", *arguments],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self.begun.append(process)
        return process

    def status(self) -> dict[str, Any]:
        done = self.run("status", "--json")
        document = json.loads(done.stdout)
        assert isinstance(document, dict)
        return document

    def phases(self) -> dict[str, str]:
        """Return host → what it is doing, or how it ended; nothing before it has begun."""
        document = self.status()
        if "hosts" not in document:
            return {}
        return {h["name"]: h["phase"] or h["status"] for h in document["hosts"]}

    def wait(self, process: subprocess.Popen[bytes], log: Path, until: Callable[[], bool]) -> None:
        end = time.monotonic() + 300
        while not until():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)


def test_a_rollout_over_slurms_nodes(
    lab: Lab,
    make_lock: Callable[[str, str], Path],
    fresh_host: Callable[[str], LabHost],
    slurm: SlurmCluster,
    terminal: Terminal,
    tmp_path: Path,
) -> None:
    first, broken, busy = (fresh_host("debian-12") for _ in range(3))
    names = {first.name: "n1", broken.name: "n2", busy.name: "n3"}
    nodes = {"all": {"hosts": {h: {"cudactl_slurm_node": n} for h, n in names.items()}}}
    (tmp_path / "nodes.yml").write_text(json.dumps(nodes))
    broken.exec(["sh", "-c", f"echo 'DPkg::Pre-Invoke {{\"exit 9\";}};' > {BREAK}"])
    job = slurm.begin_job("n3", 600)
    where = ["-i", str(lab.inventory), "-i", str(tmp_path / "nodes.yml")]
    lock = make_lock(FEW, "debian-12")
    care = ["--lock", str(lock), "--max-down", "2", "--poll", "0.5", "--yes"]
    log = tmp_path / "start.log"

    # The canary alone; its controller is killed in the middle of Ansible's work on it.
    begun = terminal.begin(log, "start", *names, *where, *care)
    terminal.wait(
        begun,
        log,
        lambda: terminal.phases() != {} and terminal.phases()[first.name] == "provisioning",
    )
    status = terminal.status()
    assert status["controller"]["pid"] == begun.pid
    assert status["counts"] == {"running": 1, "waiting": 2}
    assert terminal.run("resume").returncode == 3, "two drive one rollout"
    time.sleep(2)  # Ansible is at work
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    assert slurm.reason("n1") == f"cudactl rollout {status['id']}"

    # Resumed: it goes on with the canary, then takes two at once. One fails: no further one is
    # taken, and the one that waits for its job is finished.
    end = time.monotonic() + 120
    while terminal.status()["controller"] is not None:
        assert time.monotonic() < end, "a worker outlived its controller"
        time.sleep(0.1)
    assert terminal.status()["status"] == "interrupted"
    begun = terminal.begin(log, "resume")
    terminal.wait(begun, log, lambda: terminal.phases()[broken.name] == "failed")
    assert terminal.phases()[busy.name] == "draining"
    assert job in log.read_text(), "the job that it waits for is not named"
    assert slurm.state("n3") == "draining"
    slurm.run("scancel", job)
    assert begun.wait() == 3, log.read_text()

    status = terminal.status()
    ended = {h["name"]: h for h in status["hosts"]}
    assert {n: h["status"] for n, h in ended.items()} == {
        first.name: "certified", broken.name: "failed", busy.name: "certified",
    }  # fmt: skip
    code = ended[broken.name]["code"]
    assert code
    assert slurm.state("n1") == slurm.state("n3") == "idle"
    # Only what was certified goes back; why it did not stands where Slurm's people look.
    assert slurm.state("n2") == "drained"
    assert slurm.reason("n2") == f"cudactl rollout {status['id']} : failed ({code})"
    report = (Path(status["folder"]) / "report.md").read_text()
    assert code in report
    assert broken.name in report

    broken.exec(["rm", BREAK])
    done = terminal.run("resume", "--retry", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"certified": 3}
    assert slurm.state("n2") == "idle"

    # Again: nothing is to do, nothing is drained, nobody is asked to wait.
    slurm.drain("n2", "bad fan")
    done = terminal.run("start", *names, *where, *care, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"unchanged": 3}
    assert slurm.reason("n2") == "bad fan"
    assert os.environ.get("SLURM_CONF") is None
