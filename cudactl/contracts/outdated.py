"""Outdated: what about a lock is no longer good, as of one day."""

from __future__ import annotations

from typing import Literal

from cudactl.contracts.base import Contract
from cudactl.contracts.errors import Exit, worst
from cudactl.contracts.lock import Component

Level = Literal["bad", "soft", "unmeasured", "info"]


class StaleFinding(Contract):
    """One thing about a lock that is no longer as it was, or was never known."""

    code: str
    """Stable code."""
    level: Level
    """bad: exit code 3; soft: 5 under --strict; unmeasured: 4; info: good to know."""
    subject: str
    """What it is about: a package, a component, the lock."""
    component: Component | None = None
    """Component it belongs to."""
    found: str
    """What was found, one sentence."""
    expected: str = ""
    """What was expected."""
    remedy: str = ""
    """What to do."""
    source: str = ""
    """Where the fact was read, and when; empty where an index said it just now."""


class Outdated(Contract):
    """What about a lock is no longer good."""

    lock: str
    """Hash of the lock."""
    day: str
    """Day it was judged by, ISO 8601."""
    catalogue: str
    """Hash of the catalogue it was judged by."""
    index_asked: bool
    """False under --offline, and where the index could not be reached."""
    findings: list[StaleFinding]
    """Worst first."""

    def exit_code(self, *, strict: bool = False) -> Exit:
        """Return the exit code that the findings come to."""
        of = {"bad": Exit.FAIL, "unmeasured": Exit.UNMEASURED}
        if strict:
            of["soft"] = Exit.FLAGGED
        return worst([of.get(finding.level, Exit.PASS) for finding in self.findings])
