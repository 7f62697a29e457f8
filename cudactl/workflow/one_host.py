"""Read one machine, for jobs that are about exactly one."""

from __future__ import annotations

from collections.abc import Sequence

from cudactl.contracts.errors import UsageError
from cudactl.contracts.state import HostState
from cudactl.reach.fanout import run_probe
from cudactl.reach.inventory import resolve_targets
from cudactl.reach.targets import Target
from cudactl.workflow.planning import read_state

LOCAL = ("local", "localhost")
"""Names that mean this machine, where there is no inventory that has its own."""


def read_one_host(
    name: str | None, inventories: Sequence[str] = (), ssh_args: Sequence[str] = ()
) -> tuple[HostState, Target]:
    """Return a host's state; no name means this machine, or an inventory's only host.

    Raises:
        UsageError: TARGET-…, INVENTORY-…, TARGET-SEVERAL.
        UnreachableError: HOST-…, PROBE-UNREADABLE: why it does not answer.
    """
    names = [name] if name is not None and (name not in LOCAL or inventories) else []
    targets = resolve_targets(names, inventories, ssh_args=ssh_args)
    if len(targets) > 1:
        raise UsageError(
            "TARGET-SEVERAL",
            f"{name or ', '.join(inventories)} means {len(targets)} hosts",
            expected="one host",
            remedy=f"name one of them, such as {targets[0].name}",
        )
    state, error = read_state(run_probe(targets, ["state"])[0])
    if error is not None:
        raise error
    assert state is not None
    return state, targets[0]
