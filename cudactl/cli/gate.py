"""`cudactl gate`: is this machine's last certificate still good? For prologs; reads a few files."""

from __future__ import annotations

import time

import click


@click.command()
@click.option(
    "style",
    "--exit-style",
    type=click.Choice(["cudactl", "nagios"]),
    default="cudactl",
    show_default=True,
    help="nagios: 0 OK, 2 CRITICAL, 3 UNKNOWN.",
)
def gate(style: str) -> None:
    """Say in one line whether the certificate kept on this machine still stands.

    Exit code 0: it does; 3: no longer (failed, expired, rebooted, other driver); 4: there is none.
    """
    from cudactl.judge.gate import NAGIOS
    from cudactl.zipapp.main import gate_answer

    code, line = gate_answer("/", time.time())
    click.echo(line)
    raise click.exceptions.Exit(NAGIOS[code] if style == "nagios" else code)
