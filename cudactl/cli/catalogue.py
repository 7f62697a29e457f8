"""`cudactl catalogue`: what cudactl knows of the stack, how old that is, and how to add to it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cudactl.cli.app import emit_json, finish, json_option, note, say
from cudactl.contracts.errors import Exit

PATH = click.Path(path_type=Path, dir_okay=False)


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


@catalogue.command("refresh")
@click.option("systems", "--os", multiple=True, metavar="OS", help="Only this one's repository.")
@click.option(
    "arch",
    "--arch",
    type=click.Choice(["x86_64", "sbsa"]),
    default="x86_64",
    show_default=True,
    help="Architecture of the repositories.",
)
@click.option("mirror", "--mirror", metavar="URL", help="A mirror instead of NVIDIA's address.")
@click.option("key", "--key", type=PATH, help="The mirror's public key.")
@click.option("apt", "--apt/--no-apt", default=True, help="Read package repositories.")
@click.option("wheels", "--wheels/--no-wheels", default=True, help="Read the wheel index.")
@click.option(
    "output",
    "-o",
    "--output",
    type=PATH,
    help="The overlay.  [default: cudactl/catalogue.d/refresh.yaml in the configuration folder]",
)
@json_option
def refresh_command(
    systems: tuple[str, ...],
    arch: str,
    mirror: str | None,
    key: Path | None,
    apt: bool,
    wheels: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Look for versions that the catalogue does not know, and write them into an overlay.

    Package indexes are verified as for a lock. Only what they state is written; a version that
    needs facts which no index states (a new toolkit's least driver) is listed and left out.

    Exit code 0: done; 2: wrong call or overlay; 3: an index was refused; 4: none can be reached.
    """
    from cudactl.workflow.catalogue import refresh

    done = refresh(
        systems=systems, arch=arch, mirror=mirror, key=key, apt=apt, wheels=wheels, output=output
    )
    found = done.found
    if as_json:
        emit_json(
            {
                "file": str(done.path),
                "written": done.written,
                "read": list(done.read),
                "added": [{"table": table, "key": key} for table, key in found.added],
                "changed": [{"table": table, "key": key} for table, key in found.changed],
                "not_understood": [asdict(one) for one in found.not_understood],
                "notes": list(done.notes),
            }
        )
        return
    for table, name in found.added:
        say(f"new      {table} {name}")
    for table, name in found.changed:
        say(f"more     {table} {name}")
    for one in found.not_understood:
        say(f"left out {one.table} {one.version}: {one.why}")
    for text in done.notes:
        note(f"note: {text}")
    note(f"read {', '.join(done.read) or 'nothing'}")
    note(f"written to {done.path}" if done.written else f"nothing to write to {done.path}")
