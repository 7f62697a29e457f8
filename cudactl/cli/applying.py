"""What every command does that changes hosts: show the plans, ask, apply, certify, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cudactl.cli.app import confirm, emit_json, finish, format_error, json_option, note, say
from cudactl.cli.host_options import HostChoice, ask_sudo_option, sudo_password
from cudactl.contracts.errors import CudactlError, Exit, worst

if TYPE_CHECKING:
    from cudactl.contracts.certificate import Certificate
    from cudactl.workflow.planning import PlannedHost
    from cudactl.workflow.provision import Applied

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Applying:
    """How plans are carried out."""

    yes: bool
    check: bool
    diff: bool
    ask_sudo: bool
    certify: bool
    verbose: int
    as_json: bool
    certify_unchanged: bool = False
    """Also where there was nothing to do."""


def applying_options(function: F) -> F:
    """Add the options of a command that changes hosts."""
    decorators: list[Callable[[F], F]] = [
        click.option("yes", "-y", "--yes", is_flag=True, help="Do not ask."),
        click.option(
            "check", "--check", is_flag=True, help="Ansible's check mode: change nothing."
        ),
        click.option("diff", "--diff", is_flag=True, help="Show file differences."),
        ask_sudo_option,
        click.option("verbose", "-v", "--verbose", count=True, help="Show every change and task."),
        json_option,
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def applying(
    options: dict[str, Any], *, certify: bool, certify_unchanged: bool = False
) -> Applying:
    """Take what `applying_options` added out of a command's options."""
    names = ("yes", "check", "diff", "ask_sudo", "verbose", "as_json")
    taken = {name: options.pop(name) for name in names}
    return Applying(certify=certify, certify_unchanged=certify_unchanged, **taken)


def carry_out(
    planned: list[PlannedHost],
    inventories: Sequence[str],
    chosen: HostChoice,
    how: Applying,
    output: Path | None = None,
) -> None:
    """Show the plans, ask, apply and certify; ends the command with its exit code.

    Args:
        planned: The hosts with their plans.
        inventories: Where the hosts came from.
        chosen: What was typed.
        how: What was decided.
        output: Save the plans there, and change nothing.
    """
    from cudactl.cli.show_plan import plans_text, summary_line

    quiet = how.as_json
    if not quiet:
        say(plans_text(planned, verbose=bool(how.verbose)))
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
    if output is not None:
        _save(planned, inventories, output, codes)
    applied: list[Applied] = []
    password = None
    if todo:
        if not how.yes and not how.check:
            confirm(
                f"Change {len(todo)} host{'s' * (len(todo) != 1)} as shown?",
                "the plan above",
                "add --yes, or save the plan with `plan host -o FILE` and apply it",
            )
        password = sudo_password() if how.ask_sudo else None
        applied = _apply(todo, inventories, chosen, password, how)
        codes += [a.error.exit_code for a in applied if a.error is not None]
        if how.check and not quiet:
            note("Nothing was changed: this was Ansible's check mode.")
    certificates: dict[str, Certificate] = {}
    if not how.check:
        _tidy([p for p in ready if p not in todo], password)
    right = [a.host for a in applied if a.error is None and not _gone(a.host)]
    if how.certify_unchanged:
        right += [p for p in ready if p not in todo]
    if how.certify and not how.check and (right or applied):
        certificates, code = _certify(right, password, quiet)
        codes.append(code)
    if how.as_json:
        emit_json(_document(planned, applied, certificates))
    finish(worst(codes))


def _gone(planned: PlannedHost) -> bool:
    """Return True for a host that was rid of its stack: there is nothing to certify."""
    return planned.plan is not None and planned.plan.choices.purpose == "uninstall"


def _tidy(ready: list[PlannedHost], password: str | None) -> None:
    """Write down the end of runs that were killed after all was done; there was nothing to do."""
    if any(p.state is not None and p.state.records.interrupted is not None for p in ready):
        from cudactl.workflow.provision import end_interrupted

        end_interrupted(ready, password)


def _save(
    planned: list[PlannedHost], inventories: Sequence[str], output: Path, codes: list[Exit]
) -> None:
    from cudactl.workflow.planning import save_plans

    if not codes:
        save_plans(planned, inventories, output)
        note(f"saved to {output}; apply exactly this with: cudactl provision host --plan {output}")
    else:
        note(f"{output} was not written: not every host has a plan that may be applied")
    finish(worst(codes))


def _apply(
    todo: list[PlannedHost],
    inventories: Sequence[str],
    chosen: HostChoice,
    password: str | None,
    how: Applying,
) -> list[Applied]:
    from cudactl.cli.show_progress import ProgressLines
    from cudactl.workflow.provision import apply_plans

    try:
        with ProgressLines(quiet=how.as_json, verbose=bool(how.verbose)) as show:
            applied = apply_plans(
                todo,
                inventories=inventories,
                forks=chosen.forks,
                check=how.check,
                diff=how.diff,
                become_password=password,
                verbosity=max(0, how.verbose - 1),
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
        if one.error is not None and not how.as_json:
            click.echo(format_error(one.error), err=True)
    return applied


def _certify(
    done: Sequence[PlannedHost], password: str | None, quiet: bool
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
        [p.target for p in done], {p.target.name: p.lock for p in done}, key=key
    )
    certificates = {r.target.name: r.certificate for r in results if r.certificate is not None}
    for result in results:
        if result.error is not None:
            click.echo(format_error(result.error), err=True)
        elif result.certificate is not None and not quiet:
            say()
            say(certificate_table(result.certificate))
    envelopes = {r.target.name: r.envelope for r in results if r.envelope is not None}
    targets = [p.target for p in done]
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
