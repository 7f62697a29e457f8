"""`cudactl certify judge`, `policy`, `selftest`: judging without asking any host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cudactl.cli.app import emit_json, finish, json_option, note, say
from cudactl.cli.certify_options import (
    FILE,
    answer_options,
    asked_from,
    asked_options,
    leave,
    nagios_errors,
    show,
)
from cudactl.contracts.errors import Exit, UsageError

if TYPE_CHECKING:
    from cudactl.contracts.certificate import Policy


@click.command(short_help="Judge kept evidence by a lock or a policy.")
@click.argument("evidence", type=FILE)
@click.option("lock_file", "--lock", type=FILE, help="Judge by what this lock promises.")
@click.option("policy_file", "--policy", type=FILE, help="Judge by this policy, as it stands.")
@asked_options
@click.option("name", "--host", metavar="NAME", help="Whose evidence it is; otherwise FILE's name.")
@click.option("key_name", "--key", metavar="NAME|FILE", help="Sign with this key.")
@answer_options
@json_option
@nagios_errors
def judge(
    evidence: Path,
    lock_file: Path | None,
    policy_file: Path | None,
    tier: str,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    reason: str | None,
    waivers: tuple[Path, ...],
    name: str | None,
    key_name: str | None,
    outputs: tuple[str, ...],
    style: str,
    strict: bool,
    as_json: bool,
) -> None:
    """Judge kept EVIDENCE by a lock or a policy, again or for the first time. No host is asked.

    The certificate stands from when it was measured, however late it is judged. Exit codes are
    those of `certify host`.
    """
    from cudactl.certify.reading import read_object
    from cudactl.workflow.certify import exit_of, judge_evidence
    from cudactl.workflow.certify_output import parse_outputs, write_outputs
    from cudactl.workflow.keys import signing_key

    files = parse_outputs(outputs)
    signer = signing_key(key_name) if key_name is not None else None
    if (lock_file is None) == (policy_file is None):
        raise UsageError(
            "JUDGE-BY-WHAT",
            "judging needs something to judge by",
            expected="either --lock LOCK or --policy POLICY",
            remedy="name the lock that the host was provisioned from",
        )
    judged_by = _policy(lock_file, policy_file, tier, only, skip, reason, waivers)
    document = read_object(
        evidence,
        "EVIDENCE-UNREADABLE",
        "a file written by `certify host --keep-evidence`",
        "measure again",
    )
    judged = [judge_evidence(document, judged_by, name or evidence.stem, signer)]
    texts = write_outputs(files, judged)
    if as_json and judged[0].certificate is not None:
        emit_json(judged[0].certificate.model_dump(mode="json"))
        as_json, texts = False, ["", *texts]
    show(judged, as_json=as_json, style=style, texts=texts)
    leave(judged, exit_of(judged, strict=strict), style)


@click.command(short_help="Print what a lock's hosts are judged by.")
@click.option("lock_file", "--lock", type=FILE, required=True, help="The lock.")
@asked_options
@click.option("target", "-o", "--output", type=FILE, help="Write it here.")
def policy(
    lock_file: Path,
    tier: str,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    reason: str | None,
    waivers: tuple[Path, ...],
    target: Path | None,
) -> None:
    """Print what a lock's hosts are judged by: what is asked, what must hold, and why (JSON)."""
    from cudactl.workflow.writing import write_all

    found = _policy(lock_file, None, tier, only, skip, reason, waivers)
    text = json.dumps(found.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    if target is None:
        click.echo(text, nl=False)
    else:
        write_all({target: text.encode()}, force=True)
        note(f"wrote {target}")


@click.command(short_help="Does the judge here see every known fault?")
@click.option("verbose", "-v", "--verbose", is_flag=True, help="Name every fault.")
@json_option
def selftest(verbose: bool, as_json: bool) -> None:
    """Inject every known fault into recorded evidence: does the judge on this machine see it?

    Needs no GPU, no host and no network. Exit code 0: every fault was found, and named rightly, and
    healthy evidence raised no alarm; 3: not so.
    """
    from cudactl.certify.selftest import run_selftest

    result = run_selftest()
    if as_json:
        emit_json(result.document())
    else:
        for fault in result.faults:
            if verbose or not fault.detected:
                mark = click.style("found ", fg="green") if fault.detected else "MISSED"
                say(f"  {mark} {fault.name}" + (f": {fault.why}" if fault.why else ""))
        for alarm in result.alarms:
            say(f"  FALSE ALARM {alarm}")
        say(result.line())
    finish(Exit.PASS if result.good else Exit.FAIL)


def _policy(
    lock_file: Path | None,
    policy_file: Path | None,
    tier: str,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    reason: str | None,
    waivers: tuple[Path, ...],
) -> Policy:
    from cudactl.certify.selection import select
    from cudactl.workflow.certify import policy_for, read_policy

    asked = asked_from(tier, only, skip, reason, waivers)
    if lock_file is not None:
        from cudactl.stack.lock.file import read_lock

        return policy_for(read_lock(lock_file), asked)
    assert policy_file is not None
    found = read_policy(policy_file)
    found = found.model_copy(update={"waivers": [*found.waivers, *asked.waivers]})
    return select(found, only, skip, reason)
