"""May the driver be replaced now, and when does it take effect?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark


def driver_findings(lock: StackLock, state: HostState, steps: list[PlanStep]) -> list[Finding]:
    """Refuse a busy GPU, and say when the driver comes into use."""
    wanted = lock.resolved.get("driver")
    if wanted is None or wanted in ("none", "preinstalled"):
        return []
    findings: list[Finding] = []
    if any(step.risk == "reboot" for step in steps):
        if state.gpu_processes:
            names = ", ".join(f"{p.name} ({p.pid})" for p in state.gpu_processes[:5])
            findings.append(
                refuse(
                    "PREFLIGHT-GPU-BUSY",
                    f"processes use the GPU: {names}",
                    "an idle GPU, because the driver's libraries are replaced under them",
                    "stop them (or drain the node) first",
                )
            )
        if state.gpus:
            findings.append(
                remark("DRIVER-NEEDS-REBOOT", f"driver {wanted} is in use from the next boot on")
            )
    elif state.gpus and state.module.loaded != wanted:
        loaded = state.module.loaded or "none"
        findings.append(
            remark(
                "DRIVER-NOT-LOADED",
                f"driver {wanted} is installed, the loaded module is {loaded}",
                "reboot the host",
            )
        )
    return findings
