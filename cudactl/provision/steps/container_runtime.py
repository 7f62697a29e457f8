"""`container_runtime`: engines that are there learn of NVIDIA's runtime, and nothing else changes.

Docker's daemon.json is merged and never written anew; a runtime is taken up by a reload, under
which containers run on. containerd gets a drop-in. Podman needs CDI only, which the container
toolkit keeps fresh itself from 1.18 on. Enroot and Apptainer bring their own hook; what is amiss
there is told by `preflight/containers.py`.
"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.state import HostState
from cudactl.contracts.state_machine import ContainerRuntime
from cudactl.provision.steps.rates import PER_ROLE_S

DAEMON_JSON = "/etc/docker/daemon.json"
CONTAINERD = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/cudactl-nvidia.toml"
CDI = "/etc/cdi/cudactl-nvidia.yaml"
REFRESH = "nvidia-cdi-refresh.path"
KEPT = "/var/lib/cudactl/merged"
"""Where a copy of each merged file lies, as it was before cudactl's first change."""
TOOLKIT = "nvidia-container-toolkit"
# Docker's release notes: features.cdi came with 25.0, and is on by itself from 28.2 on.
DOCKER_CDI_FROM, DOCKER_CDI_ITSELF = (25, 0), (28, 2)
REFRESHED_FROM = (1, 18)


def engine_of(state: HostState, name: str) -> ContainerRuntime | None:
    """Return an engine of the host."""
    return next((one for one in state.container_runtimes if one.name == name), None)


def version_of(state: HostState, *packages: str) -> tuple[int, int] | None:
    """Return major and minor of the first of some packages that is installed."""
    for name in packages:
        if name in state.packages:
            return numbers_of(state.packages[name])
    return None


def numbers_of(version: str) -> tuple[int, int] | None:
    """Return major and minor of a Debian version: "5:27.3.1-1~debian" → (27, 3)."""
    parts = version.rpartition(":")[2].split(".")[:2]
    digits = [part for part in parts if part.isdigit()]
    return (int(digits[0]), int(digits[1])) if len(digits) == 2 else None


def interrupted_by_restart(state: HostState, docker: ContainerRuntime) -> list[str]:
    """Return the containers that a restart of Docker would stop."""
    active = state.services.get("docker.service")
    return [] if docker.live_restore or active is None or not active.active else docker.running


def docker_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that tells Docker what it does not know yet."""
    engine = engine_of(state, "docker")
    if "docker" not in lock.spec.engines or engine is None or engine.problem is not None:
        return None  # not asked for, or refused
    version = version_of(state, "docker-ce", "docker.io")
    takes = version is not None and DOCKER_CDI_FROM <= version < DOCKER_CDI_ITSELF
    runtime = not engine.nvidia
    default = lock.spec.default_runtime and not engine.default
    cdi = takes and not engine.cdi
    if not (runtime or default or cdi):
        return None
    path = engine.config or DAEMON_JSON
    learns = ["NVIDIA's runtime"] if runtime else []
    learns += ["that it is the default"] if default else []
    learns += ["CDI"] if cdi else []
    unit = state.services.get("docker.service")
    active = unit is not None and unit.active
    # CDI's driver is registered when the engine starts; runtimes are read again by a reload.
    how = ("restart" if cdi else "reload") if active else "none"
    stopped = interrupted_by_restart(state, engine) if how == "restart" else []
    changes = [
        Change(
            kind="file",
            name=path,
            before="without it" if engine.config else None,
            after=f"with {', '.join(learns)}",
        )
    ]
    if engine.config:
        changes.append(Change(kind="file", name=KEPT + path, after="a copy of what it was"))
    if how == "restart":
        changes.append(
            Change(kind="service", name="docker.service", before="running", after="restarted")
        )
    said = {
        "none": "; it does not run now",
        "reload": ", by a reload: containers run on",
        "restart": ", by a restart"
        + (f", which stops the containers {', '.join(stopped)}" if stopped else ""),
    }
    return PlanStep(
        id="container_runtime.docker",
        role="container_runtime",
        summary=f"tell Docker {' and '.join(learns)}{said[how]}",
        reason="containers get no GPU otherwise; the rest of its configuration stays as it is",
        risk="restart" if how == "restart" else "none",
        changes=changes,
        seconds=PER_ROLE_S + (10.0 if how == "restart" else 0.0),
        variables={
            "engine": "docker",
            "config": path,
            "keep": KEPT,
            "default": lock.spec.default_runtime,
            "cdi": bool(cdi),
            "apply": how,
        },
    )


def containerd_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that tells containerd NVIDIA's runtime by a drop-in."""
    engine = engine_of(state, "containerd")
    if "containerd" not in lock.spec.engines or engine is None or engine.problem is not None:
        return None
    default = lock.spec.default_runtime and not engine.default
    if engine.nvidia and not default:
        return None
    unit = state.services.get("containerd.service")
    active = unit is not None and unit.active
    there = any(f.path == DROP_IN for f in state.files)
    path = engine.config or CONTAINERD
    changes = [
        Change(
            kind="file",
            name=DROP_IN,
            before="without it" if there else None,
            after="with NVIDIA's runtime" + (", the default" if lock.spec.default_runtime else ""),
        ),
    ]
    if not there:
        changes.append(
            Change(
                kind="file",
                name=path,
                before="without the import" if engine.config else None,
                after=f"imports {DROP_IN}",
            )
        )
        if engine.config:
            changes.append(Change(kind="file", name=KEPT + path, after="a copy of what it was"))
    if active:
        changes.append(
            Change(kind="service", name="containerd.service", before="running", after="restarted")
        )
    return PlanStep(
        id="container_runtime.containerd",
        role="container_runtime",
        summary="tell containerd NVIDIA's runtime by a drop-in"
        + (" and restart it: containers run on, new ones wait for it" if active else ""),
        reason="containers get no GPU otherwise; the rest of its configuration stays as it is",
        risk="restart" if active else "none",
        changes=changes,
        seconds=PER_ROLE_S * 2,
        variables={
            "engine": "containerd",
            "config": path,
            "drop_in": DROP_IN,
            "keep": KEPT,
            "default": lock.spec.default_runtime,
            "apply": "restart" if active else "none",
        },
    )


