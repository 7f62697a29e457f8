"""Part of HostState: what cudactl wrote down on the host about its own runs.

All of it lies under /var/lib/cudactl: locks, the packages kept for a way back, a history that only
grows, and, while something changes, what is being done.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cudactl.contracts.base import Contract

Purpose = Literal["provision", "rollback", "uninstall"]


class KeptPackages(Contract):
    """A lock's Debian packages, kept on the host."""

    lock: str
    """Folder name: the lock's short hash."""
    files: list[str]
    """File names, as apt names them."""


class Interrupted(Contract):
    """A run that ended in the middle of its work (/var/lib/cudactl/run.json)."""

    run_id: str
    """Identifier of the run."""
    lock: str
    """Hash of the lock that it was bringing the host to."""
    purpose: Purpose = "provision"
    """What it was for."""
    since: float
    """Unix time of its start, seconds."""
    packages: list[str] = Field(default_factory=list)
    """Packages that its transaction touches, the distribution's among them."""


class Records(Contract):
    """What earlier runs wrote down."""

    locks: list[str] = Field(default_factory=list)
    """Short hashes of the locks that lie on the host."""
    kept: list[KeptPackages] = Field(default_factory=list)
    """Packages that are kept, by lock."""
    begun: str | None = None
    """Hash of the lock that the newest run was for."""
    purpose: Purpose | None = None
    """What the newest run was for."""
    certified_since: bool = False
    """True when the host was certified after the newest run began."""
    certified: list[str] = Field(default_factory=list)
    """Hashes of the locks that the host was certified for, the newest first, each once."""
    interrupted: Interrupted | None = None
    """A run that did not come to its end."""
    brought: dict[str, str | None] = Field(default_factory=dict)
    """Every package of a lock that a run ever brought here → the version that was there before
    cudactl's first run; None where there was none, so that it may be removed again."""
    taken_over: list[str] = Field(default_factory=list)
    """Files of others that were replaced by choice and of which a copy is kept, by their paths."""
