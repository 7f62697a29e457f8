"""What several subjects ask of a plan: does it touch the driver, and whose driver is it?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import PlanStep


def installs_driver(lock: StackLock) -> bool:
    """Return whether the lock brings a driver: neither none nor the one that is there."""
    return bool(lock.of("driver"))


def changes_driver(lock: StackLock, steps: list[PlanStep]) -> bool:
    """Return whether the plan replaces the driver or what it runs with."""
    names = {package.name for package in lock.of("driver")}
    return any(
        step.risk in ("reboot", "drain")
        or step.role == "driver"
        or any(change.kind == "package" and change.name in names for change in step.changes)
        for step in steps
    )
