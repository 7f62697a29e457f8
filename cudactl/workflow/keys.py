"""Where keys lie, and the jobs around them: make, list, trust, rotate, revoke, show, verify with.

Private keys lie in the user's data folder. Whose signatures count is told by two folders of trusted
keys: the machine's, and the user's own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cudactl.certify import keys
from cudactl.certify.keys import KeyProblem, Revocation, SigningKey, TrustedKey
from cudactl.certify.verifying import Trust, verify_file
from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.state import HostState
from cudactl.contracts.verification import Verification
from cudactl.reach.fanout import run_probe
from cudactl.reach.targets import local_target
from cudactl.stack.lock.file import read_lock
from cudactl.workflow.places import data_folder
from cudactl.workflow.planning import read_state

SYSTEM_TRUST = Path("/etc/cudactl/trusted-keys.d")
DEFAULT = "signing"


@dataclass(frozen=True)
class KnownKey:
    """A key as `certify key list` shows it."""

    id: str
    name: str
    private: Path | None
    trusted: Path | None
    revoked: Revocation | None


def private_folder() -> Path:
    """Return the folder of the user's private keys; not made here."""
    return data_folder() / "keys"


def user_trust() -> Path:
    """Return the user's own folder of trusted keys; not made here."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "cudactl" / "trusted-keys.d"


def trust_folders() -> list[Path]:
    """Return the folders of trusted keys, the machine's first."""
    return [SYSTEM_TRUST, user_trust()]


def trust() -> Trust:
    """Return whose signatures count here."""
    folders = trust_folders()
    return Trust(keys.trusted_keys(folders), keys.revocations(folders))


def signing_key(wanted: str | None) -> SigningKey | None:
    """Return the key to sign with, or None where there is none and none was asked for.

    Args:
        wanted: A key's name or file; None: the one called "signing", or the only one.

    Raises:
        KeyProblem: KEY-MISSING, KEY-UNREADABLE, KEY-EXPOSED, KEY-SEVERAL, KEY-REVOKED.
    """
    folder = private_folder()
    if wanted is not None:
        path = Path(wanted) if "/" in wanted or wanted.endswith(".key") else folder / wanted
        key = keys.read_signing_key(
            path if path.suffix == ".key" else path.with_name(f"{path.name}.key")
        )
    else:
        here = sorted(folder.glob("*.key")) if folder.is_dir() else []
        chosen = [p for p in here if p.stem == DEFAULT] or here
        if not chosen:
            return None
        if len(chosen) > 1:
            raise KeyProblem(
                "KEY-SEVERAL",
                f"there are {len(chosen)} keys: {', '.join(p.stem for p in chosen)}",
                expected=f"one key, or one called {DEFAULT}",
                remedy="name one with --key, or --no-sign",
            )
        key = keys.read_signing_key(chosen[0])
    gone = keys.revoked_for(trust().revocations.get(key.id, ()), time.time())
    if gone is not None:
        raise KeyProblem(
            "KEY-REVOKED",
            f"the key {key.name} ({key.id[:12]}) is revoked: {gone.reason}",
            expected="a key that stands",
            remedy="make another: certify key rotate",
        )
    return key


def make_key(name: str, *, trusted: bool) -> tuple[SigningKey, Path | None]:
    """Make a key and, where asked, trust it for this user; return it and the trusted file."""
    key = keys.new_key(private_folder(), name)
    public = key.path.with_suffix(".pub")
    where = _trust(public, user_trust(), f"{name}-{key.id[:12]}") if trusted else None
    return key, where


def known_keys() -> list[KnownKey]:
    """Return every key that is known here: own ones first."""
    folder = private_folder()
    own = {key.id: key for key in (keys.signing_keys(folder) if folder.is_dir() else [])}
    here = trust()
    found = []
    for name in [*own, *(n for n in here.keys if n not in own)]:
        mine, trusted = own.get(name), here.keys.get(name)
        revoked = next(iter(here.revocations.get(name, ())), None)
        shown = mine.name if mine is not None else trusted.name if trusted is not None else ""
        found.append(
            KnownKey(
                name, shown, mine.path if mine else None, trusted.path if trusted else None, revoked
            )
        )
    return found


def find_key(wanted: str) -> KnownKey:
    """Return a key by its name or the beginning of its id.

    Raises:
        UsageError: KEY-UNKNOWN, KEY-SEVERAL.
    """
    everything = known_keys()
    by_name = [k for k in everything if wanted in (k.name, k.id)]
    found = by_name or [k for k in everything if len(wanted) >= 8 and k.id.startswith(wanted)]
    if not found:
        raise UsageError(
            "KEY-UNKNOWN",
            f"no key is known here as {wanted!r}",
            expected="a key's name, or eight digits or more of its id",
            remedy="see which there are: certify key list",
        )
    if len(found) > 1:
        raise UsageError(
            "KEY-SEVERAL",
            f"{wanted} means {len(found)} keys: {', '.join(k.id[:12] for k in found)}",
            expected="one key",
            remedy="name it by its id",
        )
    return found[0]


def trust_key(path: Path, name: str | None, *, system: bool) -> tuple[TrustedKey, Path]:
    """Trust a public key, for the machine or for this user."""
    key = keys.read_public_key(path)
    folder = SYSTEM_TRUST if system else user_trust()
    return key, _trust(path, folder, name or f"{path.stem}-{key.id[:12]}")


def revoke_key(
    wanted: str, reason: str, since: float | None, *, system: bool
) -> tuple[KnownKey, Path]:
    """Revoke a key, for the machine or for this user."""
    key = find_key(wanted)
    folder = SYSTEM_TRUST if system else user_trust()
    return key, keys.revoke(Revocation(key=key.id, since=since, reason=reason), folder)


def rotate_key(name: str, now: float) -> tuple[str, SigningKey, list[Path]]:
    """Replace a private key: the old one's certificates stand until they expire, no new ones do.

    Returns:
        The old key's id, the new key, and the files of the new trust and the old revocation.
    """
    folder = private_folder()
    old = keys.read_signing_key(folder / f"{name}.key")
    # Renamed first: whatever fails afterwards, the old key is still there under another name.
    aside = old.path.with_name(f"{name}-{old.id[:12]}.key.retired")
    try:
        old.path.replace(aside)
    except OSError as error:
        raise UsageError(
            "KEY-NOT-WRITTEN",
            f"{old.path} cannot be renamed: {error.strerror}",
            expected="a folder that may be written to",
        ) from None
    try:
        new, trusted = make_key(name, trusted=True)
        reason = f"replaced by {new.id[:12]}"
        revoked = keys.revoke(Revocation(key=old.id, since=now, reason=reason), user_trust())
    except CudactlError:
        if not old.path.exists():
            aside.replace(old.path)
        raise
    aside.unlink()
    assert trusted is not None
    return old.id, new, [trusted, revoked]


def verify_files(
    files: Sequence[Path], lock: Path | None, *, host_state: bool, now: float
) -> list[Verification]:
    """Return what each certificate file is worth.

    Raises:
        UsageError: CERTIFICATE-UNREADABLE, LOCK-….
        CudactlError: KEY-…; HOST-… when this machine's state cannot be had.
    """
    lock_hash = read_lock(lock).hash if lock is not None else None
    state: HostState | None = None
    if host_state:
        state, error = read_state(run_probe([local_target()], ["state"])[0])
        if error is not None:
            raise error
    here = trust()
    return [verify_file(f, here, now, lock_hash=lock_hash, state=state) for f in files]


def _trust(public: Path, folder: Path, name: str) -> Path:
    return keys.trust(keys.read_public_key(public), folder, name)
