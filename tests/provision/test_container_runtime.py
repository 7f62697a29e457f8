"""What engines are told of NVIDIA, and what that interrupts, for hosts in every condition."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.contracts.state_records import Records
from cudactl.provision.preflight.containers import container_findings
from cudactl.provision.steps.container_runtime import (
    cdi_step,
    containerd_step,
    docker_step,
)
from cudactl.provision.steps.uninstall import uninstall_steps
from tests.provision.conftest import bare_state, package

RUNS = {"enabled": True, "active": True}
LOADED = {"loaded": "580.95.05", "flavour": "open", "on_disk": {}, "nouveau": False}


def asking(lock: StackLock, *engines: str, toolkit: str = "1.20.0-1", **more: Any) -> StackLock:
    """The lock with engines asked for, and the container toolkit in it."""
    names = ("nvidia-container-toolkit", "nvidia-container-toolkit-base")
    packages = [package(name, toolkit, "container_toolkit") for name in names]
    spec = lock.spec.model_copy(update={"container_runtime": list(engines), **more})
    return lock.model_copy(update={"spec": spec, "packages": [*lock.packages, *packages]})


def having(name: str, **more: Any) -> HostState:
    """A host with an engine."""
    known = {"nvidia": False, "default": False, "cdi": None, "config": None}
    state: dict[str, Any] = {
        k: more.pop(k) for k in ("services", "packages", "cdi_specs", "module") if k in more
    }
    if "cdi_specs" in state:
        state["cdi"] = state.pop("cdi_specs")
    return bare_state(container_runtimes=[{"name": name, **known, **more}], **state)


def docker(lock: StackLock, state: HostState) -> PlanStep | None:
    return docker_step(lock, state, Choices())


def test_docker_is_told_by_a_reload_under_which_containers_run_on(apt_lock: StackLock) -> None:
    state = having(
        "docker",
        config="/etc/docker/daemon.json",
        running=["web", "db"],
        services={"docker.service": RUNS},
    )
    step = docker(asking(apt_lock, "docker"), state)
    assert step is not None
    assert step.risk == "none"
    assert "containers run on" in step.summary
    assert step.variables["apply"] == "reload"
    assert [c.name for c in step.changes] == [
        "/etc/docker/daemon.json",
        "/var/lib/cudactl/merged/etc/docker/daemon.json",
    ]


def test_a_docker_that_knows_needs_nothing(apt_lock: StackLock) -> None:
    state = having("docker", nvidia=True, services={"docker.service": RUNS})
    assert docker(asking(apt_lock, "docker"), state) is None
    assert docker(apt_lock, having("docker")) is None, "nobody asked"


def test_the_default_runtime_is_ours_only_when_asked(apt_lock: StackLock) -> None:
    state = having("docker", nvidia=True, services={"docker.service": RUNS})
    step = docker(asking(apt_lock, "docker", default_runtime=True), state)
    assert step is not None
    assert step.variables["default"] is True
    assert "the default" in step.summary


@pytest.mark.parametrize(
    ("package", "version", "restarts"),
    [
        ("docker-ce", "5:27.3.1-1~debian.12~bookworm", True),
        ("docker-ce", "5:24.0.9-1~ubuntu.22.04~jammy", False),
        ("docker-ce", "5:29.1.0-1~ubuntu.24.04~noble", False),
        ("docker.io", "20.10.24+dfsg1-1+deb12u1", False),
        ("docker.io", "26.1.5+dfsg1-9+b9", True),
    ],
)
def test_only_versions_that_need_telling_of_cdi_are_restarted_for_it(
    apt_lock: StackLock, package: str, version: str, restarts: bool
) -> None:
    state = having(
        "docker",
        nvidia=True,
        running=["web"],
        packages={package: version},
        services={"docker.service": RUNS},
    )
    step = docker(asking(apt_lock, "docker"), state)
    assert (step is not None) is restarts
    if step is not None:
        assert step.risk == "restart"
        assert "stops the containers web" in step.summary
        assert ("service", "docker.service") in {(c.kind, c.name) for c in step.changes}


def test_containers_that_outlive_a_restart_are_not_said_to_stop(apt_lock: StackLock) -> None:
    state = having(
        "docker",
        running=["web"],
        live_restore=True,
        packages={"docker-ce": "5:27.3.1-1"},
        services={"docker.service": RUNS},
    )
    step = docker(asking(apt_lock, "docker"), state)
    assert step is not None
    assert "web" not in step.summary


def test_containerd_gets_a_drop_in_and_an_import(apt_lock: StackLock) -> None:
    state = having("containerd", config="/etc/containerd/config.toml")
    step = containerd_step(asking(apt_lock, "containerd"), state, Choices())
    assert step is not None
    assert [c.name for c in step.changes] == [
        "/etc/containerd/conf.d/cudactl-nvidia.toml",
        "/etc/containerd/config.toml",
        "/var/lib/cudactl/merged/etc/containerd/config.toml",
    ]
    assert step.risk == "none", "it does not run"
    known = having("containerd", nvidia=True)
    assert containerd_step(asking(apt_lock, "containerd"), known, Choices()) is None


def cdi(lock: StackLock, state: HostState) -> PlanStep | None:
    return cdi_step(lock, state, Choices())


def test_the_toolkits_own_refresh_is_left_to_it(apt_lock: StackLock) -> None:
    lock = asking(apt_lock, "podman")
    on = {"nvidia-cdi-refresh.path": {"enabled": True, "active": True}}
    assert cdi(lock, having("podman", services=on, module=LOADED)) is None
    assert cdi(lock, having("podman", module=LOADED)) is None, "the package brings it"
    off = {"nvidia-cdi-refresh.path": {"enabled": False, "active": False}}
    step = cdi(lock, having("podman", services=off, module=LOADED))
    assert step is not None
    assert [(c.kind, c.name) for c in step.changes] == [("service", "nvidia-cdi-refresh.path")]


def test_an_older_toolkits_specification_follows_the_loaded_driver(apt_lock: StackLock) -> None:
    lock = asking(apt_lock, "podman", toolkit="1.17.8-1")
    assert cdi(lock, having("podman")) is None, "no driver, nothing to name"
    step = cdi(lock, having("podman", module=LOADED))
    assert step is not None
    assert step.variables["output"] == "/etc/cdi/cudactl-nvidia.yaml"
    ours = {"path": "/etc/cdi/cudactl-nvidia.yaml", "written": 1.0}
    right = [{**ours, "driver": "580.95.05"}]
    assert cdi(lock, having("podman", module=LOADED, cdi_specs=right)) is None
    old = [{**ours, "driver": "570.86.15"}]
    again = cdi(lock, having("podman", module=LOADED, cdi_specs=old))
    assert again is not None
    assert "570.86.15" in again.reason
    theirs = [{"path": "/etc/cdi/nvidia.yaml", "driver": "570.86.15", "written": 1.0}]
    state = having("podman", module=LOADED, cdi_specs=theirs)
    assert cdi(lock, state) is None
    assert [f.code for f in container_findings(lock, state)] == ["CONTAINERS-CDI-OLD"]


def findings(lock: StackLock, state: HostState) -> list[Finding]:
    return container_findings(lock, state)


@pytest.mark.parametrize(
    ("engine", "state", "code"),
    [
        ("docker", bare_state(), "CONTAINERS-NO-ENGINE"),
        (
            "docker",
            having("docker", config="/etc/docker/daemon.json", problem="it is no JSON: line 3"),
            "CONTAINERS-UNREADABLE",
        ),
        (
            "docker",
            having("docker", config="/var/snap/docker/current/config/daemon.json"),
            "CONTAINERS-SNAP",
        ),
        (
            "podman",
            having("podman", cdi=False, packages={"podman": "3.4.4+ds1-1"}),
            "CONTAINERS-PODMAN-OLD",
        ),
        ("docker", bare_state(owners=["gpu-operator"]), "CONTAINERS-OPERATOR"),
    ],
)
def test_what_cannot_be_configured_is_refused_with_what_to_do(
    apt_lock: StackLock, engine: str, state: HostState, code: str
) -> None:
    found = findings(asking(apt_lock, engine), state)
    first = next(f for f in found if f.code == code)
    assert first.refuses
    assert first.remedy
    assert not docker(asking(apt_lock, engine), state) or code == "CONTAINERS-SNAP"


def test_an_engine_without_the_toolkit_in_the_lock_is_refused(apt_lock: StackLock) -> None:
    spec = apt_lock.spec.model_copy(update={"container_runtime": "docker"})
    lock = apt_lock.model_copy(update={"spec": spec})
    codes = [f.code for f in findings(lock, having("docker"))]
    assert codes == ["CONTAINERS-NO-TOOLKIT"]
    alone = spec.model_copy(update={"container_runtime": "apptainer"})
    with_it = apt_lock.model_copy(update={"spec": alone})
    assert not findings(with_it, having("apptainer")), "it brings the driver's libraries itself"


def test_enroot_without_its_hook_is_told(apt_lock: StackLock) -> None:
    (finding,) = findings(asking(apt_lock, "enroot"), having("enroot"))
    assert (finding.code, finding.refuses) == ("CONTAINERS-ENROOT-HOOK", False)
    assert not findings(asking(apt_lock, "enroot"), having("enroot", nvidia=True))


def test_two_specifications_of_the_same_devices_are_told(apt_lock: StackLock) -> None:
    both = [
        {"path": "/etc/cdi/nvidia.yaml", "driver": "580.95.05", "written": 1.0},
        {"path": "/var/run/cdi/nvidia.yaml", "driver": "580.95.05", "written": 1.0},
    ]
    (finding,) = findings(asking(apt_lock, "podman"), having("podman", cdi_specs=both, nvidia=None))
    assert finding.code == "CONTAINERS-CDI-TWICE"
    assert finding.remedy == "remove /etc/cdi/nvidia.yaml"


def test_uninstalling_takes_the_runtime_out_before_its_program_goes(apt_lock: StackLock) -> None:
    lock = asking(apt_lock, "docker")
    packages = {p.name: p.version for p in lock.packages}
    brought = dict.fromkeys(packages)
    state = having(
        "docker",
        nvidia=True,
        config="/etc/docker/daemon.json",
        packages=packages,
        services={"docker.service": RUNS},
    ).model_copy(update={"records": Records(brought=brought)})
    first, *_ = uninstall_steps(lock, state, Choices())
    assert (first.role, first.variables["present"]) == ("container_runtime", False)
    assert [c.name for c in first.changes] == ["/etc/docker/daemon.json"]
    theirs = state.model_copy(
        update={"records": Records(brought={"nvidia-container-toolkit": "1"})}
    )
    steps = uninstall_steps(lock, theirs, Choices())
    assert "container_runtime" not in {s.role for s in steps}, "the toolkit was there before us"
