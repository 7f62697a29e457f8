"""Uninstall: plan to take away what cudactl put on hosts, as their own records say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices
from cudactl.contracts.state import HostState
from cudactl.reach.fanout import run_probe
from cudactl.reach.targets import Target
from cudactl.workflow.locks import locks_for
from cudactl.workflow.planning import (
    PATIENCE_S,
    PlannedHost,
    plan_hosts,
    read_state,
    same_choices,
)
from cudactl.workflow.rollback import read_locks_on


def plan_uninstalls(
    targets: Sequence[Target],
    inventories: Sequence[str] = (),
    *,
    lock: Path | None = None,
    forks: int = 30,
    purge: bool = False,
) -> list[PlannedHost]:
    """Return every host's plan to be rid of cudactl's work; nothing is changed.

    Args:
        targets: The hosts.
        inventories: Where they came from, for a lock that the inventory names.
        lock: Their lock, for hosts that keep none (an older cudactl provisioned them).
        forks: Hosts at once.
        purge: Certificates and history go too.

    Raises:
        CudactlError: why a host does not answer, or what reading a lock finds.
    """
    locks: dict[str, StackLock] = {}
    if lock is None:
        begun: dict[str, str] = {}
        for answer in run_probe(targets, ["state"], forks=forks):
            state, error = read_state(answer)
            if error is not None:
                raise error
            if state is not None and (found := _newest(state)) is not None:
                begun[answer.target.name] = found
        locks = read_locks_on([t for t in targets if t.name in begun], begun, forks)
    rest = [t for t in targets if t.name not in locks]
    locks.update(locks_for(rest, lock, inventories) if rest else {})
    choices = same_choices(targets, Choices(purpose="uninstall", purge=purge))
    return plan_hosts(targets, locks, forks=forks, choices=choices, patience_s=PATIENCE_S)


def _newest(state: HostState) -> str | None:
    begun = state.records.begun
    return begun if begun is not None and begun[:12] in state.records.locks else None
