"""Is the lock for this host at all?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse

ARCH_OF_MACHINE = {"x86_64": "x86_64", "aarch64": "sbsa"}


def target_findings(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse a host that the lock is not for."""
    findings = []
    if state.os.name != lock.target.os:
        findings.append(
            refuse(
                "PREFLIGHT-WRONG-OS",
                f"the host runs {state.os.pretty} ({state.os.name})",
                f"{lock.target.os}, which the lock {lock.short_hash} is for",
                f"lock a spec with `os: {state.os.name}` and give this host that lock",
            )
        )
    arch = ARCH_OF_MACHINE.get(state.machine)
    if arch != lock.target.arch:
        findings.append(
            refuse(
                "PREFLIGHT-WRONG-ARCH",
                f"the host's processor is {state.machine}",
                f"{lock.target.arch}",
                "lock a spec with the right `arch`",
            )
        )
    if state.virtualization == "wsl":
        findings.append(
            refuse(
                "PREFLIGHT-WSL",
                "the host is a Windows Subsystem for Linux guest, whose driver belongs to Windows",
                "a machine of its own",
                "use NVIDIA's wsl-ubuntu repository for the toolkit; never install a driver there",
            )
        )
    compiled = lock.target.python
    if lock.target.packages == "wheels" and compiled and compiled != state.python.tag:
        needs = [p.name for p in lock.packages if f"-{compiled}-" in p.filename]
        if needs:
            findings.append(
                refuse(
                    "PREFLIGHT-WRONG-PYTHON",
                    f"the host's {state.python.executable} is Python {state.python.version}",
                    f"{compiled}, which {', '.join(needs)} were chosen for",
                    "lock again for this host's distribution",
                )
            )
    return findings
