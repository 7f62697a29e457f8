"""What several apt steps ask of a lock and a state."""

from __future__ import annotations

from cudactl.contracts.lock import LockedPackage, StackLock
from cudactl.contracts.state import HostState


def locked_debs(lock: StackLock) -> list[LockedPackage]:
    """Return the lock's Debian packages."""
    names = {s.name for s in lock.sources if s.kind == "apt"}
    return [p for p in lock.packages if p.source in names]


def installed_version(state: HostState, package: LockedPackage) -> str | None:
    """Return the version of a package on the host, or None."""
    if package.name in state.packages:
        return state.packages[package.name]
    return state.packages.get(f"{package.name}:{package.arch}")


def deb_architecture(lock: StackLock) -> str:
    """Return dpkg's name of the lock's architecture."""
    return {"x86_64": "amd64", "sbsa": "arm64"}[lock.target.arch]
