"""From what was typed to targets with their locks, refused early when it cannot be meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import SavedPlan
from cudactl.reach.inventory import resolve_targets
from cudactl.reach.targets import Target
from cudactl.workflow.locks import locks_for


def choose(
    names: Sequence[str],
    inventories: Sequence[str],
    limit: str | None,
    lock: Path | None,
    *,
    max_hosts: int | None = None,
    ssh_args: Sequence[str] = (),
    current: bool = True,
) -> tuple[list[Target], dict[str, StackLock]]:
    """Return targets and target name → lock; `current` refuses locks older than their wish.

    Raises:
        CudactlError: LOCK-NOT-CURRENT.
        UsageError: TARGET-…, INVENTORY-…, LOCK-… or TOO-MANY-HOSTS.
    """
    targets = _few_enough(resolve_targets(names, inventories, limit, ssh_args=ssh_args), max_hosts)
    return targets, locks_for(targets, lock, inventories, current=current)


def choose_targets(
    names: Sequence[str],
    inventories: Sequence[str],
    limit: str | None,
    *,
    max_hosts: int | None = None,
    ssh_args: Sequence[str] = (),
) -> list[Target]:
    """Return targets alone, for commands that find the locks on the hosts.

    Raises:
        UsageError: TARGET-…, INVENTORY-… or TOO-MANY-HOSTS.
    """
    return _few_enough(resolve_targets(names, inventories, limit, ssh_args=ssh_args), max_hosts)


def choose_planned(
    saved: SavedPlan,
    names: Sequence[str],
    inventories: Sequence[str],
    limit: str | None,
    *,
    max_hosts: int | None = None,
    ssh_args: Sequence[str] = (),
) -> tuple[list[Target], tuple[str, ...]]:
    """Return the targets of a saved plan (all of it, or those named) and their inventories.

    Raises:
        UsageError: TARGET-…, INVENTORY-…, TOO-MANY-HOSTS or PLAN-OTHER-HOST.
    """
    planned = tuple(p.host for p in saved.plans)
    sources = tuple(inventories) or tuple(saved.inventory)
    wanted = tuple(names) or planned
    # This machine is what no name means, and is called localhost in its plan.
    local = not sources and wanted == ("localhost",)
    targets = resolve_targets(() if local else wanted, sources, limit, ssh_args=ssh_args)
    unknown = [t.name for t in targets if t.name not in planned]
    if unknown:
        raise UsageError(
            "PLAN-OTHER-HOST",
            f"the saved plan holds nothing for {', '.join(unknown)}",
            expected=f"one of {', '.join(sorted(planned))}",
            remedy="plan for that host first",
        )
    return _few_enough(targets, max_hosts), sources


def _few_enough(targets: list[Target], max_hosts: int | None) -> list[Target]:
    if max_hosts is not None and len(targets) > max_hosts:
        raise UsageError(
            "TOO-MANY-HOSTS",
            f"{len(targets)} hosts are meant",
            expected=f"at most {max_hosts} (--max-hosts)",
            remedy="narrow the hosts, or raise --max-hosts",
        )
    return targets
