"""Can the engines that the lock asks for be configured?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.container_runtime import (
    CDI,
    TOOLKIT,
    engine_of,
    refreshed,
    version_of,
)

PACKAGES = {
    "docker": "docker.io, or docker-ce from Docker's repository",
    "containerd": "containerd, or containerd.io from Docker's repository",
    "podman": "podman",
    "enroot": "enroot, from its releases",
    "apptainer": "apptainer, from its releases",
}


def container_findings(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse engines that are not there or cannot be read; say what an engine misses."""
    engines = lock.spec.engines
    if not engines:
        return []
    findings: list[Finding] = []
    if lock.package(TOOLKIT) is None and set(engines) != {"apptainer"}:
        findings.append(
            refuse(
                "CONTAINERS-NO-TOOLKIT",
                f"container_runtime is {', '.join(engines)}, and the lock holds no {TOOLKIT}",
                f"{TOOLKIT}, which is the runtime that engines are told of",
                'add to the spec: container_toolkit: "1", and lock again',
            )
        )
    if "gpu-operator" in state.owners:
        findings.append(
            refuse(
                "CONTAINERS-OPERATOR",
                "NVIDIA's GPU Operator configures the container engine of this host",
                "one that configures it",
                "leave container_runtime out of the spec, or toolkit.enabled=false in the operator",
            )
        )
    for name in engines:
        findings += _engine(name, state)
    findings += _cdi(lock, state)
    return findings


def _engine(name: str, state: HostState) -> list[Finding]:
    engine = engine_of(state, name)
    if engine is None:
        return [
            refuse(
                "CONTAINERS-NO-ENGINE",
                f"{name} is not installed",
                f"{name}, which the lock's container_runtime names",
                f"install it ({PACKAGES[name]}), or leave it out of the spec: cudactl configures "
                "the engine that is there",
            )
        ]
    if engine.problem is not None:
        return [
            refuse(
                "CONTAINERS-UNREADABLE",
                f"{engine.config}: {engine.problem}",
                "a file that the engine itself reads",
                "mend it; nothing was changed in it",
            )
        ]
    if name == "docker" and (engine.config or "").startswith("/var/snap/"):
        return [
            refuse(
                "CONTAINERS-SNAP",
                "Docker is installed as a snap, which is confined and sees no NVIDIA runtime",
                "Docker from a Debian package",
                f"snap remove docker, and install {PACKAGES['docker']}",
            )
        ]
    if name == "podman" and engine.cdi is False:
        version = ".".join(map(str, version_of(state, "podman") or ()))
        return [
            refuse(
                "CONTAINERS-PODMAN-OLD",
                f"podman {version} knows no CDI",
                "podman 4.1 or later",
                "a later release of the distribution, or Docker",
            )
        ]
    if name == "enroot" and not engine.nvidia:
        return [
            remark(
                "CONTAINERS-ENROOT-HOOK",
                "Enroot's hook 98-nvidia.sh is not in /etc/enroot/hooks.d, or may not be run",
                "cp /usr/share/enroot/hooks.d/98-nvidia.sh /etc/enroot/hooks.d/ && chmod +x it",
            )
        ]
    return []


def _cdi(lock: StackLock, state: HostState) -> list[Finding]:
    paths = [spec.path for spec in state.cdi]
    loaded = state.module.loaded
    foreign = [spec for spec in state.cdi if spec.path != CDI and spec.path.startswith("/etc/")]
    if foreign and len(paths) > 1:
        return [
            remark(
                "CONTAINERS-CDI-TWICE",
                f"several CDI specifications name NVIDIA's devices: {', '.join(paths)}; engines "
                "refuse a device that two of them name",
                f"remove {foreign[0].path}",
            )
        ]
    old = [spec for spec in foreign if loaded is not None and spec.driver != loaded]
    if old and not refreshed(lock, state):
        return [
            remark(
                "CONTAINERS-CDI-OLD",
                f"{old[0].path} is of driver {old[0].driver}, and {loaded} is loaded",
                f"nvidia-ctk cdi generate --output={old[0].path}",
            )
        ]
    return []
