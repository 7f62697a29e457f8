"""Keys that sign a repository's index, with the gpg program in a GNUPGHOME of its own.

Stands beside `repository.py`, which calls `SigningKey.sign`. Nothing of the user's own GnuPG is
read or written, and no agent is left running.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.errors import CudactlError


class RepositoryError(CudactlError):
    """A repository that could not be written."""


@dataclass(frozen=True)
class Signatures:
    """A text, signed in both of the forms that apt understands."""

    inline: bytes
    """Clear-signed: what `InRelease` holds."""
    detached: bytes
    """Armoured detached signature: what `Release.gpg` holds."""


@dataclass(frozen=True)
class SigningKey:
    """An OpenPGP key without passphrase, kept in a folder of its own (mode 0700)."""

    home: Path
    """Folder that holds the key; a GNUPGHOME."""
    fingerprint: str
    """Full fingerprint, 40 hexadecimal digits."""
    public_key: str
    """ASCII-armoured public key."""
    keyring: bytes
    """The public key in binary form, as `/usr/share/keyrings/*.gpg` holds it."""

    @property
    def keyid(self) -> str:
        """Short id as NVIDIA names its key files, e.g. "3BF863CC"."""
        return self.fingerprint[-8:]

    @classmethod
    def create(cls, home: Path, name: str) -> SigningKey:
        """Make a new Ed25519 key for `name` ("Who <address>") in the new folder `home`."""
        home.mkdir(mode=0o700, parents=True)
        with _short_home(home, keep=True) as short:
            _gpg(short, ["--quick-gen-key", name, "ed25519", "sign", "never"])
        return cls.load(home)

    @classmethod
    def import_file(cls, file: Path, home: Path) -> SigningKey:
        """Read a secret key from `file` into the new folder `home`."""
        data = file.read_bytes()
        home.mkdir(mode=0o700, parents=True)
        with _short_home(home, keep=True) as short:
            _gpg(short, ["--import"], data)
        return cls.load(home)

    @classmethod
    def load(cls, home: Path) -> SigningKey:
        """Read the key that `create` left in `home`."""
        with _short_home(home) as short:
            listing = _gpg(short, ["--with-colons", "--list-secret-keys"]).decode()
            fingerprints = [
                line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")
            ]
            if not fingerprints:
                raise RepositoryError(
                    "REPOSITORY-KEY-MISSING",
                    f"no secret key in {home}",
                    expected="a folder that SigningKey.create made",
                    remedy="Remove the folder; a new key is made on the next build.",
                )
            return cls(
                home,
                fingerprints[0],
                _gpg(short, ["--armor", "--export"]).decode(),
                _gpg(short, ["--export"]),
            )

    def sign(self, text: bytes) -> Signatures:
        """Sign `text` in both forms."""
        with _short_home(self.home) as short:
            return Signatures(
                _gpg(short, ["--digest-algo", "SHA512", "--clearsign"], text),
                _gpg(short, ["--digest-algo", "SHA512", "--armor", "--detach-sign"], text),
            )


@contextmanager
def _short_home(home: Path, *, keep: bool = False) -> Iterator[Path]:
    """Work on a copy of `home` under a short path: an agent's socket takes at most 107 bytes."""
    root = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it private
    short = Path(tempfile.mkdtemp(prefix="cg", dir=root))
    try:
        shutil.copytree(home, short, dirs_exist_ok=True, ignore=_ignore_sockets)
        short.chmod(0o700)
        yield short
        if keep:
            shutil.copytree(short, home, dirs_exist_ok=True, ignore=_ignore_sockets)
    finally:
        subprocess.run(
            ["gpgconf", "--homedir", str(short), "--kill", "all"], capture_output=True, check=False
        )
        shutil.rmtree(short, ignore_errors=True)


def _ignore_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("S.") or name.endswith(".lock")]


def _gpg(home: Path, arguments: list[str], text: bytes = b"") -> bytes:
    options = ["--batch", "--quiet", "--yes", "--no-tty", "--pinentry-mode", "loopback"]
    try:
        done = subprocess.run(
            ["gpg", "--homedir", str(home), *options, "--passphrase", "", *arguments],
            input=text,
            capture_output=True,
            check=False,
            env={**os.environ, "GNUPGHOME": str(home), "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise RepositoryError(
            "REPOSITORY-NO-GPG",
            "the program gpg is not installed",
            expected="gpg, to sign the repository's index",
            remedy="Install it: apt-get install gpg gpg-agent",
        ) from error
    if done.returncode:
        raise RepositoryError(
            "REPOSITORY-SIGNING",
            f"gpg failed: {done.stderr.decode(errors='replace').strip()}",
            expected="a signature",
            remedy="Check that gpg and gpg-agent are installed and that /tmp can be written.",
        )
    return done.stdout
