"""Policy and Certificate: what is judged against, and what the judgement says.

`Policy` is compiled by `certify/` from lock and catalogue to plain JSON; the judge (standard
library only) applies it to evidence and returns the certificate's content.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cudactl.contracts.base import Contract

Status = Literal["PASS", "WARN", "FAIL", "ERROR", "SKIP", "NO_REFERENCE", "WAIVED"]
Level = Literal["none", "linkage", "execution", "performance", "simulated"]


class Expectation(Contract):
    """What one check must show."""

    check: str
    """Check id."""
    expect: dict[str, Any] = Field(default_factory=dict)
    """Expected values, in the check's own words."""
    source: str
    """Where the expectation comes from: the lock, a catalogue row, a default."""
    skip: str | None = None
    """Declared reason why the check does not apply; the only way a check is skipped."""


class Policy(Contract):
    """Expectations for one lock, as plain data."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    lock_hash: str
    """The lock it was compiled from."""
    resolved: dict[str, str]
    """Component → exact version, for display."""
    allowed: list[dict[str, str]] = Field(default_factory=list)
    """Overridden refusals (code, reason), shown on the certificate."""
    valid_s: int = 7 * 24 * 3600
    """How long a certificate stands, seconds."""
    legs: list[str]
    """Legs that must have run."""
    request: dict[str, Any]
    """What the probe is asked to measure: where to look, sonames, deadlines in seconds."""
    expectations: list[Expectation]
    """One per check."""


class Verdict(Contract):
    """One check, judged."""

    check: str
    """Check id."""
    leg: str
    """Leg it belongs to."""
    status: Status
    """The verdict."""
    measured: str
    """What was measured, short."""
    expected: str
    """What was expected, short."""
    reason: str
    """Why this status, one sentence."""


class Certificate(Contract):
    """What a machine was shown to be, and to what degree."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    host: str
    """Name it was asked for under."""
    hostname: str
    """The machine's own name."""
    machine_id: str | None
    """/etc/machine-id."""
    os: str
    """Operating system, with "look-alike" where it is one."""
    kernel: str
    """Running kernel."""
    boot_id: str | None
    """Boot it was taken in."""
    driver: str | None
    """Loaded driver's version; None when no driver is loaded."""
    gpus: list[str]
    """GPUs seen, PCI address and device id (UUIDs once a driver answers)."""
    lock_hash: str
    """Lock it is bound to."""
    resolved: dict[str, str]
    """Component → exact version of the lock."""
    level: Level
    """What was shown; `simulated` whenever anything simulated was touched."""
    level_reason: str
    """Why this level and no higher, one sentence."""
    verdict: Status
    """The whole, by the worst check."""
    verdicts: list[Verdict]
    """Every check."""
    libraries: list[dict[str, Any]]
    """Vendor libraries that were loaded: soname, path, sha256, package, simulated."""
    allowed: list[dict[str, str]]
    """Overridden refusals."""
    issued: float
    """Unix time, seconds."""
    expires: float
    """Unix time, seconds."""
    evidence_sha256: str
    """sha256 of the evidence's canonical JSON."""
    tool: str
    """cudactl version that judged."""
