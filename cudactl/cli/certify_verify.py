"""`cudactl certify verify`: is this signed certificate to be believed, and does it stand?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cudactl.cli.app import emit_json, finish, json_option, say
from cudactl.cli.certify_options import FILE
from cudactl.contracts.errors import Exit

if TYPE_CHECKING:
    from cudactl.contracts.verification import Verification


@click.command(short_help="Does a signed certificate stand?")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("lock_file", "--lock", type=FILE, help="It must be bound to this lock.")
@click.option(
    "host_state",
    "--host-state",
    is_flag=True,
    help="It must be this machine's, of this boot and this driver.",
)
@json_option
def verify(
    files: tuple[Path, ...], lock_file: Path | None, host_state: bool, as_json: bool
) -> None:
    """Check signed certificates: signature, trusted key, not revoked, not expired, a pass.

    Exit code 0: every one stands; 3: one does not, and why; 2: one is no certificate.
    """
    from cudactl.workflow.keys import verify_files

    found = verify_files(files, lock_file, host_state=host_state, now=time.time())
    if as_json:
        emit_json([one.model_dump(mode="json") for one in found])
    else:
        for one in found:
            _say(one)
    finish(Exit.PASS if all(one.stands for one in found) else Exit.FAIL)


def _say(one: Verification) -> None:
    word = (
        click.style("stands", fg="green") if one.stands else click.style("does not stand", fg="red")
    )
    say(f"{one.file}: {word}")
    if one.key is not None:
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(one.expires or 0))
        say(f"  {one.host}: {one.verdict} at level {one.level}, lock {(one.lock_hash or '')[:12]}")
        say(f"  signed by {one.key_name} ({one.key[:12]}), until {until}")
    for finding in one.findings:
        say(f"  {finding.code}: {finding.text}")
        say(f"    what to do: {finding.remedy}")
    if one.stands:
        say(f"  looked at: {', '.join(one.checked)}")
