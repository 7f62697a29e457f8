"""LockDiff: what differs between two locks, and what that means for whoever carries them."""

from __future__ import annotations

from typing import Literal

from cudactl.contracts.base import Contract
from cudactl.contracts.lock import Component

Kind = Literal["added", "removed", "newer", "older", "rebuilt", "other-build", "changed", "same"]
Level = Literal["alarm", "reboot", "rebuild", "review"]


class FieldChange(Contract):
    """One line of a lock that says something else."""

    name: str
    """What, e.g. "os" or a source's name."""
    before: str | None
    """What the first lock says."""
    after: str | None
    """What the second lock says."""


class PackageChange(Contract):
    """One package that differs."""

    name: str
    """Package name."""
    kind: Kind
    """newer and older go by version; rebuilt: the same file name with another hash; other-build:
    the same version for another architecture or interpreter."""
    before: str | None
    """Version in the first lock."""
    after: str | None
    """Version in the second lock."""
    before_sha256: str | None = None
    """sha256 in the first lock."""
    after_sha256: str | None = None
    """sha256 in the second lock."""
    bytes_before: int = 0
    """Size of the file, bytes."""
    bytes_after: int = 0
    """Size of the file, bytes."""


class ComponentChange(Contract):
    """One component, with its packages that differ."""

    component: Component
    """Which."""
    kind: Kind
    """What happens to its version."""
    before: str | None
    """Version in the first lock."""
    after: str | None
    """Version in the second lock."""
    packages: list[PackageChange]
    """Packages that differ, by name."""


class Risk(Contract):
    """Something that the difference means."""

    code: str
    """Stable code."""
    level: Level
    """alarm: do not go on before you know why; reboot: work on the GPU has to stop; rebuild:
    something must be built again; review: read it."""
    text: str
    """One sentence."""


class LockDiff(Contract):
    """What differs between two locks."""

    before: str
    """Hash of the first lock."""
    after: str
    """Hash of the second lock."""
    target: list[FieldChange]
    """What the locks are for, where it differs; base image too."""
    components: list[ComponentChange]
    """Components that differ, in the order of a lock's own table."""
    flavour: FieldChange | None = None
    """Driver's kernel module flavour, where it differs."""
    sources: list[FieldChange]
    """Addresses that packages come from, by source."""
    keys: list[FieldChange]
    """Fingerprints of the keys that sign the indexes, by source."""
    external: list[FieldChange]
    """What the distribution must bring, and no longer must."""
    allowed: list[FieldChange]
    """Overridden refusals, with their reason."""
    wishes: list[FieldChange]
    """Keys of the spec that differ."""
    risks: list[Risk]
    """What it means, worst first."""
    download_before: int
    """Bytes of all files of the first lock."""
    download_after: int
    """Bytes of all files of the second lock."""
    to_fetch: int
    """Bytes of the files that only the second lock has."""
    installed_before: int
    """Installed bytes of the first lock, as far as the index said."""
    installed_after: int
    """Installed bytes of the second lock, as far as the index said."""

    @property
    def different(self) -> bool:
        """True when anything differs that the locks promise."""
        return bool(
            self.before != self.after
            or self.target
            or self.components
            or self.flavour
            or self.sources
            or self.keys
            or self.external
            or self.allowed
        )