def refreshed(lock: StackLock, state: HostState) -> bool:
    """Return True where the container toolkit keeps the CDI specification fresh by itself."""
    if REFRESH in state.services:
        return True
    package = lock.package(f"{TOOLKIT}-base") or lock.package(TOOLKIT)
    version = numbers_of(package.version) if package is not None else None
    return version is not None and version >= REFRESHED_FROM


def cdi_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that keeps the CDI specification of the loaded driver."""
    if not {"docker", "containerd", "podman"} & set(lock.spec.engines):
        return None
    unit = state.services.get(REFRESH)
    if unit is not None and not unit.enabled:
        return PlanStep(
            id="container_runtime.cdi",
            role="container_runtime",
            summary=f"enable {REFRESH}, which writes the CDI specification anew for every driver",
            reason="it is installed and off, so a specification would grow old",
            changes=[Change(kind="service", name=REFRESH, before="disabled", after="enabled")],
            seconds=PER_ROLE_S,
            variables={"engine": "cdi", "unit": REFRESH, "output": ""},
        )
    loaded = state.module.loaded
    if refreshed(lock, state) or loaded is None:
        return None  # without a driver there is nothing that a specification could name
    ours = next((spec for spec in state.cdi if spec.path == CDI), None)
    foreign = [spec for spec in state.cdi if spec.path != CDI]
    if foreign or (ours is not None and ours.driver == loaded):
        return None
    return PlanStep(
        id="container_runtime.cdi",
        role="container_runtime",
        summary=f"write the CDI specification of driver {loaded}",
        reason="there is none"
        if ours is None
        else f"it is of driver {ours.driver}, and {loaded} is loaded",
        changes=[Change(kind="file", name=CDI, before=ours.driver if ours else None, after=loaded)],
        seconds=PER_ROLE_S,
        variables={"engine": "cdi", "unit": "", "output": CDI},
    )


def docker_removal(state: HostState) -> PlanStep | None:
    """Return the step that takes NVIDIA's runtime out of Docker, before its program goes."""
    engine = engine_of(state, "docker")
    if engine is None or engine.problem is not None or not engine.nvidia or engine.config is None:
        return None
    unit = state.services.get("docker.service")
    active = unit is not None and unit.active
    return PlanStep(
        id="container_runtime.docker",
        role="container_runtime",
        summary="take NVIDIA's runtime out of Docker's configuration"
        + (", by a reload: containers run on" if active else ""),
        reason="its program goes; the rest of the configuration stays as it is",
        changes=[Change(kind="file", name=engine.config, before="with it", after="without it")],
        seconds=PER_ROLE_S,
        variables={
            "engine": "docker",
            "config": engine.config,
            "keep": KEPT,
            "default": False,
            "cdi": False,
            "present": False,
            "apply": "reload" if active else "none",
        },
    )
