"""`cudactl certify key`: keys that sign certificates, and whose signatures count here."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cudactl.cli.app import emit_json, json_option, note, say
from cudactl.cli.certify_options import FILE

if TYPE_CHECKING:
    from cudactl.workflow.keys import KnownKey

system_option = click.option(
    "system", "--system", is_flag=True, help="For this machine (/etc/cudactl), not only for you."
)


@click.group()
def key() -> None:
    """Keys that sign certificates, and whose count here."""


@key.command()
@click.option("name", "--name", default="signing", show_default=True, help="Its name.")
@click.option("trusted", "--trust/--no-trust", default=True, help="Trust it yourself.")
@json_option
def new(name: str, trusted: bool, as_json: bool) -> None:
    """Make an ed25519 key; `certify host` signs with it from now on."""
    from cudactl.workflow.keys import make_key

    made, where = make_key(name, trusted=trusted)
    public = made.path.with_suffix(".pub")
    if as_json:
        emit_json({"id": made.id, "name": name, "private": str(made.path), "public": str(public)})
        return
    say(f"{name}: {made.id}")
    say(f"  private key  {made.path}: keep it to yourself")
    say(f"  public key   {public}: give it to whoever verifies (certify key trust FILE)")
    if where is not None:
        say(f"  trusted here {where}")


@key.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """Show your keys, and those that are trusted here."""
    from cudactl.workflow.keys import known_keys

    found = known_keys()
    if as_json:
        emit_json([_document(one) for one in found])
        return
    if not found:
        note("no key is known here; make one with `cudactl certify key new`")
    for one in found:
        say(f"{one.id[:12]}  {one.name}  {_what(one)}")


@key.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one key, by its NAME or the beginning of its id, with its public half."""
    from cudactl.certify.keys import public_pem, read_public_key
    from cudactl.workflow.keys import find_key

    one = find_key(name)
    path = one.trusted or (one.private.with_suffix(".pub") if one.private is not None else None)
    pem = public_pem(read_public_key(path).public).decode() if path is not None else ""
    if as_json:
        emit_json({**_document(one), "public": pem})
        return
    say(f"{one.name}: {one.id}")
    say(f"  {_what(one)}")
    for what, file in (("private key", one.private), ("trusted by", one.trusted)):
        if file is not None:
            say(f"  {what}  {file}")
    say(pem.rstrip())


@key.command()
@click.argument("public", metavar="FILE", type=FILE)
@click.option("name", "--name", help="Its name here; otherwise the file's name and its id.")
@system_option
def trust(public: Path, name: str | None, system: bool) -> None:
    """Trust a public key: certificates that it signs count here."""
    from cudactl.workflow.keys import trust_key

    one, where = trust_key(public, name, system=system)
    say(f"trusted: {one.id}")
    note(f"compare this id with the one its owner sees (certify key list); kept in {where}")


@key.command()
@click.option("name", "--name", default="signing", show_default=True, help="Which key.")
@click.confirmation_option("--yes", prompt="Replace the key? Its private half is deleted.")
def rotate(name: str) -> None:
    """Replace a key: what it signed stands until it expires, what it signs from now on does not."""
    from cudactl.workflow.keys import rotate_key

    old, made, _ = rotate_key(name, time.time())
    say(f"{name}: {old[:12]} → {made.id}")
    say(f"  public key   {made.path.with_suffix('.pub')}: give it to whoever verifies")
    note(f"where others verify: certify key revoke {old[:12]} --since now --reason rotated")


@key.command()
@click.argument("name")
@click.option("reason", "--reason", required=True, metavar="TEXT", help="Why.")
@click.option(
    "since",
    "--since",
    metavar="DAY|now",
    help="Certificates issued before it still stand. Only where nobody else had the key: whoever "
    "has it may write any time into a certificate.",
)
@system_option
def revoke(name: str, reason: str, since: str | None, system: bool) -> None:
    """Revoke a key, by its NAME or the beginning of its id: its signatures count no longer."""
    from cudactl.workflow.keys import revoke_key

    one, where = revoke_key(name, reason, _moment(since), system=system)
    what = f"from {since} on" if since is not None else "every certificate that it ever signed"
    say(f"revoked: {one.name} ({one.id[:12]}), {what}")
    note(f"kept in {where}; copy it to wherever certificates are verified")


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    if text == "now":
        return time.time()
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise click.BadParameter("a day such as 2027-01-31, or now", param_hint="--since") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp()


def _what(one: KnownKey) -> str:
    words = ["signs"] if one.private is not None else []
    words += ["trusted"] if one.trusted is not None else ["not trusted here"]
    if one.revoked is not None:
        since = one.revoked.since
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(since)) if since is not None else ""
        words.append(f"revoked{f' since {day}' if day else ''}: {one.revoked.reason}")
    return ", ".join(words)


def _document(one: KnownKey) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "private": str(one.private) if one.private is not None else None,
        "trusted": str(one.trusted) if one.trusted is not None else None,
        "revoked": one.revoked.model_dump(mode="json") if one.revoked is not None else None,
    }
