"""`cudactl stack check`: do these wishes stand, by all that is known? No index, no network."""

from __future__ import annotations

from pathlib import Path

import click

from cudactl.cli.app import emit_json, finish, format_error, json_option, note, say


@click.command()
@click.argument(
    "specs", metavar="[SPEC]...", nargs=-1, type=click.Path(path_type=Path, dir_okay=False)
)
@click.option("strict", "--strict", is_flag=True, help="Exit 5 when something is flagged.")
@click.option("explain", "--explain", is_flag=True, help="Show the facts and sources of all.")
@click.option(
    "allow", "--allow", multiple=True, metavar="CODE", help="Override this refusal; needs --reason."
)
@click.option("reason", "--reason", metavar="TEXT", help="Why the refusal is overridden.")
@json_option
def check(
    specs: tuple[Path, ...],
    strict: bool,
    explain: bool,
    allow: tuple[str, ...],
    reason: str | None,
    as_json: bool,
) -> None:
    """Judge each SPEC (default: stack.yaml) by the catalogue alone.

    A verdict is ok; flagged: it installs, but something is not what it seems, is past its end of
    life, or contested; or refused, with the smallest set of wishes that cannot stand together.

    Exit code 0: nothing refused; 2: a file is no spec; 3: refused; 5: flagged (--strict).
    """
    from cudactl.cli.show_verdict import verdict_text
    from cudactl.contracts.lock import Allowance
    from cudactl.workflow.checking import check_files, exit_code

    if allow and not (reason or "").strip():
        raise click.UsageError("--allow needs --reason TEXT: it is shown on every certificate")
    allowed = [Allowance(code=code, reason=str(reason)) for code in dict.fromkeys(allow)]
    checked = check_files(specs or (Path("stack.yaml"),), allowed)
    if as_json:
        emit_json(
            [{"file": str(one.path), **one.verdict.model_dump(mode="json")} for one in checked]
        )
    else:
        for one in checked:
            if one.error is not None:
                note(format_error(one.error))
            else:
                say(verdict_text(str(one.path), one.verdict, explain=explain))
    finish(exit_code(checked, strict=strict))
