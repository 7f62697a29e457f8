"""SpecVerdict: what the catalogue says of a wish, before any package index is asked.

A finding is a statement with a stable code, the fact behind it and where that fact was read. A
refusal names the smallest set of wishes that cannot stand together and the nearest wishes that can.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cudactl.contracts.base import Contract
from cudactl.contracts.lock import Component

Severity = Literal["refused", "flagged", "note"]
Judgement = Literal["ok", "flagged", "refused"]


class SpecFact(Contract):
    """One fact behind a finding."""

    text: str
    """The fact, one sentence."""
    source: str
    """Where it was read."""


class NearestSpec(Contract):
    """A wish that would work: one thing changed."""

    key: str
    """Key of the spec, e.g. "driver.branch"."""
    value: str | None
    """What to write there; None: remove it."""
    text: str
    """The change, in words."""


class SpecFinding(Contract):
    """One thing that is to be said about a wish."""

    code: str
    """Stable code, e.g. "STACK-GPU-TOOLKIT"."""
    severity: Severity
    """refused: cannot stand; flagged: installs, but is not what it seems; note: good to know."""
    text: str
    """What was found, one sentence."""
    wishes: list[str] = Field(default_factory=list)
    """The wishes that it is about, as written, e.g. `cuda: 13.0`."""
    facts: list[SpecFact]
    """Why: at least one fact with its source."""
    nearest: list[NearestSpec] = Field(default_factory=list)
    """Refusals: single changes that would work, best first."""
    remedy: str
    """What to do, one sentence."""
    allowed: str | None = None
    """The reason given, where a refusal was overridden with --allow."""

    @property
    def source(self) -> str:
        """Sources of all facts."""
        return "; ".join(dict.fromkeys(fact.source for fact in self.facts))


class SpecVerdict(Contract):
    """What the catalogue says of one wish."""

    verdict: Judgement
    """ok, flagged (installs, but something is not what it seems) or refused."""
    findings: list[SpecFinding]
    """Refusals first, then flags, then notes."""
    resolved: dict[Component, str] = Field(default_factory=dict)
    """Component → the version that the catalogue would choose; empty when refused."""
    driver_flavour: Literal["open", "proprietary"] | None = None
    """Kernel module flavour that would be chosen."""
