"""`cudactl certify`: prove that a host carries its lock and works. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cudactl.cli.app import format_error, json_option, note
from cudactl.cli.certify_judge import judge, policy, selftest
from cudactl.cli.certify_key import key
from cudactl.cli.certify_options import (
    answer_options,
    asked_from,
    asked_options,
    leave,
    nagios_errors,
    show,
)
from cudactl.cli.certify_verify import verify
from cudactl.cli.host_options import ask_sudo_option, choice, host_options, sudo_password
from cudactl.contracts.errors import Exit, UsageError, worst

if TYPE_CHECKING:
    from cudactl.workflow.certify import Certified


@click.group()
def certify() -> None:
    """Prove that a host carries its lock and works. Changes nothing."""


@certify.command(short_help="Measure hosts, and judge them by their lock.")
@host_options
@asked_options
@click.option(
    "gpus", "--gpu", multiple=True, metavar="UUID|ADDRESS", help="Only this GPU. May be repeated."
)
@click.option(
    "ingest",
    "--ingest",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE|FOLDER",
    help="Take in results of dcgmi diag -j, nvbandwidth -j or nccl-tests about the host, which are "
    "shown as theirs. May be repeated.",
)
@click.option(
    "image",
    "--container-image",
    metavar="NAME",
    help="Run a container of this image, which must be on the host already and have nvidia-smi, "
    "and compare the GPUs that it sees.",
)
@click.option(
    "--daemon-reload",
    is_flag=True,
    help="Reload systemd while that container runs: does it keep its GPUs? Needs root.",
)
@click.option(
    "evidence_folder",
    "--keep-evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep each host's evidence in this folder, to judge it again.",
)
@click.option("sign", "--sign/--no-sign", default=True, help="Sign, where there is a key.")
@click.option("key_name", "--key", metavar="NAME|FILE", help="The key to sign with.")
@click.option("store", "--store", is_flag=True, help="Keep the certificate on the host (sudo).")
@ask_sudo_option
@answer_options
@click.option("quiet", "-q", "--quiet", is_flag=True, help="No progress.")
@json_option
@nagios_errors
def host(
    tier: str,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    reason: str | None,
    waivers: tuple[Path, ...],
    gpus: tuple[str, ...],
    ingest: tuple[Path, ...],
    image: str | None,
    daemon_reload: bool,
    evidence_folder: Path | None,
    sign: bool,
    key_name: str | None,
    store: bool,
    ask_sudo: bool,
    outputs: tuple[str, ...],
    style: str,
    strict: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Measure hosts (none named: this machine) against their lock and judge the evidence.

    Exit code 0: pass; 3: a check failed; 4: could not be measured, reached or, with --store, kept;
    5: only warnings, under --strict.
    """
    from dataclasses import replace

    from cudactl.certify.expectations.ingest import read_results
    from cudactl.cli.certify_progress import Measuring
    from cudactl.workflow.certify import certify_targets, exit_of
    from cudactl.workflow.certify_output import parse_outputs, write_outputs
    from cudactl.workflow.choosing import choose
    from cudactl.workflow.keys import signing_key

    files = parse_outputs(outputs)
    asked = asked_from(tier, only, skip, reason, waivers, gpus)
    if daemon_reload and image is None:
        raise click.UsageError("--daemon-reload is for a container: name one's --container-image")
    if ingest:
        asked = replace(asked, results=read_results(ingest))
    asked = replace(asked, image=image, daemon_reload=daemon_reload)
    signer = signing_key(key_name) if sign else None
    chosen = choice(**options)
    password = sudo_password() if store and ask_sudo else None
    if evidence_folder is not None:
        _make(evidence_folder)
    targets, locks = choose(
        chosen.names,
        chosen.inventories,
        chosen.limit,
        chosen.lock,
        # One host's results say nothing of another.
        max_hosts=1 if ingest else chosen.max_hosts,
        ssh_args=chosen.ssh_args,
        current=False,  # what is there is held against the lock that was used, however old
    )
    quiet = quiet or style == "nagios"
    shown = f"{tier} ({', '.join(only)})" if only else tier
    with Measuring([t.name for t in targets], shown, quiet=quiet) as progress:
        results = certify_targets(
            targets,
            locks,
            forks=chosen.forks,
            asked=asked,
            key=signer,
            on_result=progress,
            on_step=progress.step,
        )
    if evidence_folder is not None:
        _keep(evidence_folder, results)
    judged = [result.judged for result in results]
    texts = write_outputs(files, judged)
    show(judged, as_json=as_json, style=style, texts=texts)
    if sign and signer is None and not quiet and any(r.certificate for r in results):
        note("not signed: there is no key; make one with `cudactl certify key new`")
    code = exit_of(results, strict=strict)
    if store and not _store(results, password):
        code = worst([code, Exit.UNMEASURED])
    leave(judged, code, style)


for _command in (judge, policy, verify, key, selftest):
    certify.add_command(_command)


def _store(results: Sequence[Certified], password: str | None) -> bool:
    """Keep the certificates on their hosts; return False where one could not be kept."""
    from cudactl.workflow.provision import store_certificates

    certificates = {r.target.name: r.certificate for r in results if r.certificate is not None}
    envelopes = {r.target.name: r.envelope for r in results if r.envelope is not None}
    targets = [r.target for r in results]
    errors = store_certificates(certificates, targets, password, envelopes)
    for error in errors:
        click.echo(format_error(error), err=True)
    return not errors


def _keep(folder: Path, results: Sequence[Certified]) -> None:
    for result in results:
        if result.evidence is not None:
            path = folder / f"{result.target.name.replace('/', '_')}.json"
            path.write_text(json.dumps(result.evidence, indent=1, sort_keys=True) + "\n")
            note(f"evidence kept in {path}")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            "EVIDENCE-NOT-KEPT",
            f"{folder}: {error.strerror}",
            expected="a folder, or a place where one may be made",
            remedy="choose another place with --keep-evidence",
        ) from None
