"""Plan: what has to change on one host, step by step, and why.

A plan is a pure function of lock, state and the caller's choices. Its hash covers host, lock,
choices and steps: a saved plan is applied only when planning again gives the same hash.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cudactl.contracts.base import Contract, canonical_hash
from cudactl.contracts.state_records import Purpose

Role = Literal[
    "preflight",
    "repository",
    "packages",
    "driver",
    "fabric",
    "environment",
    "container_runtime",
    "wheel_stack",
    "frameworks",
    "protection",
    "monitor",
    "reboot",
    "uninstall",
]
Risk = Literal["none", "restart", "reboot", "drain"]


class Choices(Contract):
    """What the caller of one run decides, beside the lock; part of what is approved."""

    reboot: Literal["auto", "never", "always"] = "auto"
    """auto: reboot when the state needs it and nothing smaller helps; never: say so instead;
    always: reboot whenever anything changes."""
    take_over: bool = False
    """Accept what is in the way and not ours: replace it, keeping a copy, instead of refusing."""
    purpose: Purpose = "provision"
    """provision: to a lock; rollback: back to the last one that was certified; uninstall: away."""
    purge: bool = False
    """uninstall: configuration files, certificates and history go too."""


class Change(Contract):
    """One thing that becomes different."""

    kind: Literal["package", "file", "service", "folder", "hold", "module", "link", "boot"]
    """What sort of thing."""
    name: str
    """Package name, path, or unit."""
    before: str | None = None
    """Version or hash now; None when it is not there."""
    after: str | None = None
    """Version or hash afterwards; None when it is removed."""


class PlanStep(Contract):
    """One role's work on the host."""

    id: str
    """Stable name, unique in the plan, e.g. "packages.install"."""
    role: Role
    """Ansible role that does it."""
    summary: str
    """What happens, one line."""
    reason: str
    """Why it is needed."""
    risk: Risk = "none"
    """What it interrupts."""
    changes: list[Change]
    """Everything that becomes different."""
    download_bytes: int = 0
    """Bytes fetched."""
    seconds: float = 0.0
    """Rough time, seconds (an estimate from sizes, not a promise)."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """What the role reads: exact versions, file contents, sources."""


class Finding(Contract):
    """Something the reader should know; a refusal when `refuses` is set."""

    code: str
    """Stable code."""
    found: str
    """What was found."""
    expected: str = ""
    """What was expected."""
    remedy: str = ""
    """What to do."""
    refuses: bool = False
    """True: the plan may not be applied."""


class Plan(Contract):
    """The difference between a lock and a host."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    host: str
    """Inventory name of the host."""
    lock_hash: str
    """Hash of the lock."""
    state_hash: str
    """Hash of what the plan read from the host's state."""
    choices: Choices = Field(default_factory=Choices)
    """What the caller decided for this run."""
    steps: list[PlanStep]
    """Steps, in the order they are done; empty when there is nothing to do."""
    findings: list[Finding] = Field(default_factory=list)
    """Notes and refusals."""

    @property
    def hash(self) -> str:
        """sha256 over host, lock, choices and steps: what is approved."""
        return canonical_hash(
            {
                "host": self.host,
                "lock": self.lock_hash,
                "choices": self.choices.model_dump(mode="json"),
                "steps": [s.model_dump(mode="json") for s in self.steps],
            }
        )

    @property
    def refusals(self) -> list[Finding]:
        """The findings that forbid applying the plan."""
        return [f for f in self.findings if f.refuses]

    @property
    def empty(self) -> bool:
        """True when there is nothing to do."""
        return not self.steps


class SavedPlan(Contract):
    """`plan host -o FILE`: plans of several hosts with the locks they were made from."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    plans: list[Plan]
    """One per host."""
    locks: dict[str, dict[str, Any]]
    """Lock hash → the lock itself."""
    inventory: list[str] = Field(default_factory=list)
    """Inventory files the hosts came from."""
