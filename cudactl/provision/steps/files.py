"""Files that cudactl places: what they should hold, and which of them differ on a host.

Pure: the same lock gives the same bytes, so a plan can compare hashes with what the probe found.
Every file is named cudactl-*, the only names cudactl owns on a host.
"""

from __future__ import annotations

import hashlib

from cudactl.contracts.base import Contract
from cudactl.contracts.plan import Change
from cudactl.contracts.state import HostState


class DesiredFile(Contract):
    """One file as it should be."""

    path: str
    """Absolute path."""
    content: str
    """Its text."""
    mode: str = "0644"
    """Permissions, octal."""

    @property
    def sha256(self) -> str:
        """sha256 of the content, to compare with the probe's."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def file_changes(files: list[DesiredFile], state: HostState) -> list[Change]:
    """Return one change per file that is not on the host, or differs there."""
    there = {f.path: f.sha256 for f in state.files}
    return [
        Change(kind="file", name=f.path, before=there.get(f.path), after=f.sha256)
        for f in files
        if there.get(f.path) != f.sha256
    ]


def file_variables(files: list[DesiredFile], changes: list[Change]) -> list[dict[str, str]]:
    """Return what a role needs of the files that change."""
    wanted = {c.name for c in changes}
    return [f.model_dump(mode="json") for f in files if f.path in wanted]
