"""`cudactl certify`: prove that a host carries its lock and works. Reads only."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from cudactl.cli.app import emit_json, finish, format_error, json_option, note, say
from cudactl.cli.host_options import ask_sudo_option, choice, host_options, sudo_password
from cudactl.contracts.errors import UsageError


@click.group()
def certify() -> None:
    """Prove that a host carries its lock and works. Changes nothing."""


@certify.command()
@host_options
@click.option(
    "evidence_folder",
    "--keep-evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep each host's evidence in this folder, to judge it again.",
)
@click.option("store", "--store", is_flag=True, help="Keep the certificate on the host (sudo).")
@ask_sudo_option
@json_option
def host(
    evidence_folder: Path | None,
    store: bool,
    ask_sudo: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Measure hosts (none named: this machine) against their lock and judge the evidence.

    Exit code 0: pass; 3: a check failed; 4: could not be measured or reached.
    """
    from cudactl.certify.show import certificate_table
    from cudactl.workflow.certify import certify_targets, exit_of
    from cudactl.workflow.choosing import choose
    from cudactl.workflow.provision import store_certificates

    chosen = choice(**options)
    password = sudo_password() if store and ask_sudo else None
    if evidence_folder is not None:
        _make(evidence_folder)
    targets, locks = choose(
        chosen.names,
        chosen.inventories,
        chosen.limit,
        chosen.lock,
        max_hosts=chosen.max_hosts,
        ssh_args=chosen.ssh_args,
        current=False,  # what is there is held against the lock that was used, however old
    )
    results = certify_targets(targets, locks, forks=chosen.forks)
    if evidence_folder is not None:
        for result in results:
            if result.evidence is not None:
                path = evidence_folder / f"{result.target.name.replace('/', '_')}.json"
                path.write_text(json.dumps(result.evidence, indent=1, sort_keys=True) + "\n")
                note(f"evidence kept in {path}")
    if as_json:
        emit_json(
            [
                {
                    "host": r.target.name,
                    "certificate": r.certificate.model_dump(mode="json") if r.certificate else None,
                    "error": r.error.as_dict() if r.error else None,
                }
                for r in results
            ]
        )
    for result in results:
        if result.error is not None:
            click.echo(format_error(result.error), err=True)
        elif result.certificate is not None and not as_json:
            say(certificate_table(result.certificate))
            say()
    if store:
        certificates = {r.target.name: r.certificate for r in results if r.certificate}
        for error in store_certificates(certificates, targets, password):
            click.echo(format_error(error), err=True)
    finish(exit_of(results))


@certify.command()
@click.argument("evidence", type=click.Path(path_type=Path, dir_okay=False))
@click.option("lock_file", "--lock", type=click.Path(path_type=Path, dir_okay=False), required=True)
@json_option
def judge(evidence: Path, lock_file: Path, as_json: bool) -> None:
    """Judge kept EVIDENCE by a lock, again or for the first time. No host is asked."""
    from cudactl.certify.certificate import exit_of, make_certificate
    from cudactl.certify.policy import compile_policy
    from cudactl.certify.show import certificate_table
    from cudactl.stack.lockfile import read_lock

    lock = read_lock(lock_file)
    document = _read_evidence(evidence)
    certificate = make_certificate(document, compile_policy(lock), evidence.stem, time.time())
    if as_json:
        emit_json(certificate.model_dump(mode="json"))
    else:
        say(certificate_table(certificate))
    finish(exit_of(certificate))


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


MAX_EVIDENCE_BYTES = 64 * 1024 * 1024


def _read_evidence(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_EVIDENCE_BYTES:
            raise ValueError(f"it is larger than {MAX_EVIDENCE_BYTES // 1024**2} MiB")
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            "EVIDENCE-UNREADABLE",
            f"{path}: {why}",
            expected="a file written by `certify host --keep-evidence`",
            remedy="measure again",
        ) from error
    return document
