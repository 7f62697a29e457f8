"""The verbs of `cudactl stack` on locks: diff, export, bundle, outdated, upgrade."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cudactl.cli.app import emit_json, finish, json_option, note, say
from cudactl.contracts.errors import Exit, UsageError

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
FORMATS = (
    *("apt-preferences", "pip-requirements", "dockerfile-args", "ansible-vars"),
    *("environment.yml", "env", "json"),
)
# Said here so that `cudactl stack --help` imports nothing heavy; a test holds it to the writers.


@click.command()
@click.argument("before", metavar="A", type=FILE)
@click.argument("after", metavar="B", type=FILE)
@click.option("exit_code", "--exit-code", is_flag=True, help="Exit 3 when the locks differ.")
@click.option("explain", "--explain", is_flag=True, help="Say more about every risk.")
@json_option
def diff(before: Path, after: Path, exit_code: bool, explain: bool, as_json: bool) -> None:
    """Show what differs between the locks A and B, and what it means.

    Exit code 0, whether they differ or not; with --exit-code 3 when they differ; 2 when a file
    cannot be read.
    """
    from cudactl.cli.show_diff import diff_text
    from cudactl.workflow.lock_verbs import diff as diff_files

    found = diff_files(before, after)
    if as_json:
        emit_json({"different": found.different, "diff": found.model_dump(mode="json")})
    else:
        say(diff_text(found, explain=explain))
    finish(Exit.FAIL if exit_code and found.different else Exit.PASS)


@click.command()
@click.argument("lock_file", metavar="[LOCK]", type=FILE, default=Path("stack.lock"))
@click.option(
    "form",
    "-f",
    "--format",
    type=click.Choice(FORMATS),
    required=True,
    help="Whose form.",
)
@click.option("output", "-o", "--output", type=FILE, help="Write a file instead of printing.")
@json_option
def export(lock_file: Path, form: str, output: Path | None, as_json: bool) -> None:
    """Print a lock for apt, pip, conda, Docker, Ansible or a shell.

    LOCK is stack.lock where it is not named.

    Exit code 2: the lock cannot be read, or holds nothing that this format is for.
    """
    from cudactl.workflow.lock_verbs import export as export_file

    done = export_file(lock_file, form, output)
    if as_json:
        emit_json(
            {
                "format": form,
                "hash": done.lock.hash,
                "file": str(output) if output else None,
                "written": done.written,
                "text": done.text,
            }
        )
    elif output is None:
        say(done.text.removesuffix("\n"))
    else:
        note(f"written to {output}" if done.written else f"{output} says the same already")


@click.command()
@click.argument("lock_file", metavar="[LOCK]", type=FILE, default=Path("stack.lock"))
@click.option(
    "output", "-o", "--output", metavar="DIR", type=FOLDER, required=True, help="The bundle."
)
@click.option(
    "also", "--also", metavar="LOCK", type=FILE, multiple=True, help="A further lock; repeatable."
)
@click.option(
    "url", "--url", metavar="URL", help="Where it will be served.  [default: file:// of DIR]"
)
@click.option(
    "key",
    "--signing-key",
    "--key",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True),
    help="Secret OpenPGP key to sign with.  [default: a key made for the bundle]",
)
@json_option
def bundle(
    lock_file: Path,
    output: Path,
    also: tuple[Path, ...],
    url: str | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Make an offline repository of everything in a lock.

    LOCK is stack.lock where it is not named. What was bundled in DIR before stays: hosts can be
    rolled back to it. An interrupted run is completed by the next one.

    Exit code 0: complete; 2: a lock or the folder is not usable; 3: a file is gone, or not the one
    that was locked; 4: a source could not be reached.
    """
    from cudactl.cli.show_bundle import bundle_document, bundle_text
    from cudactl.stack.bundle.readme import LICENCE_NOTE
    from cudactl.workflow.bundle import bundle as make_bundle

    if url is not None and not url.startswith(("https://", "http://", "file://")):
        raise click.UsageError("--url begins with https://, http:// or file://")
    done = make_bundle((lock_file, *also), output, url=url, key=key, say=note)
    if as_json:
        emit_json(bundle_document(done))
        return
    say(bundle_text(done))
    note(LICENCE_NOTE + f" {output}/README.md says where to read.")


@click.command()
@click.argument("lock_file", metavar="[LOCK]", type=FILE, default=Path("stack.lock"))
@click.option("offline", "--offline", is_flag=True, help="Ask no index: the catalogue alone.")
@click.option("strict", "--strict", is_flag=True, help="Exit 5 for what is only worth a look.")
@click.option("explain", "--explain", is_flag=True, help="Say more about every finding.")
@json_option
def outdated(lock_file: Path, offline: bool, strict: bool, explain: bool, as_json: bool) -> None:
    """Say what about LOCK (default: stack.lock) is no longer good.

    Exit code 0: nothing that hurts; 3: a locked version is gone, a hash changed, or the driver is
    below a security floor; 4: the index could not be reached; 5, with --strict: newer versions, an
    end of life, contested facts, another catalogue.
    """
    from cudactl.cli.show_outdated import outdated_text
    from cudactl.workflow.outdated import outdated as judge

    found = judge(lock_file, offline=offline)
    if as_json:
        emit_json(found.model_dump(mode="json"))
    else:
        say(outdated_text(found, explain=explain))
    finish(found.exit_code(strict=strict))


@click.command()
@click.argument("spec", type=FILE, default=Path("stack.yaml"))
@click.option(
    "output",
    "-o",
    "--output",
    metavar="LOCK",
    type=FILE,
    help="The lock to upgrade.  [default: the spec's name, ending in .lock]",
)
@click.option("dry_run", "-n", "--dry-run", is_flag=True, help="Show the difference only.")
@click.option("yes", "-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("explain", "--explain", is_flag=True, help="Say more about every risk.")
@json_option
def upgrade(
    spec: Path, output: Path | None, dry_run: bool, yes: bool, explain: bool, as_json: bool
) -> None:
    """Lock a spec again, show the difference, write it.

    SPEC is stack.yaml where it is not named; its bounds are kept. Nothing is written before it was
    agreed to, and nothing when nothing is new. What the lock there allowed stays allowed.

    Exit code 0: written, or nothing new; 2: a file cannot be read, or nobody agreed; 3: refused;
    4: the package index could not be reached.
    """
    from cudactl.cli.show_diff import diff_text
    from cudactl.workflow.lock_verbs import upgrade as lock_again

    path = output if output is not None else spec.with_suffix(".lock")
    found = lock_again(spec, path)
    document: dict[str, Any] = {
        "file": str(path),
        "changed": found.changed,
        "written": False,
        "notes": found.notes,
        "diff": found.diff.model_dump(mode="json"),
    }
    if not as_json:
        say(diff_text(found.diff, explain=explain))
        for text in found.notes:
            note(f"note: {text}")
        if found.changed and not found.diff.different:
            note("the same packages; what the lock says about them was made anew")
    if found.changed and not dry_run:
        if not yes:
            _ask(path)
        document["written"] = found.write()
    if as_json:
        emit_json(document)
    elif not found.changed:
        note(f"nothing is new; {path} was not touched")
    else:
        note(f"written to {path}" if document["written"] else f"{path} was not touched")


def _ask(path: Path) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "NOT-CONFIRMED",
            "there is no terminal to ask on, and --yes was not given",
            expected="a yes to the difference above",
            remedy="add --yes, or look only: --dry-run",
        )
    click.confirm(f"Write this to {path}?", abort=True, err=True)


VERBS = (diff, export, bundle, outdated, upgrade)
