"""The key that signs a bundle: its own, made once and kept on this machine, or one that is given.

The secret part never lies in the bundle, which is passed around. It is kept in a folder named by
its fingerprint, so a bundle that was moved is still found to be ours by the public key in it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.stack.bundle.signing import RepositoryError, SigningKey
from cudactl.stack.index.openpgp import KeyFormatError, read_keys

OWNER = "cudactl offline bundle <bundle@cudactl.invalid>"


@contextmanager
def signing_key(public: Path, given: Path | None, kept: Path) -> Iterator[SigningKey]:
    """Yield the key that signs a bundle.

    Args:
        public: The bundle's public key, where it has one already.
        given: A file with a secret key (as gpg --export-secret-keys writes it) or a GnuPG home.
        kept: Folder of the keys that were made for bundles.

    Raises:
        UsageError: BUNDLE-KEY-WRONG.
        CudactlError: BUNDLE-KEY-ELSEWHERE.
        RepositoryError: REPOSITORY-….
    """
    if given is not None:
        with tempfile.TemporaryDirectory(prefix="cudactl-key-") as folder:
            yield _given(given, Path(folder) / "home")
        return
    fingerprint = _fingerprint(public)
    if fingerprint is None:
        yield _made(kept)
        return
    home = kept / fingerprint
    if not home.is_dir():
        raise CudactlError(
            "BUNDLE-KEY-ELSEWHERE",
            f"{public.parent} was signed by {fingerprint}, and the secret part is not here",
            expected=f"the key in {home}",
            remedy="add to the bundle where it was made, or name a key that its users trust: "
            "--signing-key FILE",
        )
    yield SigningKey.load(home)


def _given(given: Path, home: Path) -> SigningKey:
    try:
        key = SigningKey.load(given) if given.is_dir() else SigningKey.import_file(given, home)
        there = len(read_keys(key.public_key.encode()))
        key.sign(b"Found out now, not after everything was fetched: a passphrase, an expired key.")
    except (RepositoryError, OSError, KeyFormatError) as error:
        raise _wrong(given, getattr(error, "found", None) or str(error)) from None
    if there != 1:
        # Which of them would sign is gpg's own choice, and all of them would be trusted by hosts.
        raise _wrong(given, f"it holds {there} keys")
    return key


def _wrong(given: Path, found: str) -> UsageError:
    return UsageError(
        "BUNDLE-KEY-WRONG",
        f"--signing-key {given}: {found}",
        expected="exactly one secret OpenPGP key, without passphrase",
        remedy="export it alone: gpg --armor --export-secret-keys KEY > FILE",
    )


def _fingerprint(public: Path) -> str | None:
    try:
        return read_keys(public.read_bytes())[0].fingerprint
    except FileNotFoundError:
        return None
    except (OSError, KeyFormatError) as error:
        raise UsageError(
            "BUNDLE-UNREADABLE",
            f"{public}: {error}",
            expected="the bundle's public key",
            remedy="take the file back from a copy of the bundle, or make the bundle anew in an "
            "empty folder",
        ) from None


def _made(kept: Path) -> SigningKey:
    try:
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=kept))
    except OSError as error:
        raise UsageError(
            "BUNDLE-KEY-NOT-KEPT",
            f"{kept}: {error.strerror}",
            expected="a folder of this user, for the secret part of the bundle's key",
            remedy="set XDG_DATA_HOME to a folder that may be written to, or give a key: "
            "--signing-key FILE",
        ) from None
    try:
        key = SigningKey.create(folder / "home", OWNER)
        (folder / "home").rename(kept / key.fingerprint)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return SigningKey.load(kept / key.fingerprint)
