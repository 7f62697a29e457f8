"""`reboot`: decided by what the host's state is, never by a file that says a run was in the middle.

The last step of a plan. Where nobody but NVIDIA's own services holds the module it is exchanged
without a reboot; otherwise the host boots, and what it is then is read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.steps.driver import PARAMETERS, PERSISTENCE, driver_files
from cudactl.provision.steps.driver_facts import built_by_dkms, driver_version, without_module
from cudactl.provision.steps.fabric import READY_S, fabric_services
from cudactl.provision.steps.files import file_changes

# Stopped before a reload in this order, started again in the opposite one.
STOPPABLE = (
    "nvidia-dcgm.service",
    "dcgm.service",
    "nvidia-imex.service",
    "nvidia-fabricmanager.service",
    "nvlsm.service",
    PERSISTENCE,
)
# Users of these are kernel consoles and displays, which let go of nothing.
HELD_BY_KERNEL = ("nvidia_drm", "nvidia_modeset", "nvidia_fs", "gdrdrv", "nvidia_peermem")
DISPLAYS = ("gdm.service", "gdm3.service", "lightdm.service", "display-manager.service")
EVIDENCE = "/var/lib/cudactl/before-reboot"
BOOT_S = 180.0
RELOAD_S = 20.0


def reasons(lock: StackLock, state: HostState) -> list[str]:
    """Return why the loaded module is not the one that the lock wants; empty where it is.

    A host without an NVIDIA GPU loads no module, and one whose kernel is not its own none either.
    """
    version = driver_version(lock)
    module = state.module
    if version is None or (not state.gpus and module.loaded is None):
        return []
    if state.kernel.running not in state.kernel.installed and not _boots_another(state):
        return []
    found = []
    if module.nouveau and state.gpus:
        found.append("nouveau is loaded")
    if module.loaded is None:
        found.append("no NVIDIA module is loaded")
    elif module.loaded != version:
        found.append(f"the loaded module is {module.loaded}")
    elif lock.driver_flavour is not None and module.flavour not in (None, lock.driver_flavour):
        found.append(f"the loaded module is the {module.flavour} one")
    if module.loaded is not None:
        found += [f"the module runs with {told}" for told in other_parameters(lock, state)]
    return found


def _boots_another(state: HostState) -> bool:
    return next_kernel(state) != state.kernel.running


def other_parameters(lock: StackLock, state: HostState) -> list[str]:
    """Return the parameters that take effect only when the module is loaded again.

    Those of the file that changes now, or that was written after the machine started. What differs
    although it was there at the start is what the driver made of it: loading again changes nothing.
    """
    wanted = lock.spec.driver.parameters if lock.spec.driver is not None else {}
    files = [f for f in driver_files(lock) if f.path == PARAMETERS]
    there = next((f for f in state.files if f.path == PARAMETERS), None)
    fresh = bool(file_changes(files, state)) or (
        there is not None
        and (state.kernel.booted_at is None or there.written > state.kernel.booted_at)
    )
    return differing_parameters(wanted, state) if fresh else []


def differing_parameters(wanted: dict[str, str], state: HostState) -> list[str]:
    """Return "name=value" of each parameter that the loaded module has another value of.

    The kernel's list leaves NVreg_ out, and some parameters altogether.
    """
    found = []
    for name, value in sorted(wanted.items()):
        has = state.module.parameters.get(name.removeprefix("NVreg_"))
        if has is not None and not _same(has, value):
            found.append(f"{name}={has}")
    return found


def _same(one: str, other: str) -> bool:
    try:
        return int(one, 0) == int(other, 0)
    except ValueError:
        return one == other


def reload_obstacles(lock: StackLock, state: HostState) -> list[str]:
    """Return what stands against exchanging the module while the host runs.

    Only what every user can read: the plan is the same whoever made it. A process of somebody
    else's that has a GPU open is a refusal of its own.
    """
    found = []
    running = state.kernel.running
    if state.module.nouveau:
        found.append("nouveau is loaded")
    if running not in state.kernel.installed:
        found.append(f"the modules of the running kernel {running} are gone")
    elif not built_by_dkms(lock) and _boots_another(state):
        found.append(f"the archive's module is for kernel {next_kernel(state)}, not for {running}")
    found += [f"{unit} runs" for unit in DISPLAYS if _runs(state, unit)]
    users = dict(state.module.references)
    if "nvidia_drm" in users:
        users["nvidia_modeset"] = users.get("nvidia_modeset", 0) - 1
    found += [
        f"{name} is in use by the kernel" for name in HELD_BY_KERNEL if users.get(name, 0) > 0
    ]
    return found


def next_kernel(state: HostState) -> str:
    """Return the release that the next boot takes, as far as it can be told."""
    return state.kernel.next_boot or state.kernel.newest_installed or state.kernel.running


def _runs(state: HostState, unit: str) -> bool:
    return unit in state.services and state.services[unit].active


def reboot_step(
    lock: StackLock, state: HostState, choices: Choices, before: Sequence[PlanStep]
) -> PlanStep | None:
    """Return the last step: a reload, a reboot, or none.

    Args:
        lock: The lock.
        state: The host.
        choices: What the caller decided.
        before: The plan's other steps.
    """
    why = reasons(lock, state)
    always = choices.reboot == "always" and bool(why or before)
    if not why and not always:
        return None
    obstacles = reload_obstacles(lock, state)
    if not always and not obstacles:
        return _reload(lock, state, why)
    if choices.reboot == "never":
        return None
    why = why or ["--reboot always was given"]
    following = next_kernel(state)
    return PlanStep(
        id="reboot.boot",
        role="reboot",
        summary=f"reboot into kernel {following} and wait for the host",
        reason="; ".join([*why, *obstacles]),
        risk="reboot",
        changes=[Change(kind="boot", name="boot", before=state.kernel.running, after=following)],
        seconds=BOOT_S,
        variables={
            "how": "boot",
            "version": driver_version(lock) or "",
            "evidence": f"{EVIDENCE}/{state.boot_id or 'boot'}",
            "wait_for": [s.unit for s in fabric_services(lock, state)] if state.gpus else [],
            "ready_s": READY_S,
        },
    )


def _reload(lock: StackLock, state: HostState, why: list[str]) -> PlanStep:
    version = driver_version(lock)
    stop = [unit for unit in STOPPABLE if _runs(state, unit)]
    wanted = [s.unit for s in fabric_services(lock, state)]
    start = [u for u in reversed(STOPPABLE) if u in stop or u in wanted or u == PERSISTENCE]
    persistent = lock.spec.driver is None or lock.spec.driver.persistence
    if not persistent:
        start = [unit for unit in start if unit != PERSISTENCE]
    return PlanStep(
        id="reboot.reload",
        role="reboot",
        summary=f"load driver {version}"
        + (f" in place of {state.module.loaded}" if state.module.loaded else "")
        + ", without a reboot",
        reason="; ".join(why),
        risk="restart",
        changes=[
            Change(kind="module", name="nvidia", before=state.module.loaded, after=version),
            *(Change(kind="service", name=u, before="running", after="restarted") for u in stop),
            *(
                Change(kind="service", name=u, before="stopped", after="running")
                for u in start
                if u not in stop and u in state.services
            ),
        ],
        seconds=RELOAD_S,
        variables={
            "how": "reload",
            "version": version,
            "stop": stop,
            "start": start,
            "wait_for": wanted,
            "ready_s": READY_S,
        },
    )


def next_boot_lacks(lock: StackLock, state: HostState) -> str | None:
    """Return why the next boot would have no working driver; None where it would have one.

    Asked of a state that was read after the packages were installed, right before a reboot.
    """
    version = driver_version(lock)
    following = next_kernel(state)
    if version is None or following not in state.kernel.installed:
        return None
    if following in without_module(lock, state):
        there = [f for f in state.module.files if f.kernel == following]
        has = f"has {there[0].version} {there[0].flavour or ''}".rstrip() if there else "has none"
        return f"the next boot takes kernel {following}, which {has}, not driver {version}"
    if not state.kernel.secure_boot:
        return None
    for file in state.module.files:
        if file.kernel != following or file.version != version:
            continue
        built_here = "/dkms/" in file.path
        if built_here and state.kernel.mok_enrolled is not True:
            return (
                f"Secure Boot is on, and {file.path} is signed with a key of this host that the "
                "firmware does not know"
            )
        compressed = not file.path.endswith(".ko")
        if not built_here and file.signer is None and not compressed:
            return f"Secure Boot is on, and {file.path} is not signed"
    return None
