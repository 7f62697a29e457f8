"""What `doctor` says of one machine: causes first, each with the symptoms that follow from it.

Made by `cudactl/judge/doctor` (plain dictionaries there), printed by the command line.
"""

from __future__ import annotations

from typing import Literal

from cudactl.contracts.base import Contract


class Consequence(Contract):
    """A finding that follows from another."""

    code: str
    """Stable code."""
    cause: str
    """What it would mean by itself, one line."""
    seen: list[str]
    """What was seen of it."""


class DoctorFinding(Contract):
    """One likely cause."""

    code: str
    """Stable code, "DOCTOR-…"; `doctor --explain CODE` tells more."""
    severity: Literal["broken", "risk"]
    """broken: something does not work now; risk: it works, and may not for long or for everybody.
    The worst of the finding and of what follows from it."""
    cause: str
    """The likely cause, one line."""
    confidence: Literal["certain", "likely", "possible"]
    """How sure that is."""
    seen: list[str]
    """What was seen, with the values."""
    where: list[str]
    """Where in the examination."""
    remedy: list[str]
    """What to do, in this order; commands where there are some."""
    considered: list[str]
    """What else it might be."""
    explains: list[Consequence]
    """Findings that follow from this one."""


class Unread(Contract):
    """A corner that could not be looked at."""

    what: str
    """What it is."""
    why: str
    """Why it was not read."""
    needs: str
    """The privilege that it needs."""


class Diagnosis(Contract):
    """What doctor says of one machine."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    hostname: str
    """The machine's own name."""
    taken_at: float
    """Unix time of the examination, seconds."""
    verdict: Literal["ok", "risk", "broken"]
    """The worst of the findings."""
    findings: list[DoctorFinding]
    """Causes, in the order in which they should be tended to."""
    unread: list[Unread]
    """What was not looked at: nothing is known of it."""
    looked_at: str
    """GPUs, driver and kernel, one line."""
