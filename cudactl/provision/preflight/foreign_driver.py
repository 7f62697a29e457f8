"""Is there a driver that apt does not know, or one from another origin than the lock's?"""

from __future__ import annotations

import re

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.driver_step import installs_driver
from cudactl.provision.preflight.findings import refuse
from cudactl.provision.steps.driver_facts import family

LIBRARY = re.compile(r"^/usr/lib(?:64|/x86_64-linux-gnu|/aarch64-linux-gnu)?/libcuda\.so\.\d{3}\.")
# A version's ending → whose archive gave it.
ORIGINS = (
    (re.compile(r"lambda"), "Lambda Stack"),
    (re.compile(r"~(?:gpu|ppa)|ppa\d"), "a PPA"),
    (re.compile(r"-\d+ubuntu[\d.]*\.\d\d\.\d\d"), "Ubuntu"),
    (re.compile(r"~deb\d+u\d+$|~bpo\d+\+"), "Debian"),
    (re.compile(r"-\d+(ubuntu\d+)?$"), "NVIDIA"),
)
# What nobody but their own metapackages may take away.
OTHERS = ("Lambda Stack", "a PPA")
MOST = 5


def foreign_driver_findings(
    lock: StackLock, state: HostState, steps: list[PlanStep]
) -> list[Finding]:
    """Refuse a driver that stays beside the lock's own."""
    if not installs_driver(lock):
        return []
    return [*_runfile(state), *_other_origin(lock, state, steps)]


def _runfile(state: HostState) -> list[Finding]:
    if state.vendor_files is None:
        return []
    there = [
        file.path
        for file in state.vendor_files.foreign
        if file.kind == "driver" or LIBRARY.match(file.path)
    ]
    if not there:
        return []
    return [
        refuse(
            "PREFLIGHT-DRIVER-RUNFILE",
            f"a driver that no package owns: {', '.join(there[:MOST])}",
            "a driver by packages only; a runfile's libraries stay in front of theirs",
            "remove it with its own nvidia-uninstall (keeps a log in /var/log), then run again",
        )
    ]


def origin_of(version: str) -> str | None:
    """Return whose archive gave a driver's version, as far as its ending tells."""
    return next((whose for ending, whose in ORIGINS if ending.search(version)), None)


def _other_origin(lock: StackLock, state: HostState, steps: list[PlanStep]) -> list[Finding]:
    """Packages of the driver from elsewhere that stay, or that hang together with more."""
    changing = {
        change.name: change
        for step in steps
        for change in step.changes
        if change.kind == "package" and change.before is not None
    }
    mine = {whose for p in lock.of("driver") if (whose := origin_of(p.version)) is not None}
    strange: dict[str, list[str]] = {}
    for name, version in family(state).items():
        whose = origin_of(version)
        if whose is None or whose in mine:
            continue
        if whose in OTHERS or name not in changing:
            strange.setdefault(whose, []).append(f"{name} {version}")
    return [
        refuse(
            "PREFLIGHT-DRIVER-ORIGIN",
            f"{len(names)} packages of a driver from {whose}: {', '.join(sorted(names)[:MOST])}"
            + (" …" if len(names) > MOST else ""),
            f"one origin for all of the driver's packages ({' or '.join(sorted(mine))})"
            if mine
            else "one origin for all of the driver's packages",
            "remove them first: apt-get purge, with the packages that need them",
        )
        for whose, names in sorted(strange.items())
    ]
