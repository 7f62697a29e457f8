"""An offline bundle: every file of one or more locks as a repository of its own, in one folder.

Debian packages lie in a flat, signed repository with NVIDIA's layout, wheels in a Simple index
(PEP 503): a host, a spec or pip uses the folder as it would use the vendor's address. The locks in
it keep their hash and name the bundle as their source, which makes it a store for rollbacks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from cudactl.contracts.base import Contract
from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import LockedPackage, LockSource, StackLock
from cudactl.stack.bundle.index import stanza_of, write_apt, write_simple
from cudactl.stack.bundle.readme import readme
from cudactl.stack.bundle.repository import SigningKey
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.lock.file import parse_lock, render_lock

RECORD = "bundle.json"
KEY = "bundle-key.asc"
SUMS = "SHA256SUMS"
LOCKS = "locks"
AS_GIVEN = "locks/as-given"
PARTIAL = ".partial"
SIMPLE = "simple"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_~%:-]*")


class BundleRecord(Contract):
    """`bundle.json`: what a bundle holds."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    fingerprint: str
    """Key that signed it."""
    url: str | None = None
    """Where it is served; None: its own folder."""
    locks: dict[str, str] = Field(default_factory=dict)
    """File name below locks/ → hash of the lock, oldest first."""


@dataclass(frozen=True)
class BundledFile:
    """One file of a lock, and its place in the bundle."""

    package: LockedPackage
    lock: StackLock
    place: str
    """Path below the bundle's folder."""


def read_record(folder: Path) -> BundleRecord | None:
    """Return what a bundle holds, or None where one is to be made.

    Raises:
        UsageError: BUNDLE-NOT-A-BUNDLE, BUNDLE-UNREADABLE.
    """
    path = folder / RECORD
    try:
        return BundleRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValidationError) as error:
        problem = error.strerror if isinstance(error, OSError) else "not what cudactl wrote"
        raise UsageError(
            "BUNDLE-UNREADABLE",
            f"{path}: {problem}",
            expected="a bundle's record",
            remedy="make the bundle anew in an empty folder",
        ) from None
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PARTIAL).is_dir():
        raise UsageError(
            "BUNDLE-NOT-A-BUNDLE",
            f"{folder} holds other files",
            expected="an empty or new folder, or a bundle to add to",
            remedy="choose another folder: -o DIR",
        )
    return None


def read_bundled_locks(folder: Path, record: BundleRecord | None) -> dict[str, StackLock]:
    """Return file name → lock, as it was given, of everything in the bundle.

    Raises:
        UsageError: LOCK-….
    """
    found = {}
    for name in record.locks if record is not None else ():
        path = folder / AS_GIVEN / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(
                "BUNDLE-UNREADABLE",
                f"{path}: {error.strerror}",
                expected="a lock of the bundle",
                remedy="make the bundle anew in an empty folder",
            ) from None
        found[name] = parse_lock(data, str(path))
    return found


def lock_name(path: Path, lock: StackLock) -> str:
    """Return a lock's file name in a bundle; the hash keeps several of one name apart."""
    return f"{path.stem}-{lock.short_hash}.lock"


def place_of(lock: StackLock, package: LockedPackage) -> str:
    """Return where a package's file lies below the bundle's folder.

    Raises:
        UsageError: BUNDLE-BAD-NAME, for a name that would lead out of it.
    """
    file = package.filename.rpartition("/")[2]
    for name in (package.name, file):
        if not _NAME.fullmatch(name):
            raise UsageError(
                "BUNDLE-BAD-NAME",
                f"the lock names a package {package.name!r} with the file {package.filename!r}",
                expected="names of letters, digits and . + - _ ~ % :",
                remedy="do not use this lock; lock again: cudactl stack lock",
            )
    if _kind(lock, package) == "wheels":
        return f"{SIMPLE}/{package.name}/{file}"
    return f"{repository_of(lock)}/{file}"


def repository_of(lock: StackLock) -> str:
    """Return the folder of a lock's Debian packages, in NVIDIA's layout: "ubuntu2404/x86_64"."""
    distribution = load_catalogue().distribution(lock.target.os)
    return f"{distribution.repository}/{lock.target.arch}"


def bundled_files(locks: Iterable[StackLock]) -> list[BundledFile]:
    """Return every file of the locks once, by place.

    Raises:
        CudactlError: BUNDLE-CLASH, when two locks have another file in the same place.
    """
    found: dict[str, BundledFile] = {}
    for lock in locks:
        for package in lock.packages:
            place = place_of(lock, package)
            there = found.setdefault(place, BundledFile(package, lock, place))
            if there.package.sha256 != package.sha256:
                raise CudactlError(
                    "BUNDLE-CLASH",
                    f"two locks have another file as {place}: sha256 "
                    f"{there.package.sha256[:12]}… in {there.lock.short_hash}, "
                    f"{package.sha256[:12]}… in {lock.short_hash}",
                    expected="one content for one version",
                    remedy="make two bundles, and find out which of the two files is the right one "
                    "(cudactl stack diff)",
                )
    return [found[place] for place in sorted(found)]


