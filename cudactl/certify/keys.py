"""Keys that sign certificates: made, trusted, rotated, revoked; files that openssl reads too.

A private key is `NAME.key` (PKCS#8 PEM, for its owner only) beside `NAME.pub`; a trusted key is
`NAME.pub` in a folder of trusted keys; a revocation is `KEY-ID.revoked.json` there. A file in such
a folder that cannot be read is an error, never a key that silently counts or does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import ValidationError

from cudactl.certify.reading import NotJson, parse_object
from cudactl.contracts.base import Contract
from cudactl.contracts.errors import CudactlError, Exit, UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
MAX_KEY_BYTES = 16 * 1024


class KeyProblem(CudactlError):
    """A key that cannot be used."""

    exit_code = Exit.USAGE


class Revocation(Contract):
    """From when on a key's signatures count no longer."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    key: str
    """Key id."""
    since: float | None
    """Certificates issued from this Unix time on (seconds) are refused; None: every one, since
    whoever has the key may write any time into a certificate."""
    reason: str
    """Why."""


@dataclass(frozen=True)
class TrustedKey:
    """A public key whose signatures count."""

    id: str
    name: str
    path: Path
    public: Ed25519PublicKey


@dataclass(frozen=True)
class SigningKey:
    """A private key of ours."""

    id: str
    name: str
    path: Path
    private: Ed25519PrivateKey


def key_id(public: Ed25519PublicKey) -> str:
    """Return a key's id: the sha256 of its 32 bytes."""
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def new_key(folder: Path, name: str) -> SigningKey:
    """Make a key.

    Raises:
        UsageError: KEY-NAME, KEY-EXISTS, KEY-NOT-WRITTEN.
    """
    _check_name(name)
    path = folder / f"{name}.key"
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made for its owner only from the first moment, and never over another key.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(pem)
        path.with_suffix(".pub").write_bytes(public_pem(private.public_key()))
    except FileExistsError:
        raise UsageError(
            "KEY-EXISTS",
            f"there is a key {name} already: {path}",
            expected="a name that is free",
            remedy="use it, replace it with `certify key rotate`, or make another with --name",
        ) from None
    except OSError as error:
        raise _not_written(path, error) from None
    return SigningKey(key_id(private.public_key()), name, path, private)


def public_pem(public: Ed25519PublicKey) -> bytes:
    """Return a public key as PEM."""
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_signing_key(path: Path) -> SigningKey:
    """Return a private key.

    Raises:
        KeyProblem: KEY-MISSING, KEY-UNREADABLE, KEY-EXPOSED.
    """
    data = _read(path)
    mode = path.stat().st_mode
    if stat.S_IMODE(mode) & 0o077:
        raise KeyProblem(
            "KEY-EXPOSED",
            f"{path} may be read by others (mode {stat.S_IMODE(mode):04o})",
            expected="a private key that only its owner reads: mode 0600",
            remedy=f"chmod 600 {path}; if others have been on this machine, rotate it",
        )
    try:
        private = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unreadable(path, "it holds no private key that needs no passphrase") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise _unreadable(path, "it holds a key of another kind than ed25519")
    return SigningKey(key_id(private.public_key()), path.stem, path, private)


def read_public_key(path: Path) -> TrustedKey:
    """Return a public key.

    Raises:
        KeyProblem: KEY-MISSING, KEY-UNREADABLE.
    """
    try:
        public = load_pem_public_key(_read(path))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unreadable(path, "it holds no public key in PEM form") from None
    if not isinstance(public, Ed25519PublicKey):
        raise _unreadable(path, "it holds a key of another kind than ed25519")
    return TrustedKey(key_id(public), path.stem, path, public)


def signing_keys(folder: Path) -> list[SigningKey]:
    """Return the private keys in a folder, by name."""
    return [read_signing_key(path) for path in sorted(folder.glob("*.key"))]


def trusted_keys(folders: Sequence[Path]) -> dict[str, TrustedKey]:
    """Return key id → key, of every folder; the first name under which it is trusted."""
    found: dict[str, TrustedKey] = {}
    for folder in folders:
        for path in _files(folder, "*.pub"):
            key = read_public_key(path)
            found.setdefault(key.id, key)
    return found


def revocations(folders: Sequence[Path]) -> dict[str, list[Revocation]]:
    """Return key id → its revocations, of every folder."""
    found: dict[str, list[Revocation]] = {}
    for folder in folders:
        for path in _files(folder, "*.revoked.json"):
            try:
                one = Revocation.model_validate(parse_object(_read(path), finite=True))
            except (NotJson, ValidationError):
                raise _unreadable(path, "it is no revocation") from None
            found.setdefault(one.key, []).append(one)
    return found


def trust(key: TrustedKey, folder: Path, name: str) -> Path:
    """Keep a public key in a folder of trusted keys and return the file.

    Raises:
        UsageError: KEY-NAME, KEY-EXISTS, KEY-NOT-WRITTEN.
    """
    _check_name(name)
    path = folder / f"{name}.pub"
    if path.exists() and read_public_key(path).id != key.id:
        raise UsageError(
            "KEY-EXISTS",
            f"another key is trusted as {name} already: {path}",
            expected="a name that is free",
            remedy="choose another with --name",
        )
    _write(path, public_pem(key.public))
    return path


def revoke(revocation: Revocation, folder: Path) -> Path:
    """Keep a revocation in a folder of trusted keys and return the file.

    A key that is revoked altogether stays so: a later, narrower revocation replaces nothing.
    """
    path = folder / f"{revocation.key}.revoked.json"
    known = [r for r in revocations([folder]).get(revocation.key, []) if path.exists()]
    for earlier in known:
        kept = earlier.since
        if kept is None or (revocation.since is not None and kept <= revocation.since):
            return path
    _write(path, json.dumps(revocation.model_dump(mode="json"), indent=1).encode() + b"\n")
    return path


def revoked_for(found: Sequence[Revocation], issued: float) -> Revocation | None:
    """Return the revocation that takes a certificate issued at that time, or None."""
    for one in found:
        if one.since is None or issued >= one.since:
            return one
    return None


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(
            "KEY-NAME",
            f"{name!r} cannot be a key's name",
            expected="up to 64 letters, digits, '.', '_', '@' and '-'",
            remedy="choose another with --name",
        )


def _files(folder: Path, pattern: str) -> list[Path]:
    """Return a folder's files; a folder that is there and cannot be read is an error."""
    try:
        return sorted(p for p in folder.iterdir() if p.match(pattern))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error.strerror or str(error)) from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_KEY_BYTES + 1)
    except FileNotFoundError:
        raise KeyProblem(
            "KEY-MISSING",
            f"there is no key {path}",
            expected="a key file",
            remedy="make one with `certify key new`, or list those that are here: certify key list",
        ) from None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    if len(data) > MAX_KEY_BYTES:
        raise _unreadable(path, f"it is larger than {MAX_KEY_BYTES // 1024} KiB")
    return data


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(data)
            partial.chmod(0o644)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> UsageError:
    return UsageError(
        "KEY-NOT-WRITTEN",
        f"{path} cannot be written: {error.strerror}",
        expected="a folder that may be written to",
        remedy="use sudo for the machine's folder, or leave out --system",
    )


def _unreadable(path: Path, why: str) -> KeyProblem:
    return KeyProblem(
        "KEY-UNREADABLE",
        f"{path}: {why}",
        expected="a key or revocation as `certify key` writes it",
        remedy="restore the file, or remove it if nobody needs it",
    )
