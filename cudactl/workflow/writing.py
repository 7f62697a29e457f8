"""Write files that a user may have written before: never replaced unless that was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cudactl.contracts.errors import UsageError


def write_all(files: Mapping[Path, bytes], *, force: bool) -> list[Path]:
    """Write files, each whole; when one may not be replaced, none is written.

    Returns:
        The files that were written; those that said the same already are left alone.

    Raises:
        UsageError: FILE-EXISTS, FILE-NOT-WRITTEN.
    """
    wanted = {path: data for path, data in files.items() if _content(path) != data}
    for path in wanted:
        if not force and os.path.lexists(path):
            raise UsageError(
                "FILE-EXISTS",
                f"{path} is there already and says something else",
                expected="a name that is free",
                remedy="choose another with -o, or replace it: --force",
            )
    for path, data in wanted.items():
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            try:
                partial.write_bytes(data)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                "FILE-NOT-WRITTEN",
                f"{path} cannot be written: {error.strerror}",
                expected="a file in a folder that exists, may be written to and has room",
                remedy="choose another place with -o",
            ) from None
    return list(wanted)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
