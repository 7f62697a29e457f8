"""`cudactl stack`: write down which stack is wanted, lock it, look at a lock."""

from __future__ import annotations

from pathlib import Path

import click

from cudactl.cli.app import emit_json, json_option, note, say
from cudactl.cli.stack_begin import capture, init
from cudactl.cli.stack_check import check
from cudactl.cli.stack_verbs import VERBS

LOCK_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def stack() -> None:
    """Write down which stack you want, and lock it."""


@stack.command()
@click.argument("spec", type=LOCK_FILE, default=Path("stack.yaml"))
@click.option(
    "output",
    "-o",
    "--output",
    type=LOCK_FILE,
    help="Where the lock goes.  [default: the spec's name, ending in .lock]",
)
@click.option(
    "locked",
    "--locked",
    is_flag=True,
    help="Write nothing; exit 3 when the lock does not answer this spec.",
)
@click.option(
    "allow",
    "--allow",
    multiple=True,
    metavar="CODE",
    help="Override this refusal; needs --reason. It is shown on every certificate.",
)
@click.option("reason", "--reason", metavar="TEXT", help="Why the refusal is overridden.")
@click.option(
    "targets",
    "--target",
    multiple=True,
    metavar="OS[/ARCH]",
    help="Lock for this target instead of the spec's own; several go into one file.",
)
@json_option
def lock(
    spec: Path,
    output: Path | None,
    locked: bool,
    targets: tuple[str, ...],
    allow: tuple[str, ...],
    reason: str | None,
    as_json: bool,
) -> None:
    """Turn SPEC (default: stack.yaml) into exact packages, with hashes.

    Exit code 0: locked, or nothing changed; 2: the spec cannot be read; 3: refused, or the lock is
    not current (--locked); 4: the package index could not be reached.
    """
    from cudactl.cli.show_stack import lock_table, lock_title
    from cudactl.contracts.lock import Allowance
    from cudactl.workflow.stack import lock as lock_spec

    if allow and not (reason or "").strip():
        raise click.UsageError("--allow needs --reason TEXT: it is shown on every certificate")
    if reason and not allow:
        raise click.UsageError("--reason goes with --allow CODE")
    path = output if output is not None else spec.with_suffix(".lock")
    allowed = [Allowance(code=code, reason=str(reason)) for code in dict.fromkeys(allow)]
    done = lock_spec(spec, path, allowed=allowed, targets=targets, must_be_current=locked)
    if as_json:
        found = {"file": str(path), "written": done.written, "notes": done.notes}
        entries = [{"hash": one.hash, "lock": one.model_dump(mode="json")} for one in done.locks]
        emit_json({**found, **(entries[0] if len(entries) == 1 else {"locks": entries})})
        return
    for one in done.locks:
        say(lock_title(one))
        say(lock_table(one))
    for text in done.notes:
        note(f"note: {text}")
    if locked:
        note(f"{path} answers this spec")
    elif done.written:
        note(f"written to {path}")
    else:
        note(f"{path} says the same already; it was not touched")


@stack.command()
@click.argument("lock_file", metavar="[LOCK]", type=LOCK_FILE, default=Path("stack.lock"))
@json_option
def show(lock_file: Path, as_json: bool) -> None:
    """Show what a lock holds (default: stack.lock); FILE#OS for one of several targets."""
    from cudactl.cli.show_stack import lock_details, lock_table, lock_title
    from cudactl.workflow.stack import read_lock, read_locks, split_target

    file, target = split_target(lock_file)
    locks = read_locks(file) if target is None else [read_lock(lock_file)]
    if as_json:
        entries = [{"hash": one.hash, "lock": one.model_dump(mode="json")} for one in locks]
        emit_json(entries[0] if len(entries) == 1 else {"locks": entries})
        return
    for one in locks:
        say(lock_title(one))
        say(lock_table(one))
        say()
        say(lock_details(one))


@stack.command()
@click.argument("package")
@click.argument("lock_file", metavar="[LOCK]", type=LOCK_FILE, default=None, required=False)
@click.option("os", "--os", metavar="OS", help="Distribution, for a name that no lock holds.")
@json_option
def why(package: str, lock_file: Path | None, os: str | None, as_json: bool) -> None:
    """Say why PACKAGE is in a lock, and why at this version.

    LOCK defaults to stack.lock. A name that is not in it, or --os without a lock: what that name
    really means in NVIDIA's repository and in the distribution's archive.
    """
    from cudactl.cli.show_stack import package_reason
    from cudactl.cli.show_verdict import name_text
    from cudactl.workflow.stack import why_package

    found = why_package(package, lock_file, os)
    if as_json:
        named = found.package.model_dump(mode="json") if found.package else {"name": package}
        told = [finding.model_dump(mode="json") for finding in found.findings]
        emit_json({**named, "locked": found.package is not None, "os": found.os, "meaning": told})
        return
    if found.package is not None and found.lock is not None:
        say(package_reason(found.lock, found.package))
    if found.findings:
        say(name_text(package, found.os, found.findings))


for _verb in (init, capture, check, *VERBS):
    stack.add_command(_verb)
