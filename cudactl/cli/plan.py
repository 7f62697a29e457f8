"""`cudactl plan host`: what would change, and why. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cudactl.cli.app import emit_json, finish, json_option, note, say
from cudactl.cli.host_options import choice, choices_of, choices_options, host_options, root_options
from cudactl.cli.offline import planned_root
from cudactl.contracts.errors import Exit, UsageError, worst


@click.group()
def plan() -> None:
    """Show what would change on a host. Changes nothing."""


@plan.command()
@host_options
@choices_options
@root_options
@click.option(
    "output",
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Save the plans here, for `provision host --plan FILE`.",
)
@click.option("verbose", "-v", "--verbose", is_flag=True, help="Show every change.")
@click.option("explain", "--explain", metavar="CODE", help="Tell more about a code, and end.")
@json_option
def host(
    output: Path | None,
    verbose: bool,
    explain: str | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Probe hosts (none named: this machine) and show the way to their lock.

    Exit code 0: planned (also when there is nothing to do); 3: refused; 4: could not be read.
    """
    if explain is not None:
        _explain(explain, as_json)
        return
    from cudactl.cli.show_plan import plans_text, summary_line
    from cudactl.workflow.choosing import choose
    from cudactl.workflow.planning import check_can_save, plan_hosts, same_choices, save_plans

    decided = choices_of(options)
    root, kernel = options.pop("root"), options.pop("kernel")
    chosen = choice(**options)
    if output is not None:
        check_can_save(output)
    if root is not None:
        with planned_root(root, kernel, chosen, decided) as planned:
            pass
    else:
        targets, locks = choose(
            chosen.names,
            chosen.inventories,
            chosen.limit,
            chosen.lock,
            max_hosts=chosen.max_hosts,
            ssh_args=chosen.ssh_args,
        )
        planned = plan_hosts(
            targets, locks, forks=chosen.forks, choices=same_choices(targets, decided)
        )
    plans = [p.plan for p in planned if p.plan is not None]
    codes = [Exit.UNMEASURED for p in planned if p.error is not None]
    codes += [Exit.FAIL for p in plans if p.refusals]
    if as_json:
        emit_json(
            [
                {
                    "host": p.target.name,
                    "plan": p.plan.model_dump(mode="json") if p.plan else None,
                    "hash": p.plan.hash if p.plan else None,
                    "error": p.error.as_dict() if p.error else None,
                }
                for p in planned
            ]
        )
    else:
        say(plans_text(planned, verbose=verbose))
        say()
        say(summary_line(planned))
    if output is not None and not codes:
        save_plans(planned, chosen.inventories, output)
        note(f"saved to {output}; apply exactly this with: cudactl provision host --plan {output}")
    elif output is not None:
        note(f"{output} was not written: not every host has a plan that may be applied")
    finish(worst(codes))


def _explain(code: str, as_json: bool) -> None:
    """Say what a code of a plan means and what is declared for it."""
    import textwrap

    from cudactl.provision.preflight.explained import CASES

    case = CASES.get(code.upper())
    if case is None:
        raise UsageError(
            "PLAN-CODE",
            f"no plan carries a code {code!r}",
            expected="a code as a plan shows it",
            remedy="docs/preflight.md lists them all",
        )
    if as_json:
        emit_json({"code": code.upper(), **case._asdict()})
        return
    say(f"{code.upper()} ({case.declared}): {case.what}")
    say(textwrap.fill(case.more, 96, initial_indent="  ", subsequent_indent="  "))
