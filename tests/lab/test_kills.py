"""Killed at any instant, a second run converges, and nothing of anybody else's is lost.

A short part is in `make test`; `make soak` kills 300 times (CUDACTL_KILLS says another number), at
every task and across dpkg's phases, through installing, changing, going back and uninstalling.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cudactl.lab import hosts
from cudactl.lab.hosts import HostRequest, Lab, LabHost
from cudactl.lab.layout import MirrorState
from cudactl.stack.lock.file import read_lock
from tests.lab.killing import KillPoint, Victim, kill_points, left_behind, lock_of, others
from tests.lab.running import SMALL, cudactl

pytestmark = pytest.mark.lab
# Lines of dpkg's status log: removing all, changing three packages, installing all.
PHASES = {"bare": 180, "other": 40, "bare to": 500}


class Life:
    """A host that is brought from one lock to the next, and killed on the way."""

    def __init__(self, lab: Lab, host: LabHost, old: Path, new: Path) -> None:
        self.victim = Victim(lab, host, old.parent)
        self.host, self.lab = host, lab
        self.locks = {"old": old, "new": new}
        self.ours = {p.name for path in (old, new) for p in read_lock(path).packages}
        host.exec(["sh", "-c", "echo mine >/srv/data; echo mine >/etc/somebody-elses.conf"])
        self.bring("old")
        self.there = others(host, self.ours)
        self.now = "old"

    def arguments(self, to: str) -> list[str]:
        if to == "bare":
            return ["uninstall"]
        return ["host", "--no-certify", "--lock", str(self.locks[to])]

    def bring(self, to: str) -> subprocess.CompletedProcess[str]:
        verb, *more = self.arguments(to)
        where = [self.host.name, "-i", str(self.lab.inventory)]
        return cudactl("provision", verb, *where, *more, "--yes")

    def killed(self, point: KillPoint, to: str) -> bool:
        """Kill a run on its way `to`, run it again, and hold the host against what must be."""
        reached = self.victim.kill(point, *self.arguments(to))
        done = self.bring(to)
        told = f"{point} on the way from {self.now} to {to}"
        assert done.returncode == 0, f"{told}: {done.stdout}{done.stderr}"
        again = self.bring(to)
        assert "nothing to do" in again.stdout, f"{told}: {again.stdout}{again.stderr}"
        assert not left_behind(self.host), f"{told}: {left_behind(self.host)}"
        found = others(self.host, self.ours)
        lost = {k: (v, found.get(k)) for k, v in self.there.items() if found.get(k) != v}
        assert not lost, f"{told}: {lost}"
        self.now = to
        return reached


@pytest.fixture(scope="module")
def life(lab: Lab, mirror: MirrorState, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """One host for all kills: each leaves it converged."""
    folder = tmp_path_factory.mktemp("kills")

    def lock(cudnn: str) -> Path:
        wish = SMALL.replace('cudnn: "9"', f'cudnn: "{cudnn}"')
        text = wish.format(os="debian-12", url=mirror.url, key=mirror.key_file)
        return lock_of(folder / cudnn, text)

    name = "t-killed"
    host = hosts.up([HostRequest("debian-12", name)], say=print).host(name)
    yield Life(lab, host, lock("9.13"), lock("9.20"))
    hosts.down([name])


def test_a_power_cut_in_the_middle_of_dpkg_is_mended(life: Life) -> None:
    assert life.killed(KillPoint("dpkg", 14, "power"), "new")


def test_a_controller_that_dies_while_apt_works_is_waited_for(life: Life) -> None:
    assert life.killed(KillPoint("dpkg", 9, "controller"), "old")


def test_a_run_that_was_killed_when_all_was_done_is_brought_to_its_end(life: Life) -> None:
    """Nothing is left to do, and still nobody waits for its claim to expire."""
    running = life.victim.run(*life.arguments("new" if life.now == "old" else "old"))
    to = "new" if life.now == "old" else "old"
    while "Know that every step was done" not in life.victim.said.read_text():
        assert running.poll() is None
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert "nothing to do" in life.bring(to).stdout
    assert not left_behind(life.host)
    life.now = to


@pytest.mark.soak
@pytest.mark.timeout(8 * 3600)
def test_hundreds_of_kills_each_converge_with_nothing_lost(life: Life) -> None:
    wanted = int(os.environ.get("CUDACTL_KILLS", "300"))
    ways = {"old": ("new", "bare"), "new": ("old", "bare"), "bare": ("old", "new")}
    killed, failed = 0, []
    for number, (point, far) in enumerate(kill_points(7, tasks=14)):
        to = ways[life.now][number % 3 == 2]
        if point.where == "dpkg":
            phases = PHASES.get(to if "bare" in (to, life.now) else "other", PHASES["bare to"])
            point = replace(point, number=1 + int(far * phases))
        try:
            killed += life.killed(point, to)
            print(killed, point, to, flush=True)
        except AssertionError as wrong:
            failed.append(str(wrong)[:2000])
            print("FAILED", failed[-1], flush=True)
            life.bring("old")
            life.now = "old"
        if killed >= wanted or len(failed) > 5:
            break
    assert not failed, "\n\n".join(failed)
