"""Target: one machine and how to get to it, whoever described it.

The description comes from an Ansible inventory, from a bare name on the command line, or from
nobody (this machine). ssh itself reads ~/.ssh/config, agents, bastions and known hosts, so what
works for `ssh NAME` works here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from cudactl.contracts.errors import UsageError

ADDRESS = re.compile(
    r"^(?:(?P<user>[A-Za-z0-9_.-]+)@)?(?P<host>[A-Za-z0-9_.:%-]+|\[[0-9A-Fa-f:.%]+\])$"
)
BRACKETED = re.compile(r"^\[(?P<host>[0-9A-Fa-f:.%]+)\](?::(?P<port>[0-9]+))?$")
HOST_PORT = re.compile(r"^(?P<host>[A-Za-z0-9_.-]+):(?P<port>[0-9]+)$")


@dataclass(frozen=True)
class Target:
    """One machine and how to get to it."""

    name: str
    """Name that people and plans use."""
    connection: Literal["ssh", "local"] = "ssh"
    """Over SSH, or this machine itself."""
    address: str = ""
    """Host name or address that ssh is given."""
    port: int | None = None
    """TCP port; None leaves it to ssh's configuration."""
    user: str | None = None
    """Login; None leaves it to ssh's configuration."""
    identity: str | None = None
    """Private key file; None leaves it to ssh's configuration."""
    ssh_args: tuple[str, ...] = ()
    """Further arguments for ssh, e.g. a bastion's ProxyJump."""
    become: bool = False
    """Whether changes (and privileged reads) go through sudo."""
    python: str = "python3"
    """Interpreter on the target."""
    from_inventory: bool = False
    """True when an Ansible inventory described it."""
    become_password: str | None = field(default=None, repr=False)
    """sudo's password, where the inventory (or its vault) holds one."""
    variables: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    """Inventory variables, e.g. `cudactl_lock`."""
    root: str | None = None
    """Folder of a machine that is not running: everything is done inside it, by chroot."""
    kernel: str = ""
    """Kernel release that such a machine is going to run; empty: none is known."""

    def ssh_command(self, connect_timeout_s: int = 10) -> list[str]:
        """Return ssh's arguments up to and including the address; a remote command follows.

        BatchMode: a host key or a password that ssh would have to ask for is an error with advice,
        never a prompt in the middle of a fan-out.
        """
        command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={connect_timeout_s}"]
        # No forwards: many at once from one configuration would be after the same ports.
        command += ["-o", "LogLevel=ERROR", "-o", "ClearAllForwardings=yes", "-x", *self.ssh_args]
        if self.port is not None:
            command += ["-p", str(self.port)]
        if self.user is not None:
            command += ["-l", self.user]
        if self.identity is not None:
            command += ["-i", self.identity]
        return [*command, "-T", "--", self.address]


def local_target() -> Target:
    """Return this machine, reached without SSH."""
    import os

    return Target(name="localhost", connection="local", become=os.geteuid() != 0)


def root_target(root: str, kernel: str) -> Target:
    """Return a machine that is a folder: an image that is being made, a stateless node's root."""
    path = root.rstrip("/")
    name = f"root-{path.rpartition('/')[2]}"
    return Target(
        name=name, connection="local", python="/usr/bin/python3", root=path, kernel=kernel
    )


def target_from_name(name: str, *, ssh_args: tuple[str, ...] = (), become: bool = True) -> Target:
    """Return a target for `[user@]host[:port]`, as it would be typed for ssh.

    Raises:
        UsageError: TARGET-BAD-NAME, when it cannot be a host name or address.
    """
    user: str | None = None
    rest = name
    if "@" in name:
        user, _, rest = name.partition("@")
    port: int | None = None
    if match := BRACKETED.match(rest) or HOST_PORT.match(rest):
        rest = match["host"]
        port = int(match["port"]) if match["port"] else None
    if not rest or rest.startswith("-") or not ADDRESS.match(rest) or user == "":
        raise UsageError(
            "TARGET-BAD-NAME",
            f"{name!r} is not a host name",
            expected="a name, an address, or user@host:port",
            remedy="name a host as you would for ssh, or give an inventory with -i",
        )
    return Target(name=name, address=rest, port=port, user=user, ssh_args=ssh_args, become=become)
