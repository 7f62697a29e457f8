"""Options that `certify host`, `judge` and `policy` share: what is asked, and where answers go."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cudactl.cli.app import emit_json, finish, format_error, say
from cudactl.contracts.errors import CudactlError

if TYPE_CHECKING:
    from cudactl.certify.formats import Judged
    from cudactl.contracts.errors import Exit
    from cudactl.workflow.certify import Asked

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)
NAGIOS = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}


def asked_options(function: F) -> F:
    """Add what is measured: --tier, --only, --skip, --reason, --waivers."""
    decorators = [
        click.option(
            "tier",
            "--tier",
            type=click.Choice(["prolog", "smoke", "nightly", "burn-in"]),
            default="smoke",
            show_default=True,
            help="How much is measured: 2 s, 90 s, 5 min, or for hours.",
        ),
        click.option(
            "only",
            "--only",
            multiple=True,
            metavar="LEG|CHECK",
            help="Ask this leg or check, and no other. May be repeated.",
        ),
        click.option(
            "skip",
            "--skip",
            multiple=True,
            metavar="LEG|CHECK",
            help="Leave this leg or check out: shown as SKIP, and the level is lower.",
        ),
        click.option("reason", "--reason", metavar="TEXT", help="Why something is left out."),
        click.option(
            "waivers",
            "--waivers",
            multiple=True,
            type=FILE,
            help="Known findings, each with an owner and a last day (YAML). May be repeated.",
        ),
    ]
    return _decorated(function, decorators)


def answer_options(function: F) -> F:
    """Add where answers go: --output, --exit-style, --strict."""
    decorators = [
        click.option(
            "outputs",
            "--output",
            multiple=True,
            metavar="FORMAT=FILE",
            help="Also write table, json, dsse, junit, ctrf, prometheus, html, line, kubernetes or "
            "nagios; {host} in FILE: a file for each host; -: standard output. May be repeated.",
        ),
        click.option(
            "style",
            "--exit-style",
            type=click.Choice(["cudactl", "nagios"]),
            default="cudactl",
            show_default=True,
            help="nagios: one line, and 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
        ),
        click.option("strict", "--strict", is_flag=True, help="Exit 5 on warnings."),
    ]
    return _decorated(function, decorators)


def nagios_errors(function: F) -> F:
    """Say errors as a monitoring plugin would, where --exit-style nagios asks for it."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        if options.get("style") != "nagios":
            return function(*arguments, **options)
        try:
            return function(*arguments, **options)
        except CudactlError as error:
            from cudactl.certify.formats.judged import one_line

            text = one_line(f"CERTIFICATE UNKNOWN - {error.code}: {error.found}")
            say(text.replace("|", "/"))
            raise click.exceptions.Exit(NAGIOS["UNKNOWN"]) from None

    return run  # type: ignore[return-value]


def asked_from(
    tier: Any,  # noqa: ANN401 - one of Tier, as Click has checked
    only: Sequence[str],
    skip: Sequence[str],
    reason: str | None,
    waivers: Sequence[Path],
    gpus: Sequence[str] = (),
) -> Asked:
    """Put the options together."""
    from cudactl.workflow.certify import Asked, waivers_from

    return Asked(tier, tuple(only), tuple(skip), reason, tuple(gpus), waivers_from(waivers))


def show(judged: Sequence[Judged], *, as_json: bool, style: str, texts: Sequence[str]) -> None:
    """Print the outcome: one document, one line, what --output sent here, or tables."""
    from cudactl.certify.formats import renderer
    from cudactl.certify.formats.json import documents
    from cudactl.certify.show import certificate_table

    for one in judged:
        if one.error is not None and style != "nagios":
            click.echo(format_error(one.error), err=True)
    if as_json:
        emit_json(documents(judged))
    elif style == "nagios":
        click.echo(renderer("nagios")(judged), nl=False)
    elif not texts:
        for one in judged:
            if one.certificate is not None:
                say(certificate_table(one.certificate))
                say()
    for text in texts:
        click.echo(text, nl=False)


def leave(judged: Sequence[Judged], code: Exit, style: str) -> None:
    """End with the run's exit code, in the style that was asked for."""
    if style == "nagios":
        from cudactl.certify.formats.nagios import ORDER, state

        states = {state(one) for one in judged}
        worst = next((word for word in ORDER if word in states), "UNKNOWN")
        raise click.exceptions.Exit(NAGIOS[worst])
    finish(code)


def _decorated(function: F, decorators: Sequence[Callable[[F], F]]) -> F:
    for decorate in reversed(decorators):
        function = decorate(function)
    return function
