"""Kills at a chosen instant: between two tasks of Ansible, or within a phase of dpkg.

A kill point is reached exactly: dpkg's own status log counts its phases and stops dpkg at the one
asked for, so that what is killed then is killed there.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cudactl.lab.engine import connect
from cudactl.lab.hosts import Lab, LabHost
from tests.lab.running import BIN

How = Literal["controller", "ssh", "apt", "power"]
HOWS: tuple[How, ...] = ("controller", "ssh", "apt", "power")
TASK = re.compile(r"^  [✓✗-] ")
REACHED = "/root/kill-reached"
CONFIGURATION = "/etc/dpkg/dpkg.cfg.d/kill-point"
# Run by dpkg with its status log as standard input; the count goes on from one dpkg to the next.
WATCH = """\
#!/usr/bin/python3
import os, signal, sys, time
at, count = int(sys.argv[1]), "/root/kill-count"
seen = int(open(count).read()) if os.path.exists(count) else 0
for line in sys.stdin:
    seen += 1
    with open(count, "w") as f:
        f.write(str(seen))
    if seen == at:
        os.kill(os.getppid(), signal.SIGSTOP)
        open("/root/kill-reached", "w").write(line)
        time.sleep(3600)
"""
CLEAN = f"rm -f {CONFIGURATION} {REACHED} /root/kill-count /root/kill-watch"
# Everything of apt and dpkg, as the kernel's out-of-memory killer would take it; no name patterns
# that could match anything else.
KILL_APT = "for n in apt-get dpkg; do for p in $(pidof $n); do kill -9 $p; done; done"
CUT_SSH = (
    "for d in /proc/[0-9]*; do if tr '\\0' ' ' <$d/cmdline 2>/dev/null | grep -q '^sshd: ops';"
    " then kill -9 ${d#/proc/}; fi; done"
)


@dataclass(frozen=True)
class KillPoint:
    """One instant, and what is killed there."""

    where: Literal["task", "dpkg"]
    number: int
    """After so many tasks, or at that line of dpkg's status log."""
    how: How
    """controller: cudactl and Ansible, by SIGKILL; ssh: the host's end of the connection; apt: apt
    and dpkg on the host; power: the whole host."""


def kill_points(seed: int, *, tasks: int) -> Iterator[tuple[KillPoint, float]]:
    """Yield kill points without end: every task and phase comes up, in an order of the seed's.

    Beside each point a number from 0 to 1: how far into dpkg's work, for who knows how long it is.
    """
    chance = random.Random(seed)
    while True:
        points = [KillPoint("task", n, how) for n in range(tasks) for how in HOWS if how != "apt"]
        points += [KillPoint("dpkg", 0, how) for how in HOWS for _ in range(len(points) // 2)]
        chance.shuffle(points)
        for point in points:
            yield point, chance.random()


class Victim:
    """A host on which runs are killed."""

    def __init__(self, lab: Lab, host: LabHost, folder: Path) -> None:
        self.lab, self.host = lab, host
        self.said = folder / "said"

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `cudactl provision …` on the host, in a session of its own."""
        command = [str(BIN / "cudactl"), "provision", arguments[0], self.host.name]
        command += ["-i", str(self.lab.inventory), *arguments[1:], "--yes", "-v"]
        with self.said.open("wb") as stderr:
            return subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
            )

    def kill(self, point: KillPoint, *arguments: str) -> bool:
        """Start a run and kill it at the point; False: it was over before it came there."""
        if point.where == "dpkg":
            self._set(point.number)
        running = self.run(*arguments)
        try:
            while not (there := self._is_there(point)) and running.poll() is None:
                time.sleep(0.05)
            if there:
                self._strike(running, point)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        if point.where == "dpkg":
            self._unset()
        return there

    def _is_there(self, point: KillPoint) -> bool:
        if point.where == "dpkg":
            return self.host.run(["test", "-e", REACHED]).returncode == 0
        lines = self.said.read_text(errors="replace").splitlines()
        return sum(bool(TASK.match(line)) for line in lines) > point.number

    def _set(self, number: int) -> None:
        quoted = WATCH.replace("'", "'\\''")
        self.host.exec(
            [
                "sh",
                "-c",
                f"{CLEAN}; printf '%s' '{quoted}' >/root/kill-watch; chmod 755 /root/kill-watch; "
                f"echo 'status-logger=exec /root/kill-watch {number}' >{CONFIGURATION}",
            ]
        )

    def _unset(self) -> None:
        # What was stopped goes on; what watches ends with what it watched.
        self.host.run(["sh", "-c", f"{CLEAN}; for p in $(pidof dpkg); do kill -CONT $p; done"])

    def _strike(self, running: subprocess.Popen[bytes], point: KillPoint) -> None:
        if point.how == "power":
            container = connect().containers.get(self.host.container)
            container.kill()
            os.killpg(running.pid, signal.SIGKILL)
            container.start()
            self.host.wait_until_up()
        elif point.how == "controller":
            os.killpg(running.pid, signal.SIGKILL)
        elif point.how == "ssh":
            self.host.run(["sh", "-c", CUT_SSH])
            self._unset()
            self._wait(running)
        else:
            self.host.run(["sh", "-c", KILL_APT])
            self._wait(running)

    @staticmethod
    def _wait(running: subprocess.Popen[bytes]) -> None:
        """Let the controller see what happened and end by itself; it is ended when it does not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(120)


def others(host: LabHost, ours: set[str]) -> dict[str, str]:
    """Return what is not ours on a host: packages with versions, files with hashes."""
    form = "${Package} ${Version} ${Status}\n"
    rows = [r.split(maxsplit=2) for r in host.exec(["dpkg-query", "-W", "-f", form]).splitlines()]
    packages = {r[0]: f"{r[1]} {r[2]}" for r in rows if r[0] not in ours}
    find = (
        "find /etc /srv /usr/local /root -type f ! -name 'cudactl-*' ! -path '/etc/ld.so.*'"
        " ! -path '/usr/local/cuda*' ! -path '/etc/alternatives/*' ! -path '/root/kill-*'"
        " ! -path '/etc/.pwd.lock' ! -path '/etc/dpkg/dpkg.cfg.d/*' -print0"
        " | sort -z | xargs -0 sha256sum"
    )
    out = host.exec(["sh", "-c", find])
    files = {path: digest for digest, path in (x.split(maxsplit=1) for x in out.splitlines())}
    return {**packages, **files}


def left_behind(host: LabHost) -> str:
    """Return what a run that came to its end must not leave."""
    script = (
        "dpkg --audit; ls -d /run/cudactl/host.lock /var/lib/cudactl/run.json "
        "/var/lib/cudactl/packages/incoming /var/lib/cudactl/*.new 2>/dev/null; "
        "ls /var/lib/dpkg/updates; true"
    )
    return host.exec(["sh", "-c", script]).strip()


def lock_of(folder: Path, wish: str) -> Path:
    """Lock a wish and return the lock's file."""
    folder.mkdir()
    (folder / "stack.yaml").write_text(wish)
    command = [str(BIN / "cudactl"), "stack", "lock", "stack.yaml", "-o", "stack.lock"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "stack.lock"
