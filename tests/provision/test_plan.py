"""What a plan says, for hosts in every condition that it must tell apart."""

from __future__ import annotations

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Plan
from cudactl.contracts.state import HostState
from cudactl.provision.plan import make_plan
from cudactl.provision.steps.driver import driver_files
from cudactl.provision.steps.environment import environment_files
from cudactl.provision.steps.protection import protection_files
from cudactl.provision.steps.repository import repository_files
from tests.provision.conftest import bare_state

NOW = 2000.0


def plan(lock: StackLock, state: HostState, **more: object) -> Plan:
    return make_plan("h1", lock, state, now=NOW, **more)  # type: ignore[arg-type]


def converged(lock: StackLock, **more: object) -> HostState:
    """The state that carrying out the plan must lead to."""
    files = [*repository_files(lock), *environment_files(lock), *protection_files(lock)]
    files += driver_files(lock)
    return bare_state(
        packages={**{p.name: p.version for p in lock.packages}, "libc6": "2.39"},
        holds=[p.name for p in lock.packages],
        files=[{"path": f.path, "sha256": f.sha256} for f in files],
        alternatives={"cuda": "/usr/local/cuda-13.0"},
        **more,
    )


def codes(p: Plan) -> set[str]:
    return {f.code for f in p.refusals}


def test_a_bare_host_gets_every_step_in_order(apt_lock: StackLock, state: HostState) -> None:
    made = plan(apt_lock, state)
    assert [s.role for s in made.steps] == [
        *("repository", "packages", "driver", "environment", "protection"),
    ]
    packages = made.steps[1]
    folder = f"/var/lib/cudactl/packages/{apt_lock.short_hash}"
    assert {(c.kind, c.name, c.before, c.after) for c in packages.changes} == {
        *(("package", p.name, None, p.version) for p in apt_lock.packages),
        ("folder", folder, None, apt_lock.short_hash),
    }
    assert packages.download_bytes == 4_000_000
    assert packages.risk == "reboot", "a new driver is in use only after a reboot"


def test_a_converged_host_needs_nothing(apt_lock: StackLock) -> None:
    made = plan(apt_lock, converged(apt_lock))
    assert made.empty
    assert not made.refusals


def test_one_drifted_package_is_the_only_change(apt_lock: StackLock) -> None:
    state = converged(apt_lock)
    packages = {**state.packages, "libcudnn9-cuda-13": "9.20.0.48-1"}
    made = plan(apt_lock, state.model_copy(update={"packages": packages}))
    assert [s.role for s in made.steps] == ["packages"]
    (change,) = [c for c in made.steps[0].changes if c.kind == "package"]
    assert (change.name, change.before, change.after) == (
        "libcudnn9-cuda-13",
        "9.20.0.48-1",
        "9.13.0.50-1",
    )
    assert made.steps[0].risk == "none"
    assert "9.20.0.48-1" in made.steps[0].reason


def test_a_file_somebody_edited_is_put_right(apt_lock: StackLock) -> None:
    state = converged(apt_lock)
    files = [
        f.model_copy(update={"sha256": "0" * 64}) if f.path.endswith(".pref") else f
        for f in state.files
    ]
    made = plan(apt_lock, state.model_copy(update={"files": files}))
    assert [c.name for s in made.steps for c in s.changes] == [
        "/etc/apt/preferences.d/cudactl-lock.pref"
    ]


def test_a_lost_hold_is_set_again(apt_lock: StackLock) -> None:
    state = converged(apt_lock)
    made = plan(apt_lock, state.model_copy(update={"holds": state.holds[1:]}))
    assert [(c.kind, c.name) for s in made.steps for c in s.changes] == [
        ("hold", state.holds[0]),
    ]


def test_the_same_inputs_give_the_same_plan(apt_lock: StackLock, state: HostState) -> None:
    later = state.model_copy(update={"taken_at": 2100.0, "duration_s": 3.0})
    assert plan(apt_lock, state) == plan(apt_lock, later)
    assert plan(apt_lock, state).hash == plan(apt_lock, later).hash


def test_a_host_that_moved_gives_another_hash(apt_lock: StackLock, state: HostState) -> None:
    moved = state.model_copy(update={"packages": {"cuda-cudart-13-0": "13.0.96-1"}})
    assert plan(apt_lock, state).hash != plan(apt_lock, moved).hash


def test_half_a_stack_of_a_stopped_run_is_named_and_goes(
    wheel_lock: StackLock, debian_state: HostState
) -> None:
    half = f"{wheel_lock.short_hash}.unpacking"
    stacks = [{"lock": half, "complete": False, "wheels": {}}]
    stopped = HostState.model_validate({**debian_state.model_dump(), "stacks": stacks})
    (step,) = [s for s in plan(wheel_lock, stopped).steps if s.role == "wheel_stack"]
    gone = {c.name for c in step.changes if c.after is None}
    assert gone == {f"/opt/cudactl/stacks/{half}"}


