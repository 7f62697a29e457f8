"""Is the host in the middle of something?"""

from __future__ import annotations

import time
from collections.abc import Collection

from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostLock, HostState
from cudactl.provision.preflight.findings import refuse, remark


def readiness_findings(state: HostState, no_obstacle: Collection[str], now: float) -> list[Finding]:
    """Refuse a host that is in the middle of something."""
    findings = []
    if state.broken:
        names = ", ".join(f"{b.name} ({b.status})" for b in state.broken[:5])
        findings.append(
            refuse(
                "PREFLIGHT-DPKG-BROKEN",
                f"dpkg was left in the middle of something: {names}",
                "every package installed or not",
                "on the host: dpkg --configure -a && apt-get -f install",
            )
        )
    if state.dpkg_locked:
        findings.append(
            remark(
                "PREFLIGHT-DPKG-LOCKED",
                "another process holds dpkg's lock just now; the run waits for it up to 10 minutes",
            )
        )
    lock = state.host_lock
    if lock is not None and lock.run_id not in no_obstacle and lock.expires > now:
        findings.append(busy_finding(lock, now))
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
