"""`packages`: the closure in one apt transaction, and what the distribution must bring."""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.steps.apt import installed_version, locked_debs
from cudactl.provision.steps.rates import FETCH_RATE, PER_PACKAGE_S, PER_ROLE_S, UNPACK_RATE

HOST_COMPILER = ("g++", "build-essential")


def packages_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the transaction that brings every locked package to its version."""
    closure = locked_debs(lock)
    wrong = [p for p in closure if installed_version(state, p) != p.version]
    if not wrong:
        return None
    outside = [e.name for e in lock.external if e.name not in state.packages]
    changes = [
        Change(kind="package", name=p.name, before=installed_version(state, p), after=p.version)
        for p in wrong
    ]
    new = sum(1 for c in changes if c.before is None)
    words = [f"install {new}"] if new else []
    if new < len(changes):
        words.append(f"change {len(changes) - new}")
    driver = [p for p in wrong if p.component == "driver"]
    size = sum(p.size for p in wrong)
    room = sum(p.installed_bytes or p.size * 3 for p in wrong)
    return PlanStep(
        id="packages.install",
        role="packages",
        summary=f"{' and '.join(words)} of the lock's {len(closure)} packages, in one transaction",
        reason=_why_packages(lock, changes)
        + (f"; the distribution adds what they need ({', '.join(outside)})" if outside else ""),
        risk="reboot" if driver else "none",
        changes=changes,
        download_bytes=size,
        seconds=PER_ROLE_S + size / FETCH_RATE + room / UNPACK_RATE + PER_PACKAGE_S * len(wrong),
        variables={
            "top_level": [p.name for p in closure if p.top_level],
            "closure": {p.name: p.version for p in closure},
            "install": [f"{p.name}={p.version}" for p in wrong],
            "room_bytes": room,
        },
    )


def _why_packages(lock: StackLock, changes: list[Change]) -> str:
    upgrades = [c for c in changes if c.before is not None]
    if not upgrades:
        parts = [f"{name} {version}" for name, version in sorted(lock.resolved.items())]
        return f"the lock wants {', '.join(parts)}"
    first = upgrades[0]
    more = f" and {len(upgrades) - 1} more" if len(upgrades) > 1 else ""
    return f"{first.name} is {first.before}, the lock says {first.after}{more}"


def host_compiler_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """nvcc drives the host's C++ compiler; the nvcc wheels do not bring one."""
    if lock.target.packages != "wheels" or lock.package("nvidia-cuda-nvcc") is None:
        return None
    if any(name in state.packages for name in HOST_COMPILER):
        return None
    return PlanStep(
        id="packages.host_compiler",
        role="packages",
        summary="install g++ from the distribution",
        reason="nvcc compiles the host side of a program with it",
        changes=[Change(kind="package", name="g++", after="the distribution's")],
        seconds=30.0,
        variables={"top_level": [], "closure": {}, "install": ["g++"], "room_bytes": 0},
    )
