"""Plans as people read them: short for one host, no longer for thirty like it."""

from __future__ import annotations

from typing import Any

import click
import pytest

from cudactl.cli.show_plan import plans_text, summary_line
from cudactl.contracts.errors import UnreachableError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.state import HostState
from cudactl.provision.plan import make_plan
from cudactl.reach.targets import Target
from cudactl.workflow.planning import PlannedHost
from tests.provision.conftest import apt_lock, bare_state

lock = apt_lock  # the same lock that planning tests start from


def planned(lock: StackLock, state: HostState, name: str = "n1") -> PlannedHost:
    plan = make_plan(name, lock, state, now=2000.0)
    return PlannedHost(Target(name=name), lock, state, plan, None)


def unreadable(lock: StackLock, name: str) -> PlannedHost:
    error = UnreachableError("HOST-UNREACHABLE", f"{name}: no connection", remedy="is it on?")
    return PlannedHost(Target(name=name), lock, None, None, error)


def converged(lock: StackLock, **more: Any) -> HostState:
    """A host that needs nothing: what every step of a bare host's plan would change is there."""
    plan = make_plan("n1", lock, bare_state(), now=2000.0)
    changes = [c for step in plan.steps for c in step.changes]
    return bare_state(
        packages={"libc6": "2.39", **{p.name: p.version for p in lock.packages}},
        holds=[c.name for c in changes if c.kind == "hold"],
        files=[{"path": c.name, "sha256": c.after} for c in changes if c.kind == "file"],
        alternatives={"cuda": "/usr/local/cuda-13.0"},
        **more,
    )


def text(*hosts: PlannedHost) -> str:
    return click.unstyle(plans_text(hosts))


def test_every_step_says_what_why_and_what_it_costs(lock: StackLock) -> None:
    shown = text(planned(lock, bare_state()))
    assert "1. repository" in shown
    assert shown.count("why: ") == shown.count("cost: ") == 5
    assert "takes effect after a reboot" in shown
    assert "+ cuda-toolkit-13-0 13.0.2-1" in shown


def test_hosts_with_the_same_plan_are_told_together(lock: StackLock) -> None:
    thirty = [planned(lock, bare_state(hostname=f"h{n}"), f"n{n}") for n in range(30)]
    shown = text(*thirty)
    assert shown.count("1. repository") == 1
    assert "n0, n1, n2" in shown
    assert "and 22 more" in shown
    assert len(shown.splitlines()) == len(text(thirty[0]).splitlines())


def test_a_host_that_differs_is_told_alone(lock: StackLock) -> None:
    drifted = bare_state(packages={"libc6": "2.39", "cuda-toolkit-13-0": "13.0.1-1"})
    shown = text(planned(lock, bare_state()), planned(lock, drifted, "n2"))
    assert shown.count("1. repository") == 2
    assert "~ cuda-toolkit-13-0 13.0.1-1 → 13.0.2-1" in shown


def test_nothing_to_do_says_what_is_known_of_the_certificate(lock: StackLock) -> None:
    assert "nothing to do; not certified by this lock yet" in text(planned(lock, converged(lock)))
    kept = {
        "lock": lock.hash,
        "level": "linkage",
        "verdict": "PASS",
        "boot_id": "b",
        "driver": None,
        "issued": 1.0,
        "expires": 2.0,
    }
    shown = text(planned(lock, converged(lock, certificate=kept)))
    assert "nothing to do; certified: PASS, level linkage" in shown
    shown = text(planned(lock, converged(lock, certificate={**kept, "boot_id": "before"})))
    assert "rebooted since it was certified" in shown
    shown = text(planned(lock, converged(lock, certificate={**kept, "lock": "other"})))
    assert "not certified by this lock yet" in shown


def test_what_could_not_be_read_says_what_to_do(lock: StackLock) -> None:
    shown = text(unreadable(lock, "n1"))
    assert "n1  could not be read" in shown
    assert "HOST-UNREACHABLE: n1: no connection" in shown
    assert "what to do: is it on?" in shown


@pytest.mark.parametrize(
    ("busy", "idle", "refused", "unread", "line"),
    [
        (1, 0, 0, 0, "1 of 1 host to change: 5 steps, 4.0 MB to fetch, about 13 s"),
        (2, 1, 0, 0, "2 of 3 hosts to change: 10 steps, 8.0 MB to fetch, about 13 s; 1 host: "),
        (0, 2, 0, 0, "2 hosts: nothing to do"),
        (0, 0, 0, 1, "1 host could not be read"),
        (0, 1, 1, 2, "1 host: nothing to do; 1 host refused; 2 hosts could not be read"),
    ],
)
def test_the_last_line_counts_every_host(
    lock: StackLock, busy: int, idle: int, refused: int, unread: int, line: str
) -> None:
    wrong = bare_state(machine="aarch64")
    hosts = [planned(lock, bare_state())] * busy + [planned(lock, converged(lock))] * idle
    hosts += [planned(lock, wrong)] * refused + [unreadable(lock, "x")] * unread
    assert summary_line(hosts).startswith(line)
