"""A real Slurm for tests: munged, one slurmctld and several slurmd, all on this machine.

Everything lies in a folder of its own with ports and a key of its own; a Slurm that the machine may
have is neither used nor disturbed. Installed from the distribution where it is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "scontrol", "munged")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PATH = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"


def install() -> None:
    """Install what is missing.

    With systemd the package starts a munged of its own, not used here; Slurm's own services
    wait for an /etc/slurm/slurm.conf, which nobody writes.
    """
    if all(shutil.which(program, path=PATH) for program in PROGRAMS):
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"]
    apt += ["-o", "DPkg::Lock::Timeout=300", "--no-install-recommends"]
    subprocess.run([*apt, "update"], capture_output=True, check=False)
    done = subprocess.run([*apt, "install", *PACKAGES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"Slurm could not be installed: {done.stdout}{done.stderr}"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@dataclass
class SlurmCluster:
    """A running cluster."""

    folder: Path
    nodes: list[str]

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of Slurm's commands on it."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def reason(self, node: str) -> str:
        """Return a node's reason, without who set it and when."""
        return self.run("sinfo", "-h", "-n", node, "-o", "%E")

    def state(self, node: str) -> str:
        """Return a node's state; `*` (not heard of since it was returned) passes in a moment."""
        return self.run("sinfo", "-h", "-n", node, "-o", "%T").rstrip("*")

    def drain(self, node: str, reason: str) -> None:
        self.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")

    def begin_job(self, node: str, seconds: int) -> str:
        """Start a job that holds the whole node, and return its number."""
        script = f"#!/bin/sh\nsleep {seconds}\n"
        number = subprocess.run(
            ["sbatch", "--parsable", "--exclusive", f"--nodelist={node}", "--output=/dev/null"],
            env=self.environment, input=script, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        self.wait(lambda: "RUNNING" in self.run("squeue", "-h", "-j", number, "-o", "%T"))
        return number

    def wait(self, until, seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, self.run("sinfo", "-N", "-l", check=False)
            time.sleep(0.05)

    def as_found(self) -> None:
        """End every job and return every node."""
        self.run("scancel", "--state=RUNNING", "--quiet", "-u", self.run("id", "-un"), check=False)
        self.wait(lambda: not self.run("squeue", "-h"))
        for node in self.nodes:
            if self.state(node) != "idle":
                self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        self.wait(lambda: all(self.state(node) == "idle" for node in self.nodes))


CONFIGURATION = """\
ClusterName=cudactl-tests
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=1
MpiDefault=none
KillWait=1
MinJobAge=5
SchedulerParameters=sched_interval=1
"""


@contextlib.contextmanager
def cluster(folder: Path, nodes: list[str]) -> Iterator[SlurmCluster]:
    """Run a cluster with these nodes until the block ends."""
    install()
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host, user = socket.gethostname().split(".")[0], subprocess.getoutput("id -un")
    control, *ports = _free_ports(1 + len(nodes))
    text = CONFIGURATION.format(host=host, user=user, folder=folder, port=control)
    for node, port in zip(nodes, ports, strict=True):
        text += f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 "
        text += "RealMemory=100 State=UNKNOWN\n"
    text += "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO\n"
    (folder / "slurm.conf").write_text(text)
    made = SlurmCluster(folder, nodes)
    munge = [f"--{kind}-file={folder}/munge/munged.{end}"
             for kind, end in (("log", "log"), ("pid", "pid"), ("seed", "seed"))]  # fmt: skip
    munge += [f"--key-file={key}", f"--socket={folder}/munge.socket", "--force", "--foreground"]
    daemons: list[subprocess.Popen[bytes]] = []

    def begin(*command: str) -> None:
        log = (folder / "daemons.log").open("ab")
        daemons.append(
            subprocess.Popen(
                command, env=made.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        )

    try:
        begin("munged", *munge)
        made.wait((folder / "munge.socket").exists)
        begin("slurmctld", "-D", "-i", "-c")
        for node in nodes:
            begin("slurmd", "-D", "-N", node)
        made.wait(lambda: made.run("sinfo", "-h", "-N", "-o", "%T", check=False).split()
                  == ["idle"] * len(nodes))  # fmt: skip
        yield made
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
