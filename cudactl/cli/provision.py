"""`cudactl provision host`: plan, show, ask, apply, certify."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cudactl.cli.app import emit_json, finish, format_error, json_option, note, say
from cudactl.cli.host_options import (
    HostChoice,
    ask_sudo_option,
    choice,
    choices_of,
    choices_options,
    host_options,
    sudo_password,
)
from cudactl.contracts.errors import CudactlError, Exit, UsageError, worst

if TYPE_CHECKING:
    from cudactl.contracts.certificate import Certificate
    from cudactl.contracts.plan import Choices
    from cudactl.workflow.planning import PlannedHost
    from cudactl.workflow.provision import Applied


@click.group()
def provision() -> None:
    """Bring hosts to their lock."""


@provision.command()
@host_options
@choices_options
@click.option(
    "plan_file",
    "--plan",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Apply exactly this saved plan, or refuse because a host moved.",
)
@click.option("yes", "-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("check", "--check", is_flag=True, help="Run Ansible's check mode: change nothing.")
@click.option("diff", "--diff", is_flag=True, help="Show file differences.")
@ask_sudo_option
@click.option("certify", "--certify/--no-certify", default=True, help="Certify afterwards.")
@click.option("verbose", "-v", "--verbose", count=True, help="Show every change and task.")
@json_option
def host(
    plan_file: Path | None,
    yes: bool,
    check: bool,
    diff: bool,
    ask_sudo: bool,
    certify: bool,
    verbose: int,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Bring hosts (none named: this machine) to their lock, then certify them.

    Nothing is changed before the plan was shown and agreed to. A host that is already right is left
    alone. Exit code 0: right; 3: refused or failed; 4: could not be reached.
    """
    from cudactl.cli.show_plan import plans_text, summary_line

    decided = choices_of(options)
    chosen = choice(**options)
    planned, inventories = _plan(chosen, plan_file, decided)
    quiet = as_json
    if not quiet:
        say(plans_text(planned, verbose=bool(verbose)))
        say()
        say(summary_line(planned))
    codes = [Exit.UNMEASURED for p in planned if p.error is not None]
    codes += [Exit.FAIL for p in planned if p.plan is not None and p.plan.refusals]
    ready = [p for p in planned if p.plan is not None and not p.plan.refusals]
    todo = [p for p in ready if p.plan is not None and not p.plan.empty]
    if codes and todo:
        note("Nothing was changed: not every host can be brought to its lock (see above).")
        note("Leave those hosts out, or mend them, and run again.")
        todo = []
        ready = []
    applied: list[Applied] = []
    password = None
    if todo:
        if not yes and not check:
            _ask(len(todo))
        password = sudo_password() if ask_sudo else None
        applied = _apply(todo, inventories, chosen, password, check, diff, verbose, quiet)
        codes += [a.error.exit_code for a in applied if a.error is not None]
        if check and not quiet:
            note("Nothing was changed: this was Ansible's check mode.")
    certificates: dict[str, Certificate] = {}
    if certify and not check and applied:
        certificates, code = _certify([a for a in applied if a.error is None], password, quiet)
        codes.append(code)
    if as_json:
        emit_json(_document(planned, applied, certificates))
    finish(worst(codes))


def _plan(
    chosen: HostChoice, plan_file: Path | None, decided: Choices | None
) -> tuple[list[PlannedHost], Sequence[str]]:
    from cudactl.workflow.choosing import choose, choose_planned
    from cudactl.workflow.planning import check_unmoved, load_plans, plan_hosts, same_choices

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
        return plan_hosts(targets, locks, forks=chosen.forks, choices=choices), chosen.inventories
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


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "NOT-CONFIRMED",
            "there is no terminal to ask on, and --yes was not given",
            expected="a yes to the plan above",
            remedy="add --yes, or save the plan with `plan host -o FILE` and apply it",
        )
    if not click.confirm(f"Change {count} host{'s' * (count != 1)} as shown?", err=True):
        note("Nothing was changed.")
        finish(Exit.FAIL)


def _apply(
    todo: list[PlannedHost],
    inventories: Sequence[str],
    chosen: HostChoice,
    password: str | None,
    check: bool,
    diff: bool,
    verbose: int,
    quiet: bool,
) -> list[Applied]:
    from cudactl.cli.show_progress import ProgressLines
    from cudactl.workflow.provision import apply_plans

    try:
        with ProgressLines(quiet=quiet, verbose=bool(verbose)) as show:
            applied = apply_plans(
                todo,
                inventories=inventories,
                forks=chosen.forks,
                check=check,
                diff=diff,
                become_password=password,
                verbosity=max(0, verbose - 1),
                say=note,
                on_progress=show,
            )
    except KeyboardInterrupt:
        note(
            "\nStopped. What was begun may be half done: run the same command again, it goes on "
            "from what is there."
        )
        raise
    for one in applied:
        if one.error is not None and not quiet:
            click.echo(format_error(one.error), err=True)
    return applied


def _certify(
    done: Sequence[Applied], password: str | None, quiet: bool
) -> tuple[dict[str, Certificate], Exit]:
    from cudactl.certify.show import certificate_table
    from cudactl.workflow.certify import certify_targets, exit_of
    from cudactl.workflow.keys import signing_key
    from cudactl.workflow.provision import store_certificates

    if done:
        note("measuring what is there now …")
    key = None
    try:
        key = signing_key(None)
    except CudactlError as unusable:  # the hosts are changed: certify them all the same
        click.echo(format_error(unusable), err=True)
    results = certify_targets(
        [a.host.target for a in done], {a.host.target.name: a.host.lock for a in done}, key=key
    )
    certificates = {r.target.name: r.certificate for r in results if r.certificate is not None}
    for result in results:
        if result.error is not None:
            click.echo(format_error(result.error), err=True)
        elif result.certificate is not None and not quiet:
            say()
            say(certificate_table(result.certificate))
    envelopes = {r.target.name: r.envelope for r in results if r.envelope is not None}
    targets = [a.host.target for a in done]
    for error in store_certificates(certificates, targets, password, envelopes):
        click.echo(format_error(error), err=True)
    return certificates, exit_of(results)


def _document(
    planned: Sequence[PlannedHost],
    applied: Sequence[Applied],
    certificates: dict[str, Certificate],
) -> list[dict[str, Any]]:
    by_host = {a.host.target.name: a for a in applied}
    rows = []
    for one in planned:
        name = one.target.name
        done = by_host.get(name)
        error = (done.error if done else None) or one.error
        certificate = certificates.get(name)
        rows.append(
            {
                "host": name,
                "plan": one.plan.model_dump(mode="json") if one.plan else None,
                "changed": bool(done),
                "error": error.as_dict() if error else None,
                "certificate": certificate.model_dump(mode="json") if certificate else None,
            }
        )
    return rows
