"""How people and tools get to a lab's hosts: known_hosts, ssh_config, inventory, lab.json.

Written whole after every change, from what Docker says there is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cudactl.lab.layout import Folder, LabHost, MirrorState

HEADER = "# Written by cudactl lab; gone with `cudactl lab down`.\n"
USER = "ops"
"""Login that the files name: sudo without a password. root and guest (no sudo) take the key too."""


def write_access(folder: Folder, hosts: Sequence[LabHost], mirror: MirrorState | None) -> None:
    """Write everything."""
    folder.write(
        folder.known_hosts,
        "".join(f"{host.name},{host.address} {host.host_key}\n" for host in hosts),
    )
    folder.write(folder.ssh_config, HEADER + "".join(_ssh_config(folder, host) for host in hosts))
    folder.write(folder.inventory, HEADER + yaml.safe_dump(_inventory(folder, hosts)))
    record = {
        "lab": folder.lab_id,
        "hosts": {
            host.name: {
                "base": host.base,
                "look_alike": host.look_alike,
                "address": host.address,
                "container": host.container,
            }
            for host in hosts
        },
        "mirror": mirror
        and {
            "url": mirror.url,
            "key": str(mirror.key_file),
            "fingerprint": mirror.fingerprint,
            "pid": mirror.pid,
        },
    }
    folder.write(folder.record, json.dumps(record, indent=2) + "\n")


def _ssh_config(folder: Folder, host: LabHost) -> str:
    return (
        f"\nHost {host.name}\n"
        f"  HostName {host.address}\n"
        f"  User {USER}\n"
        f"  IdentityFile {_quoted(folder.key)}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {_quoted(folder.known_hosts)}\n"
        "  StrictHostKeyChecking yes\n"
        "  ConnectTimeout 10\n"
    )


def _inventory(folder: Folder, hosts: Sequence[LabHost]) -> dict[str, Any]:
    known = f"UserKnownHostsFile={_quoted(folder.known_hosts)}"
    if " " in known:
        known = f"'{known}'"
    return {
        "lab": {
            "hosts": {host.name: {"ansible_host": host.address} for host in hosts},
            "vars": {
                "ansible_user": USER,
                "ansible_become": True,
                "ansible_ssh_private_key_file": str(folder.key),
                "ansible_ssh_common_args": f"-o {known} -o StrictHostKeyChecking=yes "
                "-o IdentitiesOnly=yes",
                "ansible_python_interpreter": "/usr/bin/python3",
            },
        }
    }


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)
