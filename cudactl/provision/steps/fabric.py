"""`fabric`: fabric manager, NVLink subnet manager and IMEX, where hardware or spec have them.

Until the fabric manager is up, CUDA gives error 802 while nvidia-smi looks healthy. It serves
exactly the driver of its own version, so it starts when that one is loaded and not before.
"""

from __future__ import annotations

from dataclasses import dataclass

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.steps.apt import installed_version, locked_debs
from cudactl.provision.steps.driver import HEAD
from cudactl.provision.steps.driver_facts import driver_version, upstream_version
from cudactl.provision.steps.files import DesiredFile, file_changes, file_variables
from cudactl.provision.steps.rates import PER_ROLE_S

READY_S = 900
"""Seconds that a fabric may take to come up: large ones exceed systemd's default of 90."""
TIMEOUT = "/etc/systemd/system/nvidia-fabricmanager.service.d/cudactl-timeout.conf"


@dataclass(frozen=True)
class FabricService:
    """A service of the fabric, and the package that brings it."""

    unit: str
    package: str
    """Beginning of its name; NVIDIA's had the branch at its end up to 575, Ubuntu's has it."""
    why: str
    same_version: bool = True
    """Its package has exactly the driver's version."""


FABRIC_MANAGER = FabricService(
    "nvidia-fabricmanager.service", "nvidia-fabricmanager", "the host has NVSwitches"
)
SUBNET_MANAGER = FabricService(
    "nvlsm.service", "nvlsm", "its NVLink 5 switches need a subnet manager", same_version=False
)
IMEX = FabricService("nvidia-imex.service", "nvidia-imex", "the spec says driver.imex")


def fabric_services(lock: StackLock, state: HostState) -> list[FabricService]:
    """Return the services that this host needs under this lock, in the order of their start."""
    if driver_version(lock) is None:
        return []
    found = []
    if state.platform.nvlink5:
        found.append(SUBNET_MANAGER)
    if state.platform.nvswitches or state.platform.nvlink5:
        found.append(FABRIC_MANAGER)
    if lock.spec.driver is not None and lock.spec.driver.imex:
        found.append(IMEX)
    return found


def not_locked(lock: StackLock, state: HostState) -> list[FabricService]:
    """Return the needed services whose packages the lock has not, or not at the driver's version.

    A subnet manager that is installed already, by whoever, will do: its versions are its own.
    """
    version = driver_version(lock)
    missing = []
    for service in fabric_services(lock, state):
        packages = [p for p in locked_debs(lock) if _brings(p.name, service)]
        if service.same_version:
            packages = [p for p in packages if upstream_version(p.version) == version]
            there = False
        else:
            there = any(_brings(name, service) for name in state.packages)
        if not packages and not there:
            missing.append(service)
    return missing


def _brings(name: str, service: FabricService) -> bool:
    rest = name.removeprefix(service.package)
    return name.startswith(service.package) and (not rest or rest[1:].isdigit())


def fabric_files(lock: StackLock, state: HostState) -> list[DesiredFile]:
    """Return the file that gives the fabric manager the time that systemd would not."""
    if FABRIC_MANAGER not in fabric_services(lock, state):
        return []
    content = f"{HEAD}[Service]\nTimeoutStartSec={READY_S}\n"
    return [DesiredFile(path=TIMEOUT, content=content)]


def fabric_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that enables the services, and starts them under a driver that is loaded."""
    needed = fabric_services(lock, state)
    if not needed or not_locked(lock, state):
        return None
    loaded = state.module.loaded == driver_version(lock)
    files = fabric_files(lock, state)
    changes, starts = file_changes(files, state), []
    for service in needed:
        there = state.services.get(service.unit)
        if there is None and not _coming(lock, state, service):
            continue
        enabled = there is not None and there.enabled
        active = there is not None and there.active
        if not enabled:
            before = None if there is None else "disabled"
            changes.append(
                Change(kind="service", name=service.unit, before=before, after="enabled")
            )
        if loaded and not active:
            starts.append(service.unit)
            if enabled:
                changes.append(
                    Change(kind="service", name=service.unit, before="stopped", after="running")
                )
    if not changes:
        return None
    return PlanStep(
        id="fabric.services",
        role="fabric",
        summary="enable " + ", ".join(s.unit.removesuffix(".service") for s in needed)
        if not starts
        else f"start {', '.join(starts)} and wait until they are ready",
        reason="; ".join(s.why for s in needed)
        + ("" if loaded else "; they start with the driver that they are made for"),
        risk="none",
        changes=changes,
        seconds=PER_ROLE_S + (60.0 if starts else 0.0),
        variables={
            "files": file_variables(files, changes),
            "enable": [c.name for c in changes if c.after == "enabled"],
            "start": starts,
            "ready_s": READY_S,
        },
    )


def _coming(lock: StackLock, state: HostState, service: FabricService) -> bool:
    return any(
        _brings(p.name, service) and installed_version(state, p) != p.version
        for p in locked_debs(lock)
    )
