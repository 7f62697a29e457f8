"""Can the distribution bring what the lock needs of it?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.distribution import missing


def distribution_findings(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse what the host's apt would do only by removing something; tell what it cannot say."""
    names = missing(lock, state)
    answer = state.apt_answer
    if not names or answer is None or answer.asked != names:
        return []
    if answer.removes:
        return [
            refuse(
                "PREFLIGHT-APT-REMOVES",
                f"to install {', '.join(names)} the host's apt would remove "
                f"{', '.join(answer.removes)}",
                "an archive that brings them beside what is there",
                f"look at: apt-get --simulate install {' '.join(names)}",
            )
        ]
    if answer.error is not None:
        return [
            remark(
                "APT-LISTS-OLD",
                f"the host's apt cannot tell yet what {', '.join(names)} bring: {answer.error}",
                "the run reads the package lists first and refuses where they still cannot; for a "
                "full plan now: apt-get update on the host",
            )
        ]
    return []
