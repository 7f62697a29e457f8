"""From what was typed to targets with their locks, refused early when it cannot be meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import StackLock
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
) -> tuple[list[Target], dict[str, StackLock]]:
    """Return targets and target name → lock.

    Raises:
        UsageError: TARGET-…, INVENTORY-…, LOCK-… or TOO-MANY-HOSTS.
    """
    targets = resolve_targets(names, inventories, limit, ssh_args=ssh_args)
    if max_hosts is not None and len(targets) > max_hosts:
        raise UsageError(
            "TOO-MANY-HOSTS",
            f"{len(targets)} hosts are meant",
            expected=f"at most {max_hosts} (--max-hosts)",
            remedy="narrow the hosts, or raise --max-hosts",
        )
    return targets, locks_for(targets, lock, inventories)
