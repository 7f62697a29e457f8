"""Rollout: many hosts to their locks, one after the other, within what may be down at once.

A rollout is a request that never changes and a journal that only grows; everything else that can be
said of it is computed from the two. Both lie on the controller's disk, so that a controller which
was killed is only late.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cudactl.contracts.base import Contract
from cudactl.contracts.certificate import Tier
from cudactl.contracts.plan import Choices

Engine = Literal["none", "slurm", "kubernetes"]
OnFailure = Literal["hold", "continue", "rollback"]
Phase = Literal[
    "taken", "draining", "drained", "provisioning", "certifying", "rolling-back", "returning"
]
"""Where in its work a host is; "returning" means: certified, and on its way back to service."""
Outcome = Literal["certified", "unchanged", "rolled-back", "failed", "skipped", "busy"]
"""How a host ended. unchanged: was right already; busy: never became free; skipped: not ours."""
HostStatus = Literal[
    "waiting",
    "running",
    "certified",
    "unchanged",
    "rolled-back",
    "failed",
    "skipped",
    "busy",
    "left",
]
"""An outcome, or waiting, running, and left: the rollout was aborted before the host was taken."""
RolloutStatus = Literal["running", "pausing", "paused", "held", "aborting", "aborted", "finished"]
Event = Literal[
    "opened", "surveyed", "taken", "phase", "deferred", "done", "retry", "paused", "held",
    "aborted", "finished",
]  # fmt: skip


class RolloutOptions(Contract):
    """How careful a rollout is."""

    canary: int = Field(default=1, ge=0)
    """How many hosts must be certified before any other is taken."""
    canaries: list[str] = Field(default_factory=list)
    """Hosts that are the canaries; empty: the first ones that can be taken."""
    max_down: str = Field(default="1", pattern=r"^([1-9][0-9]*|[1-9][0-9]?%|100%)$")
    """Hosts that may be down at once, in each group: a number, or a share (at least one host)."""
    group_by: str | None = None
    """Inventory variable whose values are the groups; None: all hosts are one group."""
    on_failure: OnFailure = "hold"
    """What a failed host means for the others; rollback: for itself, too."""
    max_failures: int | None = Field(default=None, ge=1)
    """No host is taken after this many failures; None: 1, and no limit under `continue`."""
    tier: Tier = "smoke"
    """How much is measured before a host is given back."""
    engine: Literal["auto", "none", "slurm", "kubernetes"] = "auto"
    """Who drains hosts and returns them; auto: whoever owns the host."""
    include_drained: bool = False
    """Take hosts that somebody else drained, too; they stay drained."""
    drain_timeout_s: float = Field(default=3600.0, gt=0)
    """How long a host may take to become free before it is put back into the queue, seconds."""
    poll_s: float = Field(default=5.0, gt=0)
    """How often it is looked whether a host is free, seconds."""
    deferrals: int = Field(default=3, ge=0)
    """How often a host is put back before it is left alone."""
    retry_after_s: float = Field(default=300.0, ge=0)
    """How long a host that was put back is left alone, seconds."""
    delete_emptydir: bool = False
    """Kubernetes: evict pods whose local data (emptyDir) is lost by that, too."""
    choices: Choices = Field(default_factory=Choices)
    """What was decided for every host beside its lock, such as whether it may reboot."""
    forks: int = Field(default=20, ge=1)
    """Hosts worked on at once, whatever the budget allows."""

    @property
    def failures_allowed(self) -> int | None:
        """Failures at which no further host is taken; None: any number is borne."""
        if self.max_failures is not None:
            return self.max_failures
        return None if self.on_failure == "continue" else 1


class RolloutHost(Contract):
    """One host of a rollout, as it was decided when the rollout started."""

    name: str
    """Inventory name, or what ssh would take."""
    lock: str
    """Hash of its lock."""
    groups: list[str] = Field(default_factory=list)
    """Groups whose budget it counts in."""
    slurm_node: str | None = None
    """Its name in Slurm, where the inventory says one."""
    kubernetes_node: str | None = None
    """Its name in Kubernetes, where the inventory says one."""


class RolloutRequest(Contract):
    """What was asked for; never changed after the start."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{3,40}$")
    """Name of the rollout; also what a drained node's reason names."""
    created: float
    """Unix time, seconds."""
    who: str
    """User who started it."""
    controller: str
    """Host name of the controller."""
    inventories: list[str]
    """Inventories, absolute; where hosts are reached is read from them again on every resume."""
    ssh_args: list[str] = Field(default_factory=list)
    """Further arguments for ssh."""
    options: RolloutOptions
    """How careful it is."""
    hosts: list[RolloutHost]
    """Hosts, in the order in which they are taken."""
    locks: dict[str, dict[str, Any]]
    """Lock hash → the lock itself."""


