"""Key files that a spec names, or that a distribution keeps on this machine: read, or refused."""

from __future__ import annotations

from pathlib import Path

from cudactl.contracts.errors import UsageError
from cudactl.stack.index.openpgp import LARGEST, KeyFormatError, PublicKey, read_keys


def read_key_file(path: Path, named: str) -> list[PublicKey]:
    """Return the keys in a file.

    Args:
        path: The file.
        named: Key of the spec that names it: "mirror.key" or "archive.key".

    Raises:
        UsageError: MIRROR-KEY-UNREADABLE, MIRROR-KEY-WRONG; ARCHIVE-KEY-….
    """
    owner = named.partition(".")[0]
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(
            f"{owner.upper()}-KEY-UNREADABLE",
            f"{named}: {path}: {error.strerror}",
            expected=f"the {owner}'s OpenPGP public key; the path is relative to the spec file",
            remedy="correct the path",
        ) from None
    try:
        if len(data) > LARGEST:
            raise KeyFormatError("a file larger than any key")
        return read_keys(data)
    except KeyFormatError as wrong:
        raise UsageError(
            f"{owner.upper()}-KEY-WRONG",
            f"{named}: {path} holds {wrong}",
            expected="an OpenPGP public key, armoured or binary",
            remedy="export it: gpg --armor --export KEY > FILE",
        ) from None
