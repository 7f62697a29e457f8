"""Is the host in the middle of something?"""

from __future__ import annotations

import time
from collections.abc import Collection

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostLock, HostState
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.packages import unmendable


def readiness_findings(
    lock: StackLock, state: HostState, no_obstacle: Collection[str], now: float
) -> list[Finding]:
    """Refuse a host that is in the middle of something that is not ours to finish."""
    findings = []
    if foreign := unmendable(lock, state):
        names = ", ".join(f"{b.name} ({b.status})" for b in foreign[:5])
        findings.append(
            refuse(
                "PREFLIGHT-DPKG-BROKEN",
                f"dpkg was left in the middle of something: {names}",
                "every package installed or not",
                "on the host: dpkg --configure -a && apt-get -f install",
            )
        )
    elif state.dpkg_interrupted and not state.broken and state.records.interrupted is None:
        findings.append(
            refuse(
                "PREFLIGHT-DPKG-BROKEN",
                "dpkg was stopped before it wrote its status out, and not by cudactl",
                "a settled dpkg",
                "on the host: dpkg --configure -a",
            )
        )
    if state.dpkg_locked:
        findings.append(
            remark(
                "PREFLIGHT-DPKG-LOCKED",
                "another process holds dpkg's lock just now; the run waits for it up to 10 minutes",
            )
        )
    claim = state.host_lock
    if claim is not None and claim.run_id not in no_obstacle and claim.expires > now:
        findings.append(busy_finding(claim, now))
    return findings


def busy_finding(lock: HostLock, now: float) -> Finding:
    """Return the refusal for a host that another run is changing."""
    minutes = max(0, int((now - lock.since) // 60))
    until = time.strftime("%H:%M:%S UTC", time.gmtime(lock.expires))
    return refuse(
        "HOST-BUSY",
        f"cudactl run {lock.run_id} of {lock.who} on {lock.controller} (process {lock.pid}) has "
        f"been changing this host for {minutes} min",
        "one run at a time",
        f"wait for it; if that run is dead, its claim ends at {until}, or remove "
        "/run/cudactl/host.lock on the host",
    )
