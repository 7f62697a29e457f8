"""Is there room for what the plan writes?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.driver_step import changes_driver
from cudactl.provision.preflight.findings import refuse

# dpkg unpacks beside what is there before it replaces it; a margin keeps the host usable.
DISK_MARGIN_BYTES = 200 * 1024 * 1024
# /boot is small and holds nothing else: what it needs is known.
WITHOUT_MARGIN = ("/boot",)


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
        spare = 0 if path in WITHOUT_MARGIN else DISK_MARGIN_BYTES
        if free < need + spare:
            findings.append(
                refuse(
                    "PREFLIGHT-DISK-FULL",
                    f"{free / 1e9:.2f} GB free for {path}",
                    f"{(need + spare) / 1e9:.2f} GB (what the plan writes to {path}"
                    + (", and 0.2 GB to spare)" if spare else ": one initramfs beside another)"),
                    "remove old kernels: apt-get autoremove --purge"
                    if path == "/boot"
                    else f"make room for {path}, e.g. apt-get clean",
                )
            )
    return findings


def room(lock: StackLock, state: HostState, steps: list[PlanStep]) -> dict[str, int]:
    """Return path → bytes that the steps write below it."""
    needs: dict[str, int] = {}
    largest = state.kernel.largest_initramfs_bytes
    if largest and changes_driver(lock, steps):
        # Each kernel's is written anew, beside the old one, which it then replaces; one that
        # takes the driver in may grow, by as much as there is.
        needs["/boot"] = 2 * largest
    for step in steps:
        room = int(step.variables.get("room_bytes", 0))
        if step.role == "wheel_stack":
            needs["/opt"] = needs.get("/opt", 0) + room
        elif step.role == "packages":
            needs["/"] = needs.get("/", 0) + room
            needs["/var"] = needs.get("/var", 0) + step.download_bytes
    return needs
