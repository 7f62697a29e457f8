"""From names to targets: hosts, groups and patterns of Ansible inventories, or what ssh would take.

Ansible reads its inventories itself (`ansible.py`); importing it costs about half a second, so that
happens only when an inventory was named.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cudactl.contracts.errors import UsageError
from cudactl.reach.targets import Target, local_target, target_from_name

CONNECTION_VARIABLES = (
    "ansible_host",
    "ansible_port",
    "ansible_user",
    "ansible_ssh_private_key_file",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_connection",
    "ansible_become",
    "ansible_become_password",
    "ansible_become_pass",
    "ansible_python_interpreter",
    "cudactl_lock",
)


def resolve_targets(
    names: Sequence[str],
    inventories: Sequence[str],
    limit: str | None = None,
    *,
    ssh_args: Sequence[str] = (),
) -> list[Target]:
    """Return the machines that `names` mean.

    With an inventory, a name is a host, a group or a pattern of it; without names, all of it.
    Without an inventory, a name is what ssh would take; without names, this machine.

    Raises:
        UsageError: TARGET-UNKNOWN, TARGET-NONE, INVENTORY-MISSING, INVENTORY-BAD, TARGET-BAD-NAME.
    """
    if not inventories:
        if limit:
            raise UsageError(
                "TARGET-NO-INVENTORY",
                f"--limit {limit} without an inventory",
                expected="an inventory that the limit narrows",
                remedy="give one with -i FILE",
            )
        if not names:
            return [local_target()]
        return [target_from_name(name, ssh_args=tuple(ssh_args)) for name in dict.fromkeys(names)]
    return _from_ansible(names, inventories, limit, tuple(ssh_args))


def _from_ansible(
    names: Sequence[str], inventories: Sequence[str], limit: str | None, ssh_args: tuple[str, ...]
) -> list[Target]:
    for source in inventories:
        if "," not in source and not Path(source).exists():
            raise UsageError(
                "INVENTORY-MISSING",
                f"{source}: no such inventory",
                expected="an Ansible inventory file, folder or plugin configuration",
                remedy="check the path given with -i (`cudactl lab status` prints the lab's)",
            )
    from cudactl.reach.ansible import read

    ansible = read(inventories)
    inventory = ansible.inventory
    known = set(inventory.hosts) | set(inventory.groups)
    for name in names:
        if name not in known and not inventory.get_hosts(pattern=name):
            close = difflib.get_close_matches(name, sorted(known - {"all", "ungrouped"}), n=3)
            hosts = sorted(inventory.hosts)
            raise UsageError(
                "TARGET-UNKNOWN",
                f"{name!r} is no host, group or pattern of {', '.join(inventories)}",
                expected=f"one of {', '.join(hosts[:8])}{' …' if len(hosts) > 8 else ''}"
                if hosts
                else "an inventory with hosts in it",
                remedy=f"did you mean {' or '.join(close)}?" if close else "check the spelling",
            )
    if limit:
        inventory.subset(limit)
    pattern = ":".join(names) if names else "all"
    hosts = inventory.get_hosts(pattern=pattern)
    if not hosts:
        raise UsageError(
            "TARGET-NONE",
            f"no host is left of {', '.join(inventories)}"
            + (f" under --limit {limit}" if limit else ""),
            expected="at least one host",
            remedy=f"see what is there: ansible-inventory -i {inventories[0]} --graph",
        )
    return [
        _target(str(host.name), ansible.variables(host, CONNECTION_VARIABLES), ssh_args)
        for host in hosts
    ]


def _target(name: str, values: dict[str, Any], ssh_args: tuple[str, ...]) -> Target:
    common = shlex.split(str(values.get("ansible_ssh_common_args") or ""))
    extra = shlex.split(str(values.get("ansible_ssh_extra_args") or ""))
    password = values.pop("ansible_become_password", values.pop("ansible_become_pass", None))
    python = str(values.get("ansible_python_interpreter") or "python3")
    port = values.get("ansible_port")
    become = values.get("ansible_become")
    user = values.get("ansible_user")
    key = values.get("ansible_ssh_private_key_file")
    return Target(
        name=name,
        connection="local" if values.get("ansible_connection") == "local" else "ssh",
        address=str(values.get("ansible_host") or name),
        port=int(port) if port is not None else None,
        user=str(user) if user else None,
        identity=str(Path(str(key)).expanduser()) if key else None,
        ssh_args=(*common, *extra, *ssh_args),
        # Changes need root: an inventory that says nothing means sudo, as people have it.
        become=_truth(become) if become is not None else user != "root",
        python="python3" if python.startswith("auto") else python,
        from_inventory=True,
        become_password=str(password) if password is not None else None,
        variables=values,
    )


def _truth(value: Any) -> bool:  # noqa: ANN401 - YAML may hold anything
    return str(value).lower() in ("true", "yes", "on", "1")
