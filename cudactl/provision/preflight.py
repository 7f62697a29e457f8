"""What refuses a plan before anything changes: every reason at once, each with what to do.

Pure: lock × state → findings. Nothing here looks at the host itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostLock, HostState
from cudactl.provision.desired import repository_files

ARCH_OF_MACHINE = {"x86_64": "x86_64", "aarch64": "sbsa"}
# dpkg unpacks beside what is there before it replaces it; a margin keeps the host usable.
DISK_MARGIN_BYTES = 200 * 1024 * 1024


def refuse(code: str, found: str, expected: str = "", remedy: str = "") -> Finding:
    """Return a finding that forbids applying the plan."""
    return Finding(code=code, found=found, expected=expected, remedy=remedy, refuses=True)


def remark(code: str, found: str, remedy: str = "") -> Finding:
    """Return a finding that the reader should know and that forbids nothing."""
    return Finding(code=code, found=found, remedy=remedy)


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


def disk_findings(state: HostState, needs: dict[str, int]) -> list[Finding]:
    """Refuse when a file system has less room than the plan needs.

    Args:
        state: The host.
        needs: Path → bytes that will be written below it.
    """
    findings = []
    by_path = {disk.path: disk for disk in state.disks}
    # Paths that show the same free and total bytes are one file system: their needs add up.
    together: dict[tuple[int, int], int] = {}
    named: dict[tuple[int, int], str] = {}
    for path, need in needs.items():
        disk = by_path.get(path) or by_path.get("/")
        if disk is None:
            continue
        same = (disk.free_bytes, disk.total_bytes)
        together[same] = together.get(same, 0) + need
        named[same] = f"{named[same]} and {path}" if same in named else path
    for same, need in together.items():
        free, path = same[0], named[same]
        if free < need + DISK_MARGIN_BYTES:
            findings.append(
                refuse(
                    "PREFLIGHT-DISK-FULL",
                    f"{free / 1e9:.2f} GB free for {path}",
                    f"{(need + DISK_MARGIN_BYTES) / 1e9:.2f} GB (what the plan writes to {path}, "
                    "and 0.2 GB to spare)",
                    f"make room for {path}, e.g. apt-get clean",
                )
            )
    return findings


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
