"""Does somebody else bring this machine's driver: a hypervisor, DGX OS, a container?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.driver_step import installs_driver
from cudactl.provision.preflight.findings import refuse, remark

PREINSTALLED = "lock a spec with `driver: {branch: preinstalled}`: everything else is provisioned"


def platform_findings(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse to install a driver where it is not this machine's own business."""
    platform = state.platform
    if not installs_driver(lock):
        if platform.driver_container:
            found = "the driver here is a container's, under /run/nvidia/driver"
            return [remark("DRIVER-CONTAINER", found)]
        return []
    findings = []
    if platform.vgpu_guest:
        findings.append(
            refuse(
                "PREFLIGHT-VGPU",
                "a GPU here is a vGPU: part of a GPU that a hypervisor hands out",
                "a GPU of its own; a vGPU runs only with the guest driver that belongs to its "
                "host's, and a stock driver stops it (Xid 78)",
                PREINSTALLED,
            )
        )
    if platform.dgx_os is not None:
        findings.append(
            refuse(
                "PREFLIGHT-DGX-OS",
                f"the host runs DGX OS {platform.dgx_os}, whose driver, kernel and services are "
                "released together",
                "a distribution whose driver may be chosen",
                f"{PREINSTALLED}; update DGX OS by its own releases",
            )
        )
    if platform.driver_container:
        findings.append(
            refuse(
                "PREFLIGHT-DRIVER-CONTAINER",
                "a container brings the driver (/run/nvidia/driver, as NVIDIA's GPU Operator does)",
                "one driver for one kernel",
                f"{PREINSTALLED}; or set driver.enabled=false in the operator, drain and reboot "
                "the node first",
            )
        )
    return findings