def test_wheels_are_unpacked_once(wheel_lock: StackLock, debian_state: HostState) -> None:
    made = plan(wheel_lock, debian_state)
    assert [s.id for s in made.steps] == ["wheel_stack.unpack"]
    stack = {
        "lock": wheel_lock.short_hash,
        "complete": True,
        "wheels": {p.filename: p.sha256 for p in wheel_lock.packages},
    }
    assert plan(wheel_lock, bare_like(debian_state, stacks=[stack])).empty
    half = {**stack, "complete": False}
    assert not plan(wheel_lock, bare_like(debian_state, stacks=[half])).empty


def test_nvcc_needs_a_host_compiler(wheel_lock: StackLock, debian_state: HostState) -> None:
    made = plan(wheel_lock, bare_like(debian_state, packages={"libc6": "2.36"}))
    assert [s.id for s in made.steps] == ["packages.host_compiler", "wheel_stack.unpack"]


def bare_like(state: HostState, **changes: object) -> HostState:
    return HostState.model_validate({**state.model_dump(), **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (
            {
                "os": {
                    "id": "debian",
                    "version_id": "13",
                    "codename": "trixie",
                    "pretty": "Debian GNU/Linux 13",
                    "look_alike": False,
                }
            },
            "PREFLIGHT-WRONG-OS",
        ),
        ({"machine": "aarch64"}, "PREFLIGHT-WRONG-ARCH"),
        ({"virtualization": "wsl"}, "PREFLIGHT-WSL"),
        (
            {"broken": [{"name": "libfoo", "status": "install ok half-configured"}]},
            "PREFLIGHT-DPKG-BROKEN",
        ),
        (
            {"disks": [{"path": "/", "free_bytes": 1_000_000, "total_bytes": 9_000_000}]},
            "PREFLIGHT-DISK-FULL",
        ),
        ({"gpu_processes": [{"pid": 77, "name": "python3"}]}, "PREFLIGHT-GPU-BUSY"),
        (
            {
                "host_lock": {
                    "run_id": "run-other",
                    "who": "eve",
                    "controller": "c2",
                    "controller_id": "b/2",
                    "pid": 1,
                    "since": NOW - 60,
                    "expires": NOW + 60,
                }
            },
            "HOST-BUSY",
        ),
        (
            {
                "apt_sources": [
                    {
                        "file": "/etc/apt/sources.list.d/cuda.list",
                        "uris": ["http://mirror.invalid/ubuntu2404/x86_64"],
                        "signed_by": "/usr/share/keyrings/cuda-archive-keyring.gpg",
                        "ours": False,
                    }
                ]
            },
            "PREFLIGHT-SOURCE-CONFLICT",
        ),
    ],
)
def test_a_host_in_no_condition_is_refused(
    apt_lock: StackLock, state: HostState, changes: dict[str, object], code: str
) -> None:
    refused = plan(apt_lock, bare_like(state, **changes))
    assert code in codes(refused)
    finding = next(f for f in refused.refusals if f.code == code)
    assert finding.found
    assert finding.remedy, "a refusal says what to do"


def test_every_reason_is_given_at_once(apt_lock: StackLock, state: HostState) -> None:
    bad = bare_like(
        state,
        broken=[{"name": "libfoo", "status": "install ok unpacked"}],
        disks=[{"path": "/", "free_bytes": 0, "total_bytes": 1}],
        gpu_processes=[{"pid": 77, "name": "python3"}],
    )
    assert codes(plan(apt_lock, bad)) == {
        "PREFLIGHT-DPKG-BROKEN",
        "PREFLIGHT-DISK-FULL",
        "PREFLIGHT-GPU-BUSY",
    }


def test_our_own_claim_does_not_refuse_us(apt_lock: StackLock, state: HostState) -> None:
    claim = {
        "run_id": "run-mine",
        "who": "me",
        "controller": "c1",
        "controller_id": "b/1",
        "pid": 1,
        "since": NOW - 60,
        "expires": NOW + 60,
    }
    mine = bare_like(state, host_lock=claim)
    assert not plan(apt_lock, mine, no_obstacle=["run-mine"]).refusals
    assert plan(apt_lock, mine).refusals
    expired = bare_like(state, host_lock={**claim, "expires": NOW - 1})
    assert not plan(apt_lock, expired).refusals


def test_a_wheel_for_another_python_is_refused(
    wheel_lock: StackLock, debian_state: HostState
) -> None:
    other = bare_like(
        debian_state,
        python={"version": "3.9.2", "executable": "/usr/bin/python3", "tag": "cp39"},
    )
    assert codes(plan(wheel_lock, other)) == {"PREFLIGHT-WRONG-PYTHON"}


def test_a_mirror_does_not_change_the_locks_hash(apt_lock: StackLock) -> None:
    source = apt_lock.sources[0].model_copy(update={"url": "http://elsewhere.invalid/"})
    assert apt_lock.model_copy(update={"sources": [source]}).hash == apt_lock.hash


def test_room_on_one_file_system_is_counted_once(apt_lock: StackLock, state: HostState) -> None:
    # 12 MB to unpack and 4 MB of archives fit apart, and not together, beside the 200 MB to spare.
    free = 200 * 1024 * 1024 + 14_000_000
    disks = [{"path": p, "free_bytes": free, "total_bytes": 9_000_000_000} for p in ("/", "/var")]
    assert codes(plan(apt_lock, bare_like(state, disks=disks))) == {"PREFLIGHT-DISK-FULL"}