def write_bundle(
    folder: Path,
    locks: Mapping[str, StackLock],
    files: Sequence[BundledFile],
    key: SigningKey,
    url: str | None,
) -> BundleRecord:
    """Write indexes, keys, locks, README and checksums around files that are there and verified.

    What says the same already is left alone, so nothing is signed twice.

    Raises:
        CudactlError: BUNDLE-BAD-PACKAGE, REPOSITORY-….
        OSError: when something cannot be written.
    """
    base = (url or folder.resolve().as_uri()).rstrip("/") + "/"
    written = _Written(folder, {one.place: one.package.sha256 for one in files})
    written.text(KEY, key.public_key)
    indexes: dict[str, str] = {}
    for repository in sorted({repository_of(lock) for lock in locks.values() if _has_apt(lock)}):
        debs = [f for f in files if f.place.startswith(f"{repository}/")]
        stanzas = [stanza_of(folder / f.place, f.package.sha256) for f in debs]
        index = write_apt(folder / repository, stanzas, key)
        written.note(index)
        indexes[repository] = written.hashes[f"{repository}/Packages"]
    wheels = [f for f in files if f.place.startswith(f"{SIMPLE}/")]
    if wheels:
        found = [(f.package.name, folder / f.place, f.package.sha256) for f in wheels]
        written.note(write_simple(folder / SIMPLE, found))
    for name, lock in locks.items():
        written.text(f"{AS_GIVEN}/{name}", render_lock(lock).decode())
        moved = relocated(lock, base, key, indexes.get(repository_of(lock)))
        written.text(f"{LOCKS}/{name}", render_lock(moved).decode())
    record = BundleRecord(
        fingerprint=key.fingerprint, url=url, locks={n: lock.hash for n, lock in locks.items()}
    )
    written.text(RECORD, json.dumps(record.model_dump(mode="json"), indent=2) + "\n")
    text = readme(
        list(locks.items()),
        url=base,
        fingerprint=key.fingerprint,
        key_file=str(folder.resolve() / KEY),
    )
    written.text("README.md", text)
    written.sums(key)
    return record


def relocated(lock: StackLock, base: str, key: SigningKey, index_sha256: str | None) -> StackLock:
    """Return the lock with the bundle at `base` as its source; its hash stays the same."""
    sources: list[LockSource] = []
    names: dict[str, str] = {}
    for source in lock.sources:
        first = next((s for s in sources if s.kind == source.kind), None)
        names[source.name] = first.name if first is not None else source.name
        if first is not None:
            continue
        if source.kind == "wheels":
            sources.append(
                LockSource(name=source.name, kind="wheels", url=f"{base}{SIMPLE}/", vendor=False)
            )
        else:
            sources.append(
                LockSource(
                    name=source.name,
                    kind="apt",
                    url=f"{base}{repository_of(lock)}/",
                    vendor=False,
                    fingerprint=key.fingerprint,
                    signing_key=key.public_key,
                    index_sha256=index_sha256,
                )
            )
    packages = [
        package.model_copy(
            update={
                "source": names[package.source],
                "filename": package.filename.rpartition("/")[2],
            }
        )
        for package in lock.packages
    ]
    return lock.model_copy(update={"sources": sources, "packages": packages})


def _kind(lock: StackLock, package: LockedPackage) -> str:
    return next(source.kind for source in lock.sources if source.name == package.source)


def _has_apt(lock: StackLock) -> bool:
    return any(_kind(lock, package) == "apt" for package in lock.packages)


class _Written:
    """Files of a bundle with their hashes; writes only what says something else."""

    def __init__(self, folder: Path, known: Mapping[str, str]) -> None:
        self.folder, self.hashes = folder, dict(known)

    def text(self, place: str, content: str) -> None:
        """Write one file."""
        data = content.encode()
        path = self.folder / place
        self.hashes[place] = hashlib.sha256(data).hexdigest()
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.part")
        partial.write_bytes(data)
        partial.replace(path)

    def note(self, paths: Iterable[Path]) -> None:
        """Take note of files that somebody else wrote."""
        for path in paths:
            place = path.relative_to(self.folder).as_posix()
            self.hashes[place] = hashlib.sha256(path.read_bytes()).hexdigest()

    def sums(self, key: SigningKey) -> None:
        """Write the checksums of everything, and sign them when they are new."""
        content = "".join(f"{self.hashes[place]}  {place}\n" for place in sorted(self.hashes))
        path, signature = self.folder / SUMS, self.folder / f"{SUMS}.asc"
        if signature.is_file() and path.is_file() and path.read_text() == content:
            return
        signature.unlink(missing_ok=True)
        self.text(SUMS, content)
        signature.write_bytes(key.sign(content.encode()).detached)
