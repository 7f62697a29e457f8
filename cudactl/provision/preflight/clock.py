"""Is the host's clock right? apt's lists have a last day, and TLS certificates a first one."""

from __future__ import annotations

import time

from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse

MOST_SECONDS = 300.0
"""A fleet's answers may be a minute old when they are looked at; clocks that are kept differ by
milliseconds."""


def clock_findings(state: HostState, now: float) -> list[Finding]:
    """Refuse a host whose clock is more than five minutes off the controller's."""
    off = state.taken_at - now
    if abs(off) <= MOST_SECONDS:
        return []
    there = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(0.0, min(state.taken_at, 4e10))))
    return [
        refuse(
            "PREFLIGHT-CLOCK",
            f"the host's clock says {there}, {abs(off) / 60:.0f} min "
            f"{'ahead of' if off > 0 else 'behind'} this machine's",
            "clocks within 5 minutes: apt refuses lists that are from the future or out of date, "
            "and TLS certificates that are not valid yet",
            "start the host's time service (timedatectl set-ntp true), or mend this clock",
        )
    ]
