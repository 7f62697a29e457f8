"""A lock as apt preferences: the pins that hold every locked package at its version.

One implementation for two readers: the repository role places this text on hosts, `stack export`
hands it to whoever installs by other means. The same lock always gives the same bytes.
"""

from __future__ import annotations

from cudactl.contracts.lock import LockedPackage, StackLock

GENERATED = "# Written by cudactl from the lock {lock}; changes here are overwritten.\n"
# Above 1000, so that apt also goes down to the locked version when something newer is installed.
PIN_PRIORITY = 1001


def apt_packages(lock: StackLock) -> list[LockedPackage]:
    """Return the lock's packages that come from an apt source, in the lock's order."""
    names = {source.name for source in lock.sources if source.kind == "apt"}
    return [package for package in lock.packages if package.source in names]


def apt_preferences(lock: StackLock) -> str:
    """Return the text of a file in /etc/apt/preferences.d/; empty for a lock without apt."""
    stanzas = [
        f"Package: {p.name}\nPin: version {p.version}\nPin-Priority: {PIN_PRIORITY}\n"
        for p in apt_packages(lock)
    ]
    if not stanzas:
        return ""
    return GENERATED.format(lock=lock.short_hash) + "\n" + "\n".join(stanzas)
