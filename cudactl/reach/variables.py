"""What an inventory says of hosts beyond how they are reached: groups and variables by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def host_variables(
    inventories: Sequence[str], hosts: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return host → those of the named variables that it has, templates filled in.

    `group_names` is a variable, too (Ansible's own): the groups that a host is in.

    Raises:
        UsageError: INVENTORY-BAD.
    """
    if not inventories:
        return {host: {} for host in hosts}
    from cudactl.reach.ansible import read

    ansible = read(inventories)
    found = {}
    for name in hosts:
        host = ansible.inventory.get_host(name)
        found[name] = {} if host is None else ansible.variables(host, names)
    return found
