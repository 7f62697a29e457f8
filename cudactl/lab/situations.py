"""What can go wrong with a mirror, or change on it: one call each, for tests and demonstrations.

Every function takes a mirror and the folder of a new one, which shares its files by hard link and
is altered; the mirror it came from stays as it was. `Mirror` offers them as methods.
"""

from __future__ import annotations

import gzip
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cudactl.contracts.errors import UsageError
from cudactl.lab.universe.shape import Arch
from cudactl.stack.bundle.repository import (
    SigningKey,
    Stanza,
    read_stanzas,
    write_deb,
    write_index,
    write_release,
)

if TYPE_CHECKING:
    from cudactl.lab.mirror import Mirror

HUGE_BYTES = 2 << 30


def copy_of(mirror: Mirror, folder: Path) -> Mirror:
    """Return a mirror in the new `folder` with the same files, linked, and the same key."""
    from cudactl.lab.mirror import Mirror

    folder.mkdir(parents=True)
    shutil.copytree(mirror.root, folder / "www", copy_function=_link)
    shutil.copyfile(mirror.key_file, folder / "lab-key.asc")
    return Mirror(folder, mirror.key, mirror.repositories)


def tampered_index(mirror: Mirror, folder: Path) -> Mirror:
    """One package's hash in the index was altered after signing; the files' sizes stay the same."""
    copy = copy_of(mirror, folder)
    for repository in _folders(copy):
        text = (repository / "Packages").read_bytes()
        size = (repository / "Packages.gz").stat().st_size
        for changed in _with_another_hash(text):
            packed = gzip.compress(changed, 6, mtime=0)
            if len(packed) == size:
                break
        _write(repository / "Packages", changed)
        _write(repository / "Packages.gz", packed)
    return copy


def _with_another_hash(text: bytes) -> Iterator[bytes]:
    """Change one digit of one hash at a time: some of the results compress to the same size."""
    at = 0
    while (at := text.find(b"\nSHA256: ", at)) >= 0:
        at += len(b"\nSHA256: ")
        for digit in b"0123456789abcdef":
            if text[at] != digit:
                yield text[:at] + bytes([digit]) + text[at + 1 :]


def unsigned(mirror: Mirror, folder: Path) -> Mirror:
    """No `InRelease` and no `Release.gpg`."""
    copy = copy_of(mirror, folder)
    for repository in _folders(copy):
        (repository / "InRelease").unlink()
        (repository / "Release.gpg").unlink()
    return copy


def signed_by_other_key(mirror: Mirror, folder: Path) -> Mirror:
    """Signed, by a key that nobody was told to trust; `key_file` is still the one to expect."""
    copy = copy_of(mirror, folder)
    other = SigningKey.create(folder / "other-key", "Somebody else <else@cudactl.invalid>")
    for name in copy.repositories:
        stanzas = read_stanzas(copy.repository(name))
        write_index(copy.repository(name), stanzas, key=other, architecture=_arch(name))
    return copy


def expired_valid_until(mirror: Mirror, folder: Path) -> Mirror:
    """Rightly signed, but its validity ended an hour ago."""
    return _changed(
        mirror,
        folder,
        lambda _, stanzas: stanzas,
        valid_until=time.time() - 3600,
        date=1_700_000_000,
    )


def truncated_packages(mirror: Mirror, folder: Path) -> Mirror:
    """Both forms of the index end in the middle, as after a broken synchronisation."""
    copy = copy_of(mirror, folder)
    for repository in _folders(copy):
        for name in ("Packages", "Packages.gz"):
            whole = (repository / name).read_bytes()
            _write(repository / name, whole[: len(whole) // 2])
    return copy


def missing_package(mirror: Mirror, folder: Path, package: str) -> Mirror:
    """The index lists the package, its files are gone."""
    copy = copy_of(mirror, folder)
    for file in _files_of(copy, package):
        file.unlink()
    return copy


def wrong_hash(mirror: Mirror, folder: Path, package: str) -> Mirror:
    """The package's files have the size that the index says, and another content."""
    copy = copy_of(mirror, folder)
    for file in _files_of(copy, package):
        content = bytearray(file.read_bytes())
        content[-1] ^= 0xFF
        _write(file, bytes(content))
    return copy


def new_release(mirror: Mirror, folder: Path) -> Mirror:
    """Later versions appear: CUDA 13.0.3, cuDNN 9.28.1, TensorRT 11.1.0, driver 580.178.04."""
    packages = mirror.universe()

    def with_news(name: str, stanzas: list[Stanza]) -> list[Stanza]:
        distribution, arch = name.split("/")
        target = folder / "www" / mirror.url_path / name
        known = {(stanza.name, stanza.version) for stanza in stanzas}
        news = [
            deb
            for deb in packages.news(distribution, cast(Arch, arch))
            if (deb.name, deb.version) not in known
        ]
        return [*stanzas, *(write_deb(deb, target) for deb in news)]

    return _changed(mirror, folder, with_news)


def expired_pin(mirror: Mirror, folder: Path, package: str, version: str) -> Mirror:
    """That version of the package left the index, as happens in archives that keep only one."""

    def without(name: str, stanzas: list[Stanza]) -> list[Stanza]:
        return [s for s in stanzas if (s.name, s.version) != (package, version)]

    if not any(
        (stanza.name, stanza.version) == (package, version)
        for repository in _folders(mirror)
        for stanza in read_stanzas(repository)
    ):
        raise _unknown(f"{package}={version}")
    return _changed(mirror, folder, without)


def huge_index(mirror: Mirror, folder: Path, size: int = HUGE_BYTES) -> Mirror:
    """Rightly signed, and `Packages.gz` unpacks to `size` bytes of nothing (2 GiB if not said)."""
    copy = copy_of(mirror, folder)
    block = 16 << 20
    member = gzip.compress(b"\n" * block, 9, mtime=0)
    bomb = member * max(1, size // block)
    for name in copy.repositories:
        repository = copy.repository(name)
        (repository / "Packages").unlink()
        write_release(repository, {"Packages.gz": bomb}, key=copy.key, architecture=_arch(name))
    return copy


def _changed(
    mirror: Mirror,
    folder: Path,
    change: Callable[[str, list[Stanza]], Iterable[Stanza]],
    *,
    valid_until: float | None = None,
    date: float | None = None,
) -> Mirror:
    """Copy the mirror and sign a changed index with its own key."""
    copy = copy_of(mirror, folder)
    for name in copy.repositories:
        repository = copy.repository(name)
        write_index(
            repository,
            change(name, read_stanzas(repository)),
            key=copy.key,
            architecture=_arch(name),
            valid_until=valid_until,
            date=date,
        )
    return copy


def _folders(mirror: Mirror) -> list[Path]:
    return [mirror.repository(name) for name in mirror.repositories]


def _arch(name: str) -> str:
    return name.rpartition("/")[2]


def _files_of(mirror: Mirror, package: str) -> list[Path]:
    files = [
        file for repository in _folders(mirror) for file in repository.glob(f"{package}_*.deb")
    ]
    if not files:
        raise _unknown(package)
    return files


def _unknown(package: str) -> UsageError:
    return UsageError(
        "LAB-UNKNOWN-PACKAGE",
        f"the lab's mirror has no {package}",
        expected="a package of its index",
        remedy="Look it up in the mirror's Packages file.",
    )


def _write(file: Path, content: bytes) -> None:
    file.unlink()  # the file is shared with the mirror that this one was copied from
    file.write_bytes(content)


def _link(source: str, target: str) -> str:
    os.link(source, target)
    return target
