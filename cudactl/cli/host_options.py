"""Options that every command about hosts has in common, and what they mean together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cudactl.contracts.plan import Choices

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class HostChoice:
    """Which hosts, by which lock, how many at once."""

    names: tuple[str, ...]
    inventories: tuple[str, ...]
    limit: str | None
    lock: Path | None
    forks: int
    max_hosts: int | None
    ssh_args: tuple[str, ...]


def host_options(
    function: F, otherwise: str = "the inventory variable cudactl_lock, or ./stack.lock"
) -> F:
    """Add HOST… and the options that choose hosts and locks.

    Args:
        function: The command.
        otherwise: Which lock it takes where none is named, for its help.
    """
    decorators = [
        click.argument("names", nargs=-1, metavar="[HOST]..."),
        click.option(
            "inventories",
            "-i",
            "--inventory",
            multiple=True,
            metavar="FILE",
            help="Ansible inventory: file, folder or plugin configuration. May be repeated.",
        ),
        click.option("--limit", metavar="PATTERN", help="Narrow the inventory, as in Ansible."),
        click.option(
            "--lock",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"The lock for these hosts; otherwise {otherwise}.",
        ),
        click.option(
            "--forks",
            type=click.IntRange(1, 1000),
            default=30,
            show_default=True,
            help="Hosts at once.",
        ),
        click.option(
            "--max-hosts",
            type=click.IntRange(1),
            help="Refuse when more hosts than this are meant.",
        ),
        click.option(
            "--ssh-arg",
            "ssh_args",
            multiple=True,
            metavar="ARG",
            help="Further argument for ssh, e.g. --ssh-arg=-Fmy_config. May be repeated.",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def choices_options(function: F) -> F:
    """Add what one run decides beside the lock: --reboot and --take-over."""
    decorators = [
        click.option(
            "reboot",
            "--reboot",
            type=click.Choice(["auto", "never", "always"]),
            help="auto (the default): reboot when the host needs it and reloading the driver does "
            "not help; never: say so instead; always: reboot whenever anything changes.",
        ),
        click.option(
            "take_over",
            "--take-over",
            is_flag=True,
            help="Replace what is in the way and not cudactl's, keeping a copy of it.",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def root_options(function: F) -> F:
    """Add --root and --kernel: a machine that is a folder, and the kernel it is going to run."""
    decorators = [
        click.option(
            "root",
            "--root",
            type=click.Path(exists=True, file_okay=False),
            help="Not a host, but the mounted root of one that does not run: an image.",
        ),
        click.option("kernel", "--kernel", metavar="RELEASE", help="The kernel --root will run."),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def choices_of(options: dict[str, Any]) -> Choices | None:
    """Take --reboot and --take-over out of a command's options; None where neither was given."""
    from cudactl.contracts.plan import Choices

    reboot, take_over = options.pop("reboot"), options.pop("take_over")
    if reboot is None and not take_over:
        return None
    return Choices(reboot=reboot or "auto", take_over=take_over)


def ask_sudo_option(function: F) -> F:
    """Add -K."""
    return click.option(
        "ask_sudo", "-K", "--ask-become-pass", is_flag=True, help="Ask for sudo's password."
    )(function)


def sudo_password() -> str:
    """Ask for sudo's password, on the terminal and without showing it."""
    return str(click.prompt("sudo password", hide_input=True, err=True))


def choice(
    names: tuple[str, ...],
    inventories: tuple[str, ...],
    limit: str | None,
    lock: Path | None,
    forks: int,
    max_hosts: int | None,
    ssh_args: tuple[str, ...],
) -> HostChoice:
    """Put the options together; ANSIBLE_INVENTORY counts where -i is absent, as people have it."""
    if not inventories and names and os.environ.get("ANSIBLE_INVENTORY"):
        inventories = tuple(os.environ["ANSIBLE_INVENTORY"].split(","))
    return HostChoice(names, inventories, limit, lock, forks, max_hosts, ssh_args)
