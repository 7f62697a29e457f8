"""What every command shares: how it prints, how it says that something is wrong.

Commands return nothing and print through here only: text for people on standard output, notes and
progress on standard error, or one JSON document on standard output under `--json`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cudactl.contracts.errors import CudactlError, Exit, UsageError

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Add `--json`: one JSON document on standard output instead of text."""
    return click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")(
        function
    )


def emit_json(document: Any) -> None:  # noqa: ANN401 - anything JSON can hold
    """Print `document` as JSON on standard output."""
    click.echo(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))


def say(text: str = "") -> None:
    """Print a line for people on standard output."""
    click.echo(text)


def note(text: str) -> None:
    """Print progress or a remark on standard error, so that output stays clean to pipe."""
    click.echo(text, err=True)


def finish(code: Exit) -> None:
    """End the command with an exit code."""
    raise click.exceptions.Exit(int(code))


def confirm(question: str, shown: str, remedy: str) -> None:
    """Ask before something changes, and end the command unless the answer is yes.

    Args:
        question: What is asked, with what was shown in mind.
        shown: What that is: "the plan above".
        remedy: What to do where there is no terminal to ask on.

    Raises:
        UsageError: NOT-CONFIRMED, where there is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "NOT-CONFIRMED",
            "there is no terminal to ask on, and --yes was not given",
            expected=f"a yes to {shown}",
            remedy=remedy,
        )
    if not click.confirm(question, err=True):
        note("Nothing was changed.")
        finish(Exit.FAIL)


def wants_json() -> bool:
    """Return True when the running command was called with --json."""
    return "--json" in sys.argv[1:]


def format_error(error: CudactlError) -> str:
    """Return an error as a colleague would say it: found, expected, what to do."""
    lines = [f"{click.style('Error', fg='red', bold=True)} {error.code}: {error.found}"]
    if error.expected:
        lines.append(f"  expected: {error.expected}")
    if error.remedy:
        lines.append(f"  what to do: {error.remedy}")
    return "\n".join(lines)


def show_error(error: BaseException) -> int:
    """Print an error and return its exit code; only cudactl's own defects show a traceback."""
    if isinstance(error, CudactlError):
        if wants_json():
            emit_json({"error": error.as_dict()})
        click.echo(format_error(error), err=True)
        return int(error.exit_code)
    if isinstance(error, BrokenPipeError):
        # The reader (head, less) has gone: nothing more to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.PASS)
    click.echo(
        "".join(traceback.format_exception(error))
        + "\ncudactl itself broke. Nothing is known about the host from this; please report it.",
        err=True,
    )
    return int(Exit.INTERNAL)
