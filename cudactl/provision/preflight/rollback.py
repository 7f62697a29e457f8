"""Can the host go back without its repository?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import remark
from cudactl.provision.steps.apt import installed_version, locked_debs
from cudactl.provision.steps.kept import deb_file, kept_files


def rollback_findings(lock: StackLock, state: HostState, choices: Choices) -> list[Finding]:
    """Name what is not kept on the host: going back then hangs on the repository."""
    if choices.purpose != "rollback":
        return []
    kept = kept_files(lock, state)
    lost = [
        p.name
        for p in locked_debs(lock)
        if installed_version(state, p) != p.version and deb_file(p) not in kept
    ]
    if not lost:
        return []
    return [
        remark(
            "ROLLBACK-NOT-KEPT",
            f"{len(lost)} packages of the lock {lock.short_hash} are not kept on the host "
            f"({', '.join(lost[:3])}{', …' if len(lost) > 3 else ''}): it was installed before "
            "cudactl kept packages, or they were removed",
            "going back works only while the repository still has these versions",
        )
    ]