class JournalRecord(Contract):
    """One line of a rollout's journal."""

    seq: int
    """Number of the record, from 1, without gaps."""
    at: float
    """Unix time, seconds."""
    event: Event
    """What happened."""
    host: str | None = None
    """Host it happened to."""
    phase: Phase | None = None
    """phase: what the host begins to do."""
    outcome: Outcome | None = None
    """done: how the host ended."""
    code: str | None = None
    """Stable code of the reason, where there is one."""
    text: str = ""
    """What happened, one sentence for people."""
    remedy: str = ""
    """What to do about it."""
    down: bool | None = None
    """surveyed and done: whether the host is out of service now."""
    engine: Engine | None = None
    """surveyed: who drains it."""
    node: str | None = None
    """surveyed: what the engine calls it."""
    level: str | None = None
    """done: level of its certificate."""
    until: float | None = None
    """deferred: not before this Unix time, seconds."""
    pid: int | None = None
    """opened: the controller's process."""
    who: str | None = None
    """opened, paused, aborted: who did it, and where."""
    max_down: str | None = None
    """opened: a budget that replaces the request's."""


class RolloutHostState(Contract):
    """What the journal says of one host."""

    name: str
    """The host."""
    groups: list[str]
    """Groups whose budget it counts in."""
    status: HostStatus = "waiting"
    """Where it stands."""
    phase: Phase | None = None
    """What it does, while it runs."""
    down: bool = False
    """Out of service, by us or before us: it counts against the budget."""
    found_down: bool = False
    """Out of service when it was last looked at, before it was taken."""
    engine: Engine | None = None
    """Who drains it; None until it was asked."""
    node: str | None = None
    """What the engine calls it."""
    touched: bool = False
    """Something may have been changed on it since it was last certified."""
    deferred: int = 0
    """How often it was put back."""
    until: float = 0.0
    """Not before this Unix time, seconds."""
    code: str | None = None
    """Code of the last thing that happened."""
    text: str = ""
    """The last thing that happened, for people."""
    remedy: str = ""
    """What to do about it."""
    level: str | None = None
    """Level of the certificate that it ended with."""
    begun: float | None = None
    """Unix time when it was last taken, seconds."""
    ended: float | None = None
    """Unix time when it ended, seconds."""


class RolloutState(Contract):
    """Everything that a request and its journal say."""

    id: str
    """The rollout."""
    status: RolloutStatus
    """Where it stands, as the journal tells; whether a controller lives, only its lock tells."""
    max_down: str
    """The budget that counts now."""
    hosts: dict[str, RolloutHostState]
    """Hosts in the request's order."""
    failures: int = 0
    """Hosts that failed since the rollout was last resumed."""
    code: str | None = None
    """Why it is held."""
    text: str = ""
    """Why it is held or paused, for people."""
    remedy: str = ""
    """What to do about it."""
    records: int = 0
    """Records read."""


class RolloutController(Contract):
    """Who drives a rollout just now (beside the file lock that proves it)."""

    who: str
    """User."""
    controller: str
    """Host name."""
    pid: int
    """Process."""
    since: float
    """Unix time, seconds."""


class RolloutReport(Contract):
    """What `rollout … --json` says."""

    id: str
    """The rollout."""
    status: RolloutStatus | Literal["interrupted"]
    """Where it stands; interrupted: its controller is gone, and resuming goes on."""
    controller: RolloutController | None
    """Who drives it just now; None: nobody."""
    counts: dict[str, int]
    """Host status → hosts."""
    hosts: list[RolloutHostState]
    """Every host, in the request's order."""
    code: str | None = None
    """Why it is held."""
    text: str = ""
    """Why it is held or paused, for people."""
    remedy: str = ""
    """What to do about it."""
    started: float
    """Unix time of the start, seconds."""
    folder: str
    """Where request, journal, logs and report lie."""
