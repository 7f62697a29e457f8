"""`cudactl stack init` and `stack capture`: where a stack.yaml comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cudactl.cli.app import emit_json, finish, format_error, json_option, note, say

FILE = click.Path(path_type=Path, dir_okay=False)
STDOUT = Path("-")
PURPOSES = ("training", "inference", "ci", "workstation")
# Said here so that `cudactl stack --help` imports nothing heavy; a test holds it to the room.

INVENTORY = click.option(
    "inventories",
    "-i",
    "--inventory",
    multiple=True,
    metavar="FILE",
    help="Ansible inventory that describes the host. May be repeated.",
)
SSH_ARG = click.option(
    "ssh_args",
    "--ssh-arg",
    multiple=True,
    metavar="ARG",
    help="Further argument for ssh. May be repeated.",
)


@click.command()
@click.option(
    "output",
    "-o",
    "--output",
    type=FILE,
    default=Path("stack.yaml"),
    show_default=True,
    help="Where it goes; - prints it.",
)
@click.option("gpus", "--gpu", multiple=True, metavar="NAME", help="A GPU to serve; repeatable.")
@click.option("purpose", "--purpose", type=click.Choice(PURPOSES), help="What it is for.")
@click.option("os", "--os", metavar="OS", help="Distribution, e.g. debian-12.")
@click.option("arch", "--arch", type=click.Choice(("x86_64", "sbsa")), help="Architecture.")
@click.option("wheels", "--wheels", is_flag=True, help="Libraries as Python wheels.")
@click.option(
    "host", "--host", metavar="HOST", help="Take OS and GPUs from a host; local: this machine."
)
@INVENTORY
@SSH_ARG
@click.option("force", "--force", is_flag=True, help="Replace a file that is there.")
@json_option
def init(
    output: Path,
    gpus: tuple[str, ...],
    purpose: Any,  # noqa: ANN401 - one of PURPOSES
    os: str | None,
    arch: Any,  # noqa: ANN401 - x86_64 or sbsa
    wheels: bool,
    host: str | None,
    inventories: tuple[str, ...],
    ssh_args: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Begin a stack.yaml with remarks, for GPUs and a purpose.

    Versions are chosen by the solver: the newest CUDA that every GPU and the distribution carry and
    that a long-term or production driver runs in full. Nothing is asked; what was assumed is said.

    Exit code 0: written; 2: a file is there already, or the call is wrong; 3: no stack serves all
    of this; 4: the host could not be reached.
    """
    from cudactl.stack.spec.initial import Beginning
    from cudactl.workflow.init import init as begin_spec

    if host is not None and (gpus or os or arch):
        raise click.UsageError("--host reads OS, architecture and GPUs from the host itself")
    if inventories and host is None:
        raise click.UsageError("-i goes with --host HOST")
    begun = begin_spec(
        Beginning(gpus, purpose, os, arch, wheels),
        None if output == STDOUT else output,
        host=host,
        inventories=inventories,
        ssh_args=ssh_args,
        force=force,
    )
    if as_json:
        emit_json(
            {
                "file": None if output == STDOUT else str(output),
                "written": begun.written,
                "spec": begun.initial.spec.model_dump(mode="json", exclude_unset=True),
                "text": begun.text,
                "verdict": begun.initial.verdict.model_dump(mode="json"),
                "suggested": begun.initial.suggested,
                "notes": begun.notes,
            }
        )
        return
    if output == STDOUT:
        say(begun.text.removesuffix("\n"))
    for text in begun.notes:
        note(f"note: {text}")
    if output != STDOUT:
        from cudactl.cli.show_verdict import verdict_text

        say(verdict_text(str(output), begun.initial.verdict))
        note(f"written to {output}" if begun.written else f"{output} says the same already")


@click.command()
@click.argument("host", required=False)
@click.option("image", "--image", metavar="REF", help="An image of the local Docker Engine.")
@click.option(
    "output",
    "-o",
    "--output",
    type=FILE,
    default=STDOUT,
    help="Write the spec instead of printing.",
)
@click.option("lock_file", "--lock", metavar="LOCK", type=FILE, help="Lock what is there, too.")
@INVENTORY
@SSH_ARG
@click.option("mirror", "--mirror", metavar="URL", help="Index to take hashes from.")
@click.option("mirror_key", "--mirror-key", metavar="FILE", type=FILE, help="Its key.")
@click.option("force", "--force", is_flag=True, help="Replace files that are there.")
@click.option("explain", "--explain", is_flag=True, help="Say more about every remark.")
@json_option
def capture(
    host: str | None,
    image: str | None,
    output: Path,
    lock_file: Path | None,
    inventories: tuple[str, ...],
    ssh_args: tuple[str, ...],
    mirror: str | None,
    mirror_key: Path | None,
    force: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Say what HOST (none: this machine) carries, as a spec and as a lock.

    Changes nothing there. What a spec cannot say or an index no longer has is listed. An image is
    read without running it.

    Exit code 0: captured; 2: a file is there already, or the call is wrong; 3: nothing of NVIDIA's
    is there, or nothing of it can be locked; 4: host, engine or index could not be reached.
    """
    from cudactl.cli.show_capture import capture_document, capture_text
    from cudactl.workflow.capture import Wanted, capture_host, capture_image

    if image is not None and (host is not None or inventories):
        raise click.UsageError("--image takes the place of HOST")
    if mirror_key is not None and mirror is None:
        raise click.UsageError("--mirror-key goes with --mirror URL")
    if mirror is not None and not mirror.startswith(("https://", "http://", "file://")):
        raise click.UsageError("--mirror begins with https://, http:// or file://")
    wanted = Wanted(
        spec=None if output == STDOUT else output,
        lock=lock_file,
        mirror=mirror,
        mirror_key=mirror_key,
        force=force,
    )
    if image is not None:
        done = capture_image(image, wanted)
    else:
        done = capture_host(host, inventories, ssh_args, wanted)
    if as_json:
        emit_json(capture_document(done))
    else:
        if output == STDOUT:
            say(done.text.removesuffix("\n"))
        note(capture_text(done, explain=explain))
        for path in (wanted.spec, wanted.lock if done.captured.lock is not None else None):
            if path is not None:
                written = path in done.written
                note(f"written to {path}" if written else f"{path} says the same already")
    if done.error is not None:
        note(format_error(done.error))
        finish(done.error.exit_code)
