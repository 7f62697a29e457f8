"""Do other apt sources clash with the lock's?"""

from __future__ import annotations

import re

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.repository import repository_files


def source_findings(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse apt sources that would clash with ours, and name those that only overlap."""
    findings: list[Finding] = []
    wanted = {
        source.url.rstrip("/"): f"/usr/share/keyrings/cudactl-{source.name}.asc"
        for source in lock.sources
        if source.kind == "apt"
    }
    if not repository_files(lock):
        return findings
    for entry in state.apt_sources:
        if entry.ours:
            continue
        for uri in entry.uris:
            same = re.sub(r"/+$", "", uri)
            if same in wanted and entry.signed_by != wanted[same]:
                findings.append(
                    refuse(
                        "PREFLIGHT-SOURCE-CONFLICT",
                        f"{entry.file} names {uri} with Signed-By {entry.signed_by or 'nothing'}",
                        f"one entry for that address, with Signed-By {wanted[same]}: two different "
                        "ones stop all of apt",
                        f"remove {entry.file} (it is not cudactl's, so cudactl does not)",
                    )
                )
            elif same not in wanted:
                findings.append(
                    remark(
                        "PREFLIGHT-OTHER-SOURCE",
                        f"{entry.file} also offers NVIDIA packages ({uri}); the lock's versions "
                        "win by their pins",
                    )
                )
    return findings
