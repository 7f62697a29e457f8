"""`cudactl rollout`: many hosts to their locks, a few at a time, each gated by its certificate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cudactl.cli.app import confirm, emit_json, finish, json_option, note, say
from cudactl.cli.host_options import (
    HostChoice,
    ask_sudo_option,
    choice,
    choices_of,
    choices_options,
    host_options,
    sudo_password,
)
from cudactl.contracts.errors import Exit, UsageError

if TYPE_CHECKING:
    from cudactl.contracts.rollout import JournalRecord, RolloutOptions, RolloutReport
    from cudactl.workflow.rollout.folders import RolloutFolder

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def rollout() -> None:
    """Bring many hosts to their locks, a few at a time."""


def _state_option(function: F) -> F:
    return click.option(
        "state_dir",
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="CUDACTL_STATE_DIR",
        help="Where rollouts are kept; otherwise $XDG_STATE_HOME/cudactl.",
    )(function)


def _rollout_argument(function: F) -> F:
    return click.argument("name", metavar="[ROLLOUT]", required=False)(function)


def _care_options(function: F) -> F:
    for decorate in reversed(CARE):
        function = decorate(function)
    return function


CARE = [
    click.option(
        "canary",
        "--canary",
        multiple=True,
        metavar="N|HOST",
        default=("1",),
        show_default=True,
        help="How many hosts come first, alone, and must be certified; or which (repeat it).",
    ),
    click.option(
        "--max-down",
        default="1",
        show_default=True,
        metavar="N|P%",
        help="Hosts that may be down at once; those that are down already count.",
    ),
    click.option(
        "--group-by",
        metavar="VAR",
        help="Inventory variable: the budget holds in each of its values (group_names: in each "
        "inventory group).",
    ),
    click.option(
        "--on-failure",
        type=click.Choice(["hold", "continue", "rollback"]),
        default="hold",
        show_default=True,
        help="After a failed host: take no further one, go on, or return that host to its last "
        "certified lock (and take no further one).",
    ),
    click.option(
        "--max-failures",
        type=click.IntRange(1),
        metavar="N",
        help="Take no further host after N failures (otherwise 1; under continue, no limit).",
    ),
    click.option(
        "--tier",
        type=click.Choice(["prolog", "smoke", "nightly", "burn-in"]),
        default="smoke",
        show_default=True,
        help="How much is measured before a host goes back.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", "none", "slurm", "kubernetes"]),
        default="auto",
        show_default=True,
        help="Who drains hosts and returns them; auto: whoever owns the host.",
    ),
    click.option(
        "--include-drained",
        is_flag=True,
        help="Take hosts that somebody else drained, too, and leave them drained.",
    ),
    click.option(
        "--drain-timeout",
        "drain_timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=3600.0,
        show_default=True,
        metavar="SECONDS",
        help="How long a host may take to become free before it goes back into the queue.",
    ),
    click.option(
        "--deferrals",
        type=click.IntRange(0),
        default=3,
        show_default=True,
        metavar="N",
        help="How often a host goes back into the queue before it is left alone.",
    ),
    click.option(
        "--retry-after",
        "retry_after_s",
        type=click.FloatRange(min=0),
        default=300.0,
        show_default=True,
        metavar="SECONDS",
        help="How long a host that went back is left alone.",
    ),
    click.option(
        "--poll",
        "poll_s",
        type=click.FloatRange(min=0, min_open=True),
        default=5.0,
        show_default=True,
        metavar="SECONDS",
        help="How often it is looked whether a host is free.",
    ),
    click.option(
        "--delete-emptydir-data",
        "delete_emptydir",
        is_flag=True,
        help="Kubernetes: evict pods with local data, too; the data is lost.",
    ),
]


@rollout.command()
@host_options
@choices_options
@_care_options
@_state_option
@click.option("yes", "-y", "--yes", is_flag=True, help="Do not ask.")
@ask_sudo_option
@json_option
def start(
    canary: tuple[str, ...],
    state_dir: Path | None,
    yes: bool,
    ask_sudo: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Begin a rollout over hosts and drive it until it ends.

    Nothing is changed before hosts, plans and budget were shown and agreed to. Ctrl-C pauses: hosts
    that are being worked on are finished; a second Ctrl-C stops them where they are. Whatever ended
    it: `cudactl rollout resume` goes on.

    Exit code 0: every host is right; 3: a failure, held or aborted; 4: some host was not reached or
    never became free; 130: paused by Ctrl-C.
    """
    from cudactl.cli.show_rollout import beginning
    from cudactl.workflow.choosing import choose
    from cudactl.workflow.rollout.folders import create
    from cudactl.workflow.rollout.starting import Survey, make_request

    care = {key: options.pop(key) for key in CARE_KEYS}
    if (decided := choices_of(options)) is not None:
        care["choices"] = decided
    chosen = choice(**options)
    settings = _options(canary, care, chosen)
    targets, locks = choose(
        chosen.names,
        chosen.inventories,
        chosen.limit,
        chosen.lock,
        max_hosts=chosen.max_hosts,
        ssh_args=chosen.ssh_args,
    )
    request = make_request(targets, locks, chosen.inventories, chosen.ssh_args, settings)
    survey = Survey(request, {t.name: t for t in targets})
    seen = survey.ahead()
    if not as_json:
        say(beginning(request, seen, survey.planned))
    if not yes:
        count = len(request.hosts)
        confirm(
            f"Roll out to {count} host{'s' * (count != 1)} as shown?",
            "the rollout above",
            "add --yes",
        )
    password = sudo_password() if ask_sudo else None
    folder = create(request, state_dir)
    _drive(folder, as_json, survey=survey, become_password=password)


