"""`cudactl lab`: disposable hosts and a package mirror, to try everything on."""

from __future__ import annotations

import os
from typing import Any

import click

from cudactl.cli.app import emit_json, json_option, note, say
from cudactl.contracts.errors import UsageError
from cudactl.lab import bases, hosts
from cudactl.lab.layout import Lab, LabHost, parse_request

DEFAULT = ("ubuntu-24.04:lab-apt", "debian-12:lab-wheels")


@click.group()
def lab() -> None:
    """Disposable hosts to try everything on.

    Each host is a container with systemd and sshd that behaves like a small server: it reboots, has
    sudo, apt and a host key of its own. A signed package mirror in NVIDIA's layout, with simulated
    libraries, is served to them. Docker is needed, a GPU is not.
    """


@lab.command()
@click.argument("wishes", nargs=-1, metavar="[BASE[:NAME]]...")
@click.option(
    "--count",
    type=click.IntRange(1, 200),
    help="So many hosts of one BASE, named BASE-1, BASE-2 and so on.",
)
@click.option("--mirror/--no-mirror", default=True, show_default=True, help="Serve the mirror too.")
@json_option
def up(wishes: tuple[str, ...], count: int | None, mirror: bool, as_json: bool) -> None:
    """Make the hosts that are missing and wait until all are up.

    Without BASE: ubuntu-24.04:lab-apt and debian-12:lab-wheels. Bases are debian-12, debian-13 and
    ubuntu-24.04; the first time, a base is built, which takes a minute or two.
    """
    requests = [parse_request(wish, list(bases.BASES)) for wish in wishes or DEFAULT]
    if count is not None:
        if len(wishes) != 1 or requests[0].name is not None:
            raise UsageError(
                "LAB-COUNT-OF-WHAT",
                "--count needs exactly one BASE without a name",
                remedy="for example: cudactl lab up debian-12 --count 5",
            )
        requests *= count
    show(hosts.up(requests, mirror=mirror, say=note), as_json)


@lab.command()
@json_option
def status(as_json: bool) -> None:
    """Show which hosts there are and how to get to them."""
    show(hosts.status(), as_json)


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(name: str, command: tuple[str, ...]) -> None:
    """Log in to a host as ops, who has sudo, or run COMMAND there."""
    there = hosts.status()
    host = there.host(name)
    program = ["ssh", "-F", str(there.ssh_config), host.name, *command]
    os.execvp(program[0], program)  # noqa: S606 - ssh takes over terminal and exit code


@lab.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--images", is_flag=True, help="Remove the base images too; the next `up` is slow.")
@json_option
def down(names: tuple[str, ...], images: bool, as_json: bool) -> None:
    """Remove the named hosts, or everything that `up` made. Safe to run again."""
    if names and images:
        raise UsageError(
            "LAB-IMAGES-OF-ALL",
            "--images goes with removing the whole lab, not single hosts",
            remedy="leave out the names, or --images",
        )
    removed = hosts.down(list(names) or None, images=images)
    if as_json:
        emit_json({"removed": removed})
        return
    for name in names:
        if name not in removed:
            say(f"{name}: was not there")
    say(f"removed: {', '.join(removed)}" if removed else "nothing to remove")


def show(there: Lab, as_json: bool) -> None:
    """Print a lab."""
    rows = [row(host) for host in there.hosts]
    if as_json:
        emit_json(
            {
                "folder": str(there.folder),
                "inventory": str(there.inventory),
                "ssh_config": str(there.ssh_config),
                "hosts": rows,
                "mirror": there.mirror
                and {
                    "url": there.mirror.url,
                    "key": str(there.mirror.key_file),
                    "fingerprint": there.mirror.fingerprint,
                    "running": there.mirror.running,
                },
            }
        )
        return
    if not rows:
        say("The lab has no hosts. cudactl lab up makes some.")
        return
    widths = {key: max(len(key), *(len(line(r)[key]) for r in rows)) for key in line(rows[0])}
    say("  ".join(f"{key.upper():<{width}}" for key, width in widths.items()).rstrip())
    for r in rows:
        say("  ".join(f"{line(r)[key]:<{width}}" for key, width in widths.items()).rstrip())
    say()
    say(f"inventory   {there.inventory}")
    say(f"ssh         cudactl lab ssh {rows[0]['name']}, or ssh -F {there.ssh_config} NAME")
    if there.mirror:
        say(f"mirror      {there.mirror.url}" + ("" if there.mirror.running else "  (not running)"))
        say(f"mirror key  {there.mirror.key_file}")


def row(host: LabHost) -> dict[str, Any]:
    """Return a host as --json prints it."""
    return {
        "name": host.name,
        "base": host.base,
        "title": host.title,
        "look_alike": bool(host.look_alike),
        "underneath": host.look_alike or None,
        "address": host.address,
        "state": host.state,
        "ssh": host.state == "running" and host.ssh_answers(),
    }


def line(host: dict[str, Any]) -> dict[str, str]:
    """Return a host's columns."""
    return {
        "name": host["name"],
        "base": host["title"],
        "address": host["address"],
        "state": host["state"],
        "ssh": "ok" if host["ssh"] else "no answer",
    }
