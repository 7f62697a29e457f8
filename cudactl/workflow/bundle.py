"""Make an offline bundle of locks, or add to one: fetch, verify, index, sign."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import StackLock
from cudactl.stack.bundle.bundle import (
    KEY,
    PARTIAL,
    BundleRecord,
    bundled_files,
    lock_name,
    read_bundled_locks,
    read_record,
    write_bundle,
)
from cudactl.stack.bundle.key import signing_key
from cudactl.stack.bundle.signing import SigningKey
from cudactl.stack.bundle.sources import missing_files
from cudactl.stack.index.downloads import fetch_files
from cudactl.stack.lock.file import read_lock
from cudactl.workflow.places import data_folder, wheel_cache


@dataclass(frozen=True)
class Bundled:
    """What `stack bundle` did."""

    folder: Path
    record: BundleRecord
    locks: dict[str, StackLock]
    """File name below locks/ → lock, everything that the bundle holds."""
    files: int
    """Package files in the bundle."""
    size: int
    """Their bytes."""
    fetched: int
    """Files that were not there before."""
    bytes_fetched: int
    """Bytes that came over the line."""


def bundle(
    lock_paths: Sequence[Path],
    folder: Path,
    *,
    url: str | None,
    key: Path | None,
    say: Callable[[str], None],
) -> Bundled:
    """Bring everything in the locks into `folder`; what the bundle has from before stays.

    An interrupted run is completed by the next one.

    Args:
        lock_paths: Locks to add.
        folder: The bundle.
        url: Where the bundle will be served; None: as before, or its own folder.
        key: Secret key to sign with; None: the bundle's own.
        say: Receives progress.

    Raises:
        CudactlError: LOCK-…, BUNDLE-…, DOWNLOAD-…, REPOSITORY-…, INDEX-UNREACHABLE.
    """
    given = [(path, read_lock(path)) for path in lock_paths]
    with _mine(folder):
        record = read_record(folder)
        locks = read_bundled_locks(folder, record)
        locks |= {lock_name(path, lock): lock for path, lock in given}
        files = bundled_files(locks.values())
        with signing_key(folder / KEY, key, data_folder() / "bundle-keys") as signer:
            partial = folder / PARTIAL
            _begin(folder, partial, signer)
            if record is not None:
                say("verifying what is there")
            missing = missing_files(files, folder, wheel_cache())
            if missing:
                say(f"fetching {len(missing)} files, {sum(m.size for m in missing) / 1e6:.0f} MB")
            bytes_fetched = fetch_files(missing, partial, say)
            was = record.url if record is not None else None
            try:
                made = write_bundle(folder, locks, files, signer, url or was)
            except OSError as error:
                raise _not_written(folder, error) from None
            shutil.rmtree(partial, ignore_errors=True)
    return Bundled(
        folder=folder,
        record=made,
        locks=locks,
        files=len(files),
        size=sum(one.package.size for one in files),
        fetched=len(missing),
        bytes_fetched=bytes_fetched,
    )


def _begin(folder: Path, partial: Path, signer: SigningKey) -> None:
    """Leave what an interrupted run is known by: its folder, and which key is the bundle's."""
    try:
        partial.mkdir(exist_ok=True)
        if not (folder / KEY).is_file():
            (folder / KEY).write_text(signer.public_key)
    except OSError as error:
        raise _not_written(folder, error) from None


@contextmanager
def _mine(folder: Path) -> Iterator[None]:
    """Keep a second cudactl out of the folder; the kernel forgets the claim of a dead one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _not_written(folder, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CudactlError(
                "BUNDLE-BUSY",
                f"another cudactl is writing into {folder}",
                expected="one at a time",
                remedy="wait until it is done, or choose another folder",
            ) from None
        except OSError:
            # Some network file systems cannot lock a folder; the work is safe to do without.
            pass
        yield
    finally:
        os.close(handle)


def _not_written(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        "BUNDLE-NOT-WRITTEN",
        f"{error.filename or folder} cannot be written: {error.strerror}",
        expected="a folder that may be written to and has room",
        remedy="make room, or choose another folder, then run the same command again",
    )
