"""What an uninstall takes away, and what it leaves."""

from __future__ import annotations

from typing import Any

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, Plan
from cudactl.contracts.state import HostState
from cudactl.contracts.state_records import KeptPackages, Records
from cudactl.provision.plan import make_plan
from tests.provision.test_plan import bare_like, converged


def plan(lock: StackLock, state: HostState, *, purge: bool = False) -> Plan:
    choices = Choices(purpose="uninstall", purge=purge)
    return make_plan("h1", lock, state, now=2000.0, choices=choices)


def host(lock: StackLock, **records: Any) -> HostState:
    brought = {p.name: None for p in lock.packages} | records.pop("brought", {})
    kept = [KeptPackages(lock=lock.short_hash, files=["a.deb"])]
    noted = Records(brought=brought, kept=kept, locks=[lock.short_hash], **records)
    return converged(lock).model_copy(update={"records": noted})


def changes(made: Plan, kind: str) -> set[str]:
    return {c.name for s in made.steps for c in s.changes if c.kind == kind and c.after is None}


def test_what_cudactl_brought_goes(apt_lock: StackLock) -> None:
    made = plan(apt_lock, host(apt_lock))
    names = {p.name for p in apt_lock.packages}
    assert changes(made, "package") == changes(made, "hold") == names
    assert changes(made, "file") == {f.path for f in host(apt_lock).files}
    assert changes(made, "folder") == {f"/var/lib/cudactl/packages/{apt_lock.short_hash}"}
    assert {s.role for s in made.steps} == {"uninstall"}


def test_what_was_there_before_stays_and_is_named(apt_lock: StackLock) -> None:
    made = plan(apt_lock, host(apt_lock, brought={"libcudnn9-cuda-13": "9.1.0.70-1"}))
    assert "libcudnn9-cuda-13" not in changes(made, "package")
    assert "libcudnn9-cuda-13" in changes(made, "hold"), "it is no longer held back"
    (left,) = [f for f in made.findings if f.code == "UNINSTALL-LEFT"]
    assert "libcudnn9-cuda-13" in left.found


def test_packages_of_earlier_locks_go_too(apt_lock: StackLock) -> None:
    state = host(apt_lock, brought={"cuda-toolkit-12-9": None, "cuda-toolkit-12-8": None})
    state = bare_like(state, packages={**state.packages, "cuda-toolkit-12-9": "12.9.1-1"})
    found = changes(plan(apt_lock, state), "package")
    assert "cuda-toolkit-12-9" in found
    assert "cuda-toolkit-12-8" not in found, "it is not there"
    assert "libc6" not in found


def test_a_host_of_an_older_cudactl_is_rid_of_the_locks_packages(apt_lock: StackLock) -> None:
    made = plan(apt_lock, converged(apt_lock))
    assert changes(made, "package") == {p.name for p in apt_lock.packages}


def test_a_host_without_anything_of_ours_needs_nothing(
    apt_lock: StackLock, state: HostState
) -> None:
    assert plan(apt_lock, state).empty
    # Also one whose lock's packages somebody else installed.
    others = bare_like(state, packages={p.name: p.version for p in apt_lock.packages})
    assert plan(apt_lock, others).empty


def test_history_stays_unless_purged(apt_lock: StackLock) -> None:
    state = bare_like(host(apt_lock, certified=[apt_lock.hash]), files=[], holds=[], packages={})
    assert changes(plan(apt_lock, state), "folder") == {
        f"/var/lib/cudactl/packages/{apt_lock.short_hash}"
    }
    assert "/var/lib/cudactl" in changes(plan(apt_lock, state, purge=True), "folder")


def test_the_driver_is_not_taken_from_under_work(apt_lock: StackLock) -> None:
    state = bare_like(host(apt_lock), gpu_processes=[{"pid": 77, "name": "python3"}])
    assert "PREFLIGHT-GPU-BUSY" in {f.code for f in plan(apt_lock, state).refusals}


def test_what_was_taken_over_is_put_back(apt_lock: StackLock) -> None:
    path = "/etc/apt/sources.list.d/cuda.list"
    made = plan(apt_lock, host(apt_lock, taken_over=[path]))
    (step,) = [s for s in made.steps if s.id == "uninstall.files"]
    assert step.variables["restore"] == [
        {"copy": f"/var/lib/cudactl/taken-over{path}", "path": path}
    ]
    assert path in {c.name for c in step.changes}
