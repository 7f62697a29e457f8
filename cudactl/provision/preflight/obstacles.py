"""Everything that a plan is held against, beside what its own steps ask: one list, all at once."""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.clock import clock_findings
from cudactl.provision.preflight.foreign_driver import foreign_driver_findings
from cudactl.provision.preflight.gpus import gpu_findings
from cudactl.provision.preflight.kernel import kernel_findings
from cudactl.provision.preflight.mig import mig_findings
from cudactl.provision.preflight.owners import owner_findings
from cudactl.provision.preflight.platform import platform_findings
from cudactl.provision.preflight.sources import source_findings


def obstacles(
    lock: StackLock, state: HostState, steps: list[PlanStep], choices: Choices, now: float
) -> list[Finding]:
    """Return what stands in the way of the lock on this host, and what of its steps.

    Args:
        lock: The lock.
        state: The host.
        steps: What would be done; with nothing to do, nobody is disturbed and nothing is fetched.
        choices: What the caller decided.
        now: Unix time on the controller, seconds.
    """
    findings = source_findings(lock, state, choices)
    findings += gpu_findings(lock, state)
    findings += kernel_findings(lock, state)
    findings += platform_findings(lock, state)
    findings += foreign_driver_findings(lock, state, steps)
    if steps:
        findings += clock_findings(state, now)
        findings += owner_findings(state, steps)
        findings += mig_findings(lock, state, steps)
    return findings
