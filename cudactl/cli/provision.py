"""`cudactl provision host`: plan, show, ask, apply, certify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cudactl.cli.app import note
from cudactl.cli.applying import applying, applying_options, carry_out
from cudactl.cli.host_options import (
    HostChoice,
    choice,
    choices_of,
    choices_options,
    host_options,
    root_options,
)
from cudactl.cli.offline import planned_root
from cudactl.cli.provision_back import rollback, uninstall
from cudactl.contracts.errors import UsageError

if TYPE_CHECKING:
    from cudactl.contracts.plan import Choices
    from cudactl.workflow.planning import PlannedHost


@click.group()
def provision() -> None:
    """Bring hosts to their lock, back to the one before, or rid of cudactl."""


provision.add_command(rollback)
provision.add_command(uninstall)


@provision.command()
@host_options
@choices_options
@root_options
@click.option(
    "plan_file",
    "--plan",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Apply exactly this saved plan, or refuse because a host moved.",
)
@applying_options
@click.option("certify", "--certify/--no-certify", default=True, help="Certify afterwards.")
def host(plan_file: Path | None, certify: bool, **options: Any) -> None:  # noqa: ANN401
    """Bring hosts (none named: this machine) to their lock, then certify them.

    Nothing is changed before the plan was shown and agreed to. A host that is already right is left
    alone. Exit code 0: right; 3: refused or failed; 4: could not be reached.
    """
    how = applying(options, certify=certify)
    decided = choices_of(options)
    root, kernel = options.pop("root"), options.pop("kernel")
    chosen = choice(**options)
    if root is not None:
        with planned_root(root, kernel, chosen, decided) as there:
            carry_out(there, (), chosen, how)
    planned, inventories = _plan(chosen, plan_file, decided)
    carry_out(planned, inventories, chosen, how)


def _plan(
    chosen: HostChoice, plan_file: Path | None, decided: Choices | None
) -> tuple[list[PlannedHost], Sequence[str]]:
    from cudactl.workflow.choosing import choose, choose_planned
    from cudactl.workflow.planning import (
        PATIENCE_S,
        check_unmoved,
        load_plans,
        plan_hosts,
        same_choices,
    )

    if plan_file is None:
        targets, locks = choose(
            chosen.names,
            chosen.inventories,
            chosen.limit,
            chosen.lock,
            max_hosts=chosen.max_hosts,
            ssh_args=chosen.ssh_args,
        )
        choices = same_choices(targets, decided)
        planned = plan_hosts(
            targets, locks, forks=chosen.forks, choices=choices, patience_s=PATIENCE_S, say=note
        )
        return planned, chosen.inventories
    if chosen.lock is not None:
        raise UsageError(
            "PLAN-AND-LOCK",
            "--plan and --lock were both given",
            expected="one of them: a saved plan holds its lock",
            remedy="leave --lock out",
        )
    if decided is not None:
        raise UsageError(
            "PLAN-AND-CHOICES",
            "--plan was given together with --reboot or --take-over",
            expected="the choices that the plan was made with: they are part of what was approved",
            remedy="leave them out, or make the plan again with them: cudactl plan host -o FILE",
        )
    saved, locks = load_plans(plan_file)
    targets, inventories = choose_planned(
        saved,
        chosen.names,
        chosen.inventories,
        chosen.limit,
        max_hosts=chosen.max_hosts,
        ssh_args=chosen.ssh_args,
    )
    choices = {plan.host: plan.choices for plan in saved.plans}
    planned = plan_hosts(targets, locks, forks=chosen.forks, choices=choices)
    check_unmoved(planned, saved)
    return planned, inventories
