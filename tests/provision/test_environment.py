"""Which toolkit becomes the active one, and what leads to it, for hosts in every condition."""

from __future__ import annotations

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.environment import environment_findings
from cudactl.provision.steps.environment import (
    ACTIVE,
    PROFILE,
    SERVICE,
    SSH,
    environment_files,
    environment_step,
)
from tests.provision.conftest import bare_state, package

DROP_INS = {"drop_ins": True, "set_env": [], "path": None}


@pytest.fixture
def two(apt_lock: StackLock) -> StackLock:
    """A lock of 13.0 with 12.9 beside it."""
    beside = package("cuda-toolkit-12-9", "12.9.1-1", top_level=True)
    return apt_lock.model_copy(update={"packages": [*apt_lock.packages, beside]})


def step(lock: StackLock, state: HostState) -> PlanStep | None:
    return environment_step(lock, state, Choices())


def settled(lock: StackLock, **more: object) -> HostState:
    state = bare_state(ssh=DROP_INS)
    files = [{"path": f.path, "sha256": f.sha256} for f in environment_files(lock, state)]
    values = {"files": files, "alternatives": {"cuda": "/usr/local/cuda-13.0"}, "ssh": DROP_INS}
    return bare_state(**{**values, **more})


def content(lock: StackLock, path: str, /, **more: object) -> str:
    files = environment_files(lock, bare_state(ssh={**DROP_INS, **more}))
    return next(f.content for f in files if f.path == path)


def test_the_written_toolkit_is_the_active_one_and_every_one_has_a_modulefile(
    two: StackLock,
) -> None:
    made = step(two, bare_state(ssh=DROP_INS))
    assert made is not None
    assert {c.name for c in made.changes} == {
        ACTIVE,
        PROFILE,
        SERVICE,
        SSH,
        "/opt/cudactl/modulefiles/cuda/13.0",
        "/opt/cudactl/modulefiles/cuda/12.9",
        "/opt/cudactl/modulefiles/cuda/.version",
    }
    assert made.variables["active"] == {"link": ACTIVE, "target": "/usr/local/cuda-13.0"}
    assert "13.0.2" in made.summary
    assert "12.9.1 beside" in made.summary
    assert 'ModulesVersion "13.0"' in content(two, "/opt/cudactl/modulefiles/cuda/.version")
    assert "/usr/local/cuda-12.9/bin" in content(two, "/opt/cudactl/modulefiles/cuda/12.9")


def test_a_settled_host_needs_nothing(two: StackLock) -> None:
    assert step(two, settled(two)) is None


def test_somebody_elses_switch_is_the_only_change(two: StackLock) -> None:
    made = step(two, settled(two, alternatives={"cuda": "/usr/local/cuda-12.9"}))
    assert made is not None
    (change,) = made.changes
    assert (change.kind, change.before, change.after) == (
        "link",
        "/usr/local/cuda-12.9",
        "/usr/local/cuda-13.0",
    )
    assert "/usr/local/cuda-12.9" in made.reason
    assert not made.variables["ssh"], "sshd is not bothered for it"


def test_a_toolkit_that_left_the_lock_takes_its_modulefile_along(
    two: StackLock, apt_lock: StackLock
) -> None:
    made = step(apt_lock, settled(two))
    assert made is not None
    assert made.variables["remove"] == ["/opt/cudactl/modulefiles/cuda/12.9"]
    gone = [c.name for c in made.changes if c.after is None]
    assert gone == ["/opt/cudactl/modulefiles/cuda/12.9"]


def test_a_lock_without_a_toolkit_leaves_nothing_that_leads_to_one(apt_lock: StackLock) -> None:
    without = apt_lock.model_copy(update={"resolved": {"driver": "580.95.05"}})
    made = step(without, settled(apt_lock))
    assert made is not None
    assert {c.after for c in made.changes} == {None}
    assert SERVICE in made.variables["remove"]
    assert made.variables["active"] == {}
    assert made.variables["ssh"], "the server must forget the toolkit as well"
    assert step(without, bare_state()) is None


def test_commands_over_ssh_keep_the_path_that_the_host_has(apt_lock: StackLock) -> None:
    text = content(apt_lock, SSH, path="/snap/bin:/usr/bin:/bin")
    assert 'SetEnv "PATH=/usr/local/cuda/bin:/snap/bin:/usr/bin:/bin" CUDA_HOME=/usr' in text
    twice = content(apt_lock, SSH, path="/usr/local/cuda/bin:/usr/bin")
    assert twice.count("/usr/local/cuda/bin") == 1


@pytest.mark.parametrize(
    "ssh", [{"drop_ins": False}, {"drop_ins": True, "set_env": ["/etc/ssh/sshd_config"]}]
)
def test_a_server_that_would_not_heed_us_is_left_alone_and_told(
    apt_lock: StackLock, ssh: dict[str, object]
) -> None:
    state = bare_state(ssh=ssh)
    made = step(apt_lock, state)
    assert made is not None
    assert SSH not in {c.name for c in made.changes}
    (finding,) = environment_findings(apt_lock, state, [made])
    assert finding.code == "ENVIRONMENT-SSH"
    assert not finding.refuses
    assert finding.remedy
    assert not environment_findings(apt_lock, state, []), "told once, not in every plan"


def test_a_folder_where_the_link_belongs_is_refused(apt_lock: StackLock) -> None:
    there = {"active_toolkit": ACTIVE, "toolkits": [], "foreign": [], "more": 0}
    (finding,) = environment_findings(apt_lock, bare_state(vendor_files=there), [])
    assert (finding.code, finding.refuses) == ("ENVIRONMENT-CUDA-FOLDER", True)


def test_a_link_made_by_hand_is_named_in_the_plan(apt_lock: StackLock) -> None:
    there = {
        "active_toolkit": "/usr/local/cuda-12.4",
        "toolkits": [],
        "foreign": [],
        "more": 0,
    }
    made = step(apt_lock, bare_state(vendor_files=there))
    assert made is not None
    assert [c.before for c in made.changes if c.kind == "link"] == ["/usr/local/cuda-12.4"]


def test_a_wheel_stack_is_active_for_everyone_only_when_asked(wheel_lock: StackLock) -> None:
    other = bare_state(active_stack="0123456789ab")
    assert step(wheel_lock, other) is None
    asked = wheel_lock.model_copy(
        update={"spec": wheel_lock.spec.model_copy(update={"activate": True})}
    )
    made = step(asked, other)
    assert made is not None
    assert [(c.kind, c.name, c.before, c.after) for c in made.changes if c.kind == "link"] == [
        (
            "link",
            "/opt/cudactl/active",
            "/opt/cudactl/stacks/0123456789ab",
            f"/opt/cudactl/stacks/{asked.short_hash}",
        )
    ]
    files = [{"path": f.path, "sha256": f.sha256} for f in environment_files(asked)]
    assert step(asked, bare_state(active_stack=asked.short_hash, files=files)) is None
