"""`cudactl doctor`: what is wrong here and what to do. Changes nothing, needs no lock."""

from __future__ import annotations

from pathlib import Path

import click

from cudactl.cli.app import emit_json, finish, format_error, json_option, note, say


@click.command()
@click.argument("names", nargs=-1, metavar="[HOST]...")
@click.option(
    "inventories",
    "-i",
    "--inventory",
    multiple=True,
    metavar="FILE",
    help="Ansible inventory: file, folder or plugin configuration. May be repeated.",
)
@click.option("--limit", metavar="PATTERN", help="Narrow the inventory, as in Ansible.")
@click.option(
    "--forks", type=click.IntRange(1, 1000), default=30, show_default=True, help="Hosts at once."
)
@click.option(
    "ssh_args",
    "--ssh-arg",
    multiple=True,
    metavar="ARG",
    help="Further argument for ssh. May be repeated.",
)
@click.option("--sudo", is_flag=True, help="Look as root: sees the kernel log everywhere.")
@click.option("ask_sudo", "-K", "--ask-become-pass", is_flag=True, help="Ask for sudo's password.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="FILE.tar.gz",
    help="Keep the evidence that a reset or reboot would destroy, redacted. Several hosts: a "
    "folder.",
)
@click.option("--keep-host-name", is_flag=True, help="Leave host names in the bundle.")
@click.option("--explain", "code", metavar="CODE", help="Tell more about a finding, and end.")
@click.option("--strict", is_flag=True, help="Exit code 5 for risks, 4 for unread corners.")
@json_option
def doctor(
    names: tuple[str, ...],
    inventories: tuple[str, ...],
    limit: str | None,
    forks: int,
    ssh_args: tuple[str, ...],
    sudo: bool,
    ask_sudo: bool,
    bundle: Path | None,
    keep_host_name: bool,
    code: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Say what is wrong on hosts (none named: this machine) and what to do.

    It reads and changes nothing. Exit code 0: nothing is broken; 3: something is; 4: a host could
    not be reached.
    """
    from cudactl.cli.host_options import sudo_password
    from cudactl.workflow.doctor import examine_hosts, exit_of, explained, keep_bundles

    if code is not None:
        say(explained(code))
        return
    password = sudo_password() if ask_sudo else None
    results = examine_hosts(
        names,
        inventories,
        limit,
        forks=forks,
        ssh_args=ssh_args,
        become=sudo or ask_sudo,
        become_password=password,
        with_bundle=bundle is not None,
        keep_host_name=keep_host_name,
    )
    if as_json:
        emit_json(
            [
                {
                    "host": r.target.name,
                    "diagnosis": r.diagnosis.model_dump(mode="json") if r.diagnosis else None,
                    "error": r.error.as_dict() if r.error else None,
                }
                for r in results
            ]
        )
    for number, result in enumerate(results):
        if result.error is not None:
            click.echo(format_error(result.error), err=True)
        elif not as_json:
            if number:
                say()
            say(result.text)
    if bundle is not None:
        for path, size in keep_bundles(results, bundle):
            note(f"{path}: {size} bytes; its contents.txt says what is in it and what was removed")
    finish(exit_of(results, strict=strict))
