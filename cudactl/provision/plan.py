"""The plan: lock × state → steps. Pure; the same inputs always give the same plan.

The controller makes it once to show it, and Ansible's first task makes it again from the host's
fresh state: only when both hash the same does anything change. What each role does stands in
`steps/`, what forbids it in `preflight/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from cudactl.contracts.base import canonical_hash
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, Finding, Plan, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.containers import container_findings
from cudactl.provision.preflight.disk import disk_findings, room
from cudactl.provision.preflight.distribution import distribution_findings
from cudactl.provision.preflight.driver import driver_findings
from cudactl.provision.preflight.environment import environment_findings
from cudactl.provision.preflight.findings import remark
from cudactl.provision.preflight.obstacles import obstacles
from cudactl.provision.preflight.readiness import readiness_findings
from cudactl.provision.preflight.rollback import rollback_findings
from cudactl.provision.preflight.target import target_findings
from cudactl.provision.steps.container_runtime import cdi_step, containerd_step, docker_step
from cudactl.provision.steps.driver import driver_step
from cudactl.provision.steps.environment import environment_step
from cudactl.provision.steps.fabric import fabric_step
from cudactl.provision.steps.packages import host_compiler_step, mend_step, packages_step
from cudactl.provision.steps.protection import protection_step
from cudactl.provision.steps.reboot import reboot_step
from cudactl.provision.steps.repository import repository_step
from cudactl.provision.steps.uninstall import uninstall_findings, uninstall_steps
from cudactl.provision.steps.wheel_stack import wheel_stack_step

STEPS: tuple[Callable[[StackLock, HostState, Choices], PlanStep | None], ...] = (
    repository_step,
    mend_step,
    packages_step,
    host_compiler_step,
    driver_step,
    fabric_step,
    wheel_stack_step,
    environment_step,
    docker_step,
    containerd_step,
    cdi_step,
    protection_step,
)
"""In the order in which they are done; a reload or reboot of the driver comes after them."""
# What of a state may differ without the plan being another one.
VOLATILE = {
    "taken_at",
    "duration_s",
    "probe_version",
    "euid",
    "disks",
    "gpu_processes",
    "dpkg_locked",
    "host_lock",
    "certificate",
    "python",
}


def make_plan(
    host: str,
    lock: StackLock,
    state: HostState,
    *,
    now: float,
    no_obstacle: Collection[str] = (),
    choices: Choices | None = None,
) -> Plan:
    """Return what has to change on `host` so that it carries `lock`.

    Args:
        host: Name the plan is for.
        lock: The lock.
        state: The host's state.
        now: Unix time, seconds: the host's clock and the claim of another run are held against it.
        no_obstacle: Runs whose claim on the host is no refusal: our own, and one known to be dead.
        choices: What the caller decided for this run; by default nothing special.
    """
    chosen = choices or Choices()
    if chosen.purpose == "uninstall":
        return _uninstall_plan(host, lock, state, chosen, no_obstacle, now)
    findings = target_findings(lock, state)
    steps: list[PlanStep] = []
    if not findings:
        steps = [step for step in (make(lock, state, chosen) for make in STEPS) if step is not None]
        last = reboot_step(lock, state, chosen, steps)
        steps += [last] if last is not None else []
        findings += obstacles(lock, state, steps, chosen, now)
        findings += driver_findings(lock, state, steps, chosen)
        findings += environment_findings(lock, state, steps)
        findings += container_findings(lock, state)
        if steps:
            findings += readiness_findings(lock, state, no_obstacle, now)
            findings += disk_findings(state, room(lock, state, steps))
            findings += distribution_findings(lock, state)
            findings += rollback_findings(lock, state, chosen)
    return _plan(host, lock, state, chosen, steps, findings)


def _uninstall_plan(
    host: str,
    lock: StackLock,
    state: HostState,
    chosen: Choices,
    no_obstacle: Collection[str],
    now: float,
) -> Plan:
    steps = uninstall_steps(lock, state, chosen)
    findings = uninstall_findings(lock, state, steps)
    if steps:
        findings += readiness_findings(lock, state, no_obstacle, now)
    return _plan(host, lock, state, chosen, steps, findings)


def _plan(
    host: str,
    lock: StackLock,
    state: HostState,
    chosen: Choices,
    steps: list[PlanStep],
    findings: list[Finding],
) -> Plan:
    if state.os.look_alike:
        findings.append(
            remark("LOOK-ALIKE", f"{state.os.pretty}: a lab base that only carries that identity")
        )
    return Plan(
        host=host,
        lock_hash=lock.hash,
        state_hash=canonical_hash(state.model_dump(mode="json", exclude=VOLATILE)),
        choices=chosen,
        steps=steps,
        findings=findings,
    )