CARE_KEYS = (
    "max_down",
    "group_by",
    "on_failure",
    "max_failures",
    "tier",
    "engine",
    "include_drained",
    "drain_timeout_s",
    "deferrals",
    "retry_after_s",
    "poll_s",
    "delete_emptydir",
)


def _options(canary: tuple[str, ...], care: dict[str, Any], chosen: HostChoice) -> RolloutOptions:
    from pydantic import ValidationError

    from cudactl.contracts.rollout import RolloutOptions

    first: dict[str, Any] = {"canaries": list(canary)}
    if len(canary) == 1 and canary[0].isdigit():
        first = {"canary": int(canary[0])}
    try:
        return RolloutOptions(**care, **first, forks=chosen.forks)
    except ValidationError as wrong:
        error = wrong.errors(include_url=False)[0]
        option = str(error["loc"][0]).replace("_", "-") if error["loc"] else "options"
        raise UsageError(
            "ROLLOUT-OPTION",
            f"--{option} {error['input']}",
            expected="a number of hosts, or a share such as 5%" if option == "max-down" else "",
            remedy="see: cudactl rollout start --help",
        ) from None


def _drive(folder: RolloutFolder, as_json: bool, **how: Any) -> None:  # noqa: ANN401
    from cudactl.cli.show_rollout import interrupted, record_line
    from cudactl.workflow.rollout.reporting import exit_of
    from cudactl.workflow.rollout.session import drive

    def show(record: JournalRecord) -> None:
        with contextlib.suppress(OSError):  # a terminal that was closed stops no rollout
            if line := record_line(record):
                note(line)

    def say_interrupted(count: int) -> None:
        with contextlib.suppress(OSError):
            note(interrupted(count))

    note(f"rollout {folder.id}; from another terminal: cudactl rollout status|pause|abort")
    report, by_hand = drive(
        folder,
        on_record=show,
        on_interrupt=say_interrupted,
        **how,
    )
    _show(report, as_json)
    if not as_json:
        note(f"report: {folder.report}")
    finish(Exit.INTERRUPTED if by_hand else exit_of(report))


def _show(report: RolloutReport, as_json: bool) -> None:
    from cudactl.cli.show_rollout import report_text

    if as_json:
        emit_json(report.model_dump(mode="json"))
    else:
        say(report_text(report))


@rollout.command()
@_rollout_argument
@_state_option
@click.option("every", "--all", is_flag=True, help="List all rollouts.")
@json_option
def status(name: str | None, state_dir: Path | None, every: bool, as_json: bool) -> None:
    """Show where a rollout stands (none named: the newest). Changes nothing.

    Exit code as `start`, of what is known so far.
    """
    from cudactl.workflow.rollout.folders import find, known
    from cudactl.workflow.rollout.reporting import exit_of, report_of

    if every:
        from cudactl.cli.show_rollout import rollout_line

        reports = [report_of(folder) for folder in known(state_dir)]
        if as_json:
            emit_json([report.model_dump(mode="json") for report in reports])
        for report in () if as_json else reports:
            say(rollout_line(report))
        finish(Exit.PASS)
    report = report_of(find(name, state_dir))
    _show(report, as_json)
    finish(exit_of(report))


@rollout.command()
@_rollout_argument
@_state_option
@json_option
def pause(name: str | None, state_dir: Path | None, as_json: bool) -> None:
    """Take no further host; those that are being worked on are finished."""
    _ask("pause", name, state_dir, as_json)


@rollout.command()
@_rollout_argument
@_state_option
@json_option
def abort(name: str | None, state_dir: Path | None, as_json: bool) -> None:
    """End a rollout for good: take no further host, finish those that were begun."""
    _ask("abort", name, state_dir, as_json)


def _ask(wish: Any, name: str | None, state_dir: Path | None, as_json: bool) -> None:  # noqa: ANN401
    from cudactl.cli.show_rollout import asked
    from cudactl.workflow.rollout.folders import find
    from cudactl.workflow.rollout.session import ask

    report = ask(find(name, state_dir), wish)
    if as_json:
        emit_json(report.model_dump(mode="json"))
    else:
        say(asked(wish, report))


@rollout.command()
@_rollout_argument
@_state_option
@click.option("--retry", is_flag=True, help="Take hosts again that ended without being certified.")
@click.option("--max-down", metavar="N|P%", help="Another budget from here on.")
@ask_sudo_option
@json_option
def resume(
    name: str | None,
    state_dir: Path | None,
    retry: bool,
    max_down: str | None,
    ask_sudo: bool,
    as_json: bool,
) -> None:
    """Go on with a rollout that was paused, held, or whose controller was killed.

    Exit codes as `start`.
    """
    from cudactl.workflow.rollout.folders import find

    if max_down is not None:
        _options(("1",), {"max_down": max_down}, choice((), (), None, None, 1, None, ()))
    folder = find(name, state_dir)
    password = sudo_password() if ask_sudo else None
    _drive(folder, as_json, retry=retry, max_down=max_down, become_password=password)
