"""Can the lock's toolkit become the active one, and for commands over SSH as well?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.environment import ACTIVE, SSH, toolkits


def environment_findings(lock: StackLock, state: HostState, steps: list[PlanStep]) -> list[Finding]:
    """Refuse a folder where the deciding link belongs; say where SSH is left as it is."""
    if not toolkits(lock):
        return []
    findings: list[Finding] = []
    if state.vendor_files is not None and state.vendor_files.active_toolkit == ACTIVE:
        findings.append(
            refuse(
                "ENVIRONMENT-CUDA-FOLDER",
                f"{ACTIVE} is a folder of its own",
                "a link, or nothing: the packages put a link there that says which toolkit is "
                "the active one",
                f"move it away, for example: mv {ACTIVE} {ACTIVE}-by-hand",
            )
        )
    if not any(step.role == "environment" for step in steps):
        return findings
    if state.ssh.set_env:
        findings.append(
            remark(
                "ENVIRONMENT-SSH",
                f"{', '.join(state.ssh.set_env)} has a SetEnv line of its own, and the SSH server "
                "heeds only one: commands over SSH that read no profile will not find the toolkit",
                f"add to that line: CUDA_HOME={ACTIVE}, and {ACTIVE}/bin in front of PATH",
            )
        )
    elif not state.ssh.drop_ins:
        findings.append(
            remark(
                "ENVIRONMENT-SSH",
                f"the SSH server reads no drop-ins, so there will be no {SSH}: commands over SSH "
                "that read no profile will not find the toolkit",
                "add to sshd_config: Include /etc/ssh/sshd_config.d/*.conf",
            )
        )
    return findings
