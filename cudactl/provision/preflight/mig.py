"""Are there MIG instances that a new driver would take away?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.driver_step import changes_driver
from cudactl.provision.preflight.findings import refuse, remark

KEEPER = "nvidia-mig-manager.service"


def mig_findings(lock: StackLock, state: HostState, steps: list[PlanStep]) -> list[Finding]:
    """Refuse to drop MIG instances that nothing makes again at boot.

    MIG mode outlives a reboot, the instances do not (NVIDIA's MIG user guide).
    """
    instances = state.platform.mig_instances
    if not instances or not changes_driver(lock, steps):
        return []
    keeper = state.services.get(KEEPER)
    if keeper is not None and keeper.enabled:
        found = f"{instances} MIG instances end with the driver; {KEEPER} makes them again"
        return [remark("MIG-MADE-AGAIN", found)]
    return [
        refuse(
            "PREFLIGHT-MIG",
            f"{instances} MIG instances are there, which end with the driver, and nothing makes "
            "them again",
            "no instances, or nvidia-mig-manager that makes them at boot",
            "note their layout (nvidia-smi mig -lgi), remove them (nvidia-smi mig -dci; nvidia-smi "
            "mig -dgi), and make them again afterwards",
        )
    ]
