"""`cudactl catalogue`: what cudactl knows of the stack, how old that is, and how to add to it."""

from __future__ import annotations

import click

from cudactl.cli.app import emit_json, finish, json_option, note, say
from cudactl.contracts.errors import Exit


@click.group()
def catalogue() -> None:
    """What cudactl knows of drivers, toolkits, libraries and GPUs."""


@catalogue.command("status")
@json_option
def status_command(as_json: bool) -> None:
    """Show the catalogue's tables, its age, and the overlays over it."""
    from cudactl.contracts.base import short
    from cudactl.workflow.catalogue import status

    now = status()
    overlays = now.catalogue.overlays
    if as_json:
        emit_json(
            {
                "hash": now.catalogue.hash,
                "newest": now.newest,
                "age_days": now.age_days,
                "tables": {t.name: {"rows": t.rows, "newest": t.newest} for t in now.tables},
                "overlays": [
                    {
                        "name": one.name,
                        "sha256": one.sha256,
                        "rows": {table: len(rows) for table, rows in one.rows.items()},
                    }
                    for one in overlays
                ],
            }
        )
        return
    say(
        f"catalogue {short(now.catalogue.hash)}, newest fact of {now.newest}",
    )
    say(f"{now.age_days} days old")
    width = max(len(table.name) for table in now.tables)
    for table in now.tables:
        say(f"  {table.name:<{width}}  {table.rows:>5}  {table.newest}")
    for one in overlays:
        rows = sum(len(rows) for rows in one.rows.values())
        say(f"overlay {one.name}  {short(one.sha256)}, {rows} rows")
    if not overlays:
        say("no overlays")


@catalogue.command("lint")
@json_option
def lint_command(as_json: bool) -> None:
    """Look for every mistake that can be seen in the catalogue and its overlays.

    Exit code 0: none; 2: an overlay cannot be read; 3: mistakes.
    """
    from cudactl.workflow.catalogue import lint

    found = lint()
    if as_json:
        emit_json(
            {
                "findings": [
                    {"code": one.code, "table": one.table, "key": one.key, "text": one.text}
                    for one in found
                ]
            }
        )
    else:
        for one in found:
            say(f"{one.code}  {one.table} {one.key}: {one.text}")
        note(f"{len(found)} mistakes" if found else "no mistakes")
    if found:
        finish(Exit.FAIL)
