"""`cudactl provision rollback` and `uninstall`: ways back, planned, shown and asked for alike."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from cudactl.cli.applying import applying, applying_options, carry_out
from cudactl.cli.host_options import choice, choices_of, choices_options, host_options

OUTPUT = click.option(
    "output",
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Only save the plans here, for `provision host --plan FILE`.",
)


@click.command()
@partial(host_options, otherwise="the last one that the host was certified for")
@choices_options
@OUTPUT
@applying_options
def rollback(output: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Return hosts to the last lock that they were certified for, and certify that.

    Lock and packages are kept on the host: no mirror is needed. --lock names another one. Exit code
    0: right; 3: refused or failed; 4: could not be reached.
    """
    from cudactl.workflow.choosing import choose_targets
    from cudactl.workflow.rollback import plan_rollbacks

    how = applying(options, certify=True, certify_unchanged=True)
    decided = choices_of(options)
    chosen = choice(**options)
    targets = choose_targets(
        chosen.names,
        chosen.inventories,
        chosen.limit,
        max_hosts=chosen.max_hosts,
        ssh_args=chosen.ssh_args,
    )
    planned = plan_rollbacks(targets, lock=chosen.lock, forks=chosen.forks, choices=decided)
    carry_out(planned, chosen.inventories, chosen, how, output)


@click.command()
@partial(host_options, otherwise="what the host itself keeps")
@click.option("purge", "--purge", is_flag=True, help="Certificates and history go too.")
@OUTPUT
@applying_options
def uninstall(output: Path | None, purge: bool, **options: Any) -> None:  # noqa: ANN401
    """Take away what cudactl put on hosts, and nothing else.

    Packages that were there before it stay. Certificates and history stay unless --purge. Exit code
    0: done; 3: refused or failed; 4: could not be reached.
    """
    from cudactl.workflow.choosing import choose_targets
    from cudactl.workflow.uninstall import plan_uninstalls

    how = applying(options, certify=False)
    chosen = choice(**options)
    targets = choose_targets(
        chosen.names,
        chosen.inventories,
        chosen.limit,
        max_hosts=chosen.max_hosts,
        ssh_args=chosen.ssh_args,
    )
    planned = plan_uninstalls(
        targets, chosen.inventories, lock=chosen.lock, forks=chosen.forks, purge=purge
    )
    carry_out(planned, chosen.inventories, chosen, how, output)
