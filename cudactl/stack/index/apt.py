"""Fetch, verify and read a flat, signed apt index.

Trust comes from one fingerprint: the catalogue's for the vendor's repository, or that of the key
file a spec names for a mirror. Nothing of the index is read before its signature and hashes are
right.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cudactl.stack.index.fetching import IndexRefused, fetch, keep, without_password
from cudactl.stack.index.key_files import read_key_file
from cudactl.stack.index.openpgp import LARGEST as LARGEST_KEY
from cudactl.stack.index.openpgp import KeyFormatError, PublicKey, read_keys
from cudactl.stack.index.packages import Package, Relation, package_of, split_packages
from cudactl.stack.index.release import (
    LARGEST_RELEASE,
    Release,
    fetch_inrelease,
    malformed,
    not_there,
    tampered,
    too_large,
    verified,
)

__all__ = ["LARGEST_RELEASE", "AptIndex", "IndexSource", "fetch_index"]

LARGEST_PACKAGES = 256 << 20
"""Largest Packages file, unpacked, bytes (NVIDIA's had 5 MB in 2026-02)."""
KEPT = 8
"""Indexes kept in the cache."""


@dataclass(frozen=True)
class IndexSource:
    """Where an index is, and who must have signed it."""

    url: str
    """Folder of the flat repository, ending in "/"."""
    arch: str
    """Debian architecture of the target, e.g. "amd64"."""
    architecture: str
    """The same in NVIDIA's words, e.g. "x86_64"."""
    vendor: bool
    """True where `url` is the vendor's own address."""
    key_name: str
    """Name of the key file in that folder."""
    fingerprint: str
    """Fingerprint that must have signed, unless there is a key file."""
    key_file: Path | None = None
    """The mirror's key, as the spec says."""

    @property
    def title(self) -> str:
        """The address, for people."""
        return without_password(self.url)


@dataclass(frozen=True)
class AptIndex:
    """A verified index."""

    source: IndexSource
    key: PublicKey
    """Key that signed it."""
    sha256: str
    """sha256 of `Packages`."""
    text: str
    """`Packages`, as it was verified."""
    date: str = ""
    """Day that its signed text gives itself, ISO 8601; empty: it gives none."""
    _sorted: dict[str, list[Package]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def title(self) -> str:
        """The index, for people."""
        return self.source.title

    @property
    def names(self) -> Collection[str]:
        """Names of its packages."""
        return self.paragraphs.keys()

    def __contains__(self, name: str) -> bool:
        return name in self.paragraphs

    @cached_property
    def paragraphs(self) -> Mapping[str, list[str]]:
        """Name → that package's paragraphs for the target's architecture, in no order."""
        return split_packages(self.text, self.source.arch, self.source.title)

    @cached_property
    def providers(self) -> Mapping[str, list[Package]]:
        """Virtual name → packages that provide it."""
        found: dict[str, list[Package]] = {}
        for own, paragraphs in self.paragraphs.items():
            if not any("\nProvides:" in paragraph for paragraph in paragraphs):
                continue
            for package in self.versions(own):
                for name in package.provided_names:
                    found.setdefault(name, []).append(package)
        return found

    def versions(self, name: str) -> list[Package]:
        """Return the versions of a package, newest first; empty where the index has none."""
        if name not in self._sorted:
            packages = [package_of(p, self.source.title) for p in self.paragraphs.get(name, ())]
            self._sorted[name] = sorted(packages, reverse=True)
        return self._sorted[name]

    def providing(self, name: str) -> Sequence[Package]:
        """Return the packages that provide a virtual name."""
        return self.providers.get(name, ())

    def elsewhere(self, relation: Relation) -> bool:
        """Return False: nothing is known here of packages that are not locked."""
        return False


def fetch_index(source: IndexSource, cache: Path) -> AptIndex:
    """Return the verified index; what is in `cache` already is not downloaded again.

    Raises:
        UnreachableError: INDEX-UNREACHABLE.
        IndexRefused: INDEX-UNSIGNED, INDEX-WRONG-KEY, INDEX-BAD-SIGNATURE, INDEX-TAMPERED,
            INDEX-EXPIRED, INDEX-TOO-LARGE, INDEX-MALFORMED, INDEX-WRONG-ARCH.
        UsageError: MIRROR-KEY-…, for the key file.
    """
    signed = fetch_inrelease(source.url, source.title)
    release = verified(
        source.title,
        signed,
        _trusted(source, cache),
        owner=str(source.key_file or "the vendor"),
        remedy="name the mirror's own key in the spec (mirror.key), or use a repository that the "
        "expected key signs",
    )
    release.check_architecture(source.arch, source.architecture)
    release.check_valid()
    files = _listed(release)
    digest, data = _packages(source, files, cache / "index")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise malformed(source.title, "Packages is not UTF-8 text") from None
    return AptIndex(source, release.key, digest, text, release.day)


def _trusted(source: IndexSource, cache: Path) -> list[PublicKey]:
    """Return the keys of which one must have signed."""
    if source.key_file is not None:
        return read_key_file(source.key_file, "mirror.key")
    kept = cache / "keys" / f"{source.fingerprint}.pub"
    data = kept.read_bytes() if kept.is_file() else None
    fresh = data is None
    if data is None:
        data = fetch(source.url + source.key_name, LARGEST_KEY)
    found: list[PublicKey] = []
    if data is not None:
        try:
            found = read_keys(data)
        except KeyFormatError as wrong:
            raise _wrong_vendor_key(source, str(wrong)) from None
    for key in found:
        if key.fingerprint == source.fingerprint:
            if fresh:
                keep(kept, key.armoured.encode())
            return [key]
    was = ", ".join(key.fingerprint for key in found) if found else "no such file"
    raise _wrong_vendor_key(source, was)


def _wrong_vendor_key(source: IndexSource, found: str) -> IndexRefused:
    return IndexRefused(
        "INDEX-WRONG-KEY",
        f"{source.title}{source.key_name}: {found}",
        expected=f"the vendor's key {source.fingerprint}",
        remedy="for a mirror that signs with a key of its own, name that key in the spec: "
        "mirror: {url: …, key: FILE}",
    )


def _listed(release: Release) -> dict[str, tuple[str, int]]:
    files = release.files()
    if not {"Packages", "Packages.gz"} & set(files):
        raise malformed(release.title, "InRelease lists no Packages file with a SHA256")
    return files


def _packages(
    source: IndexSource, files: dict[str, tuple[str, int]], cache: Path
) -> tuple[str, bytes]:
    """Return the sha256 of `Packages` and its bytes."""
    plain = files.get("Packages")
    for name, (_, size) in files.items():
        if name in ("Packages", "Packages.gz") and size > LARGEST_PACKAGES:
            said = f"{name} has {size} bytes by its own InRelease"
            raise too_large(source.title, said, LARGEST_PACKAGES)
    if plain is not None:
        kept = cache / f"{plain[0]}.packages"
        if kept.is_file():
            data = kept.read_bytes()
            if hashlib.sha256(data).hexdigest() == plain[0]:
                kept.touch()
                return plain[0], data
    name = "Packages.gz" if "Packages.gz" in files else "Packages"
    data = _listed_file(source, name, *files[name])
    if name == "Packages.gz":
        data = _unpacked(source, data, plain[1] if plain else LARGEST_PACKAGES)
    digest = hashlib.sha256(data).hexdigest()
    if plain is not None and digest != plain[0]:
        raise tampered(source.title, "Packages, unpacked", plain[0], digest)
    keep(cache / f"{digest}.packages", data)
    _forget_old(cache)
    return digest, data


def _listed_file(source: IndexSource, name: str, sha256: str, size: int) -> bytes:
    data = fetch(source.url + name, size)
    if data is None:
        raise not_there(source.title, name)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256 or len(data) != size:
        raise tampered(source.title, name, sha256, digest)
    return data


def _unpacked(source: IndexSource, data: bytes, limit: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(limit + 1)
    except (OSError, EOFError, zlib.error):
        raise malformed(source.title, "Packages.gz is not gzip, or is cut off") from None
    if len(unpacked) > limit:
        said = f"Packages.gz unpacks to more than {limit} bytes"
        raise too_large(source.title, said, LARGEST_PACKAGES)
    return unpacked


def _forget_old(cache: Path) -> None:
    try:
        kept = sorted(cache.glob("*.packages"), key=lambda p: p.stat().st_mtime, reverse=True)
        for path in kept[KEPT:]:
            path.unlink(missing_ok=True)
    except OSError:
        return
