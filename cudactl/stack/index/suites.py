"""Fetch, verify and read suites of a distribution's archive: dists/<suite>/<component>/…

A distribution's `Packages` files are ten times as large as the vendor's, so they stay bytes: one
pass finds where each package begins, and a paragraph is read when somebody asks for its name.
Files are fetched by their hash where the archive offers that, a few at a time, and never twice.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cudactl.contracts.base import canonical_hash
from cudactl.stack.index.fetching import IndexRefused, fetch, keep, without_password
from cudactl.stack.index.openpgp import PublicKey
from cudactl.stack.index.packages import Package, Relation, package_of
from cudactl.stack.index.release import (
    Release,
    fetch_inrelease,
    malformed,
    not_there,
    tampered,
    too_large,
    verified,
)

LARGEST_PACKAGES = 256 << 20
"""Largest Packages file, unpacked, bytes (Debian 12's main had 50 MB in 2026-11)."""
KEPT_BYTES = 512 << 20
"""Bytes of Packages files kept in the cache; those of one distribution are about 70 MB."""
AT_ONCE = 4
"""Files fetched at the same time."""


@dataclass(frozen=True)
class SuiteSource:
    """Suites of one archive at one address, and who must have signed them."""

    name: str
    """Name that packages in a lock refer to, e.g. "ubuntu"."""
    url: str
    """Base address, ending in "/"."""
    suites: tuple[str, ...]
    """E.g. ("noble", "noble-updates"); where two have one version, the first is named."""
    components: tuple[str, ...]
    """E.g. ("main", "restricted")."""
    arch: str
    """Debian architecture of the target, e.g. "amd64"."""
    vendor: bool
    """True where `url` is the distribution's own address."""
    keys: tuple[PublicKey, ...] = field(repr=False)
    """Keys of which one must have signed each suite."""
    trusted_by: str
    """Where the keys come from, for people."""

    @property
    def title(self) -> str:
        """The address, for people."""
        return without_password(self.url)


@dataclass(frozen=True)
class SuiteFile:
    """One verified `Packages` file."""

    source: SuiteSource
    suite: str
    component: str
    sha256: str
    """sha256 of `Packages`."""
    data: bytes = field(repr=False)
    """`Packages`, with an empty line before and after it."""
    key: PublicKey = field(repr=False)
    """Key that signed the suite."""
    day: str
    """Day that the suite gives itself, ISO 8601; empty: it gives none."""

    @property
    def title(self) -> str:
        """Archive, suite and component, for people."""
        return f"{self.source.title} {self.suite}/{self.component}"


@dataclass(frozen=True)
class SuiteIndex:
    """Every package of some verified suites."""

    title: str
    """The archive, for people."""
    arch: str
    """Debian architecture of the target."""
    files: tuple[SuiteFile, ...]
    """Its files: sources, suites and components in their own order."""
    _read: dict[str, list[Package]] = field(default_factory=dict, repr=False, compare=False)
    _from: dict[Package, SuiteFile] = field(default_factory=dict, repr=False, compare=False)

    @property
    def names(self) -> Collection[str]:
        """Names of its packages, whatever architecture they are for."""
        return self._places.keys()

    @cached_property
    def _places(self) -> dict[str, list[tuple[int, int]]]:
        """Package → which file, and where in it its paragraph's name stands."""
        found: dict[str, list[tuple[int, int]]] = {}
        for number, file in enumerate(self.files):
            for match in re.finditer(rb"\nPackage: *([^\n ]+)", file.data):
                found.setdefault(match[1].decode(errors="replace"), []).append(
                    (number, match.start() + 1)
                )
        return found

    @cached_property
    def _provided(self) -> list[tuple[bytes, int, int]]:
        """Lines that say what a package provides, each with where it stands.

        Only looked through: cut into names they would be the slowest part of a lock.
        """
        return [
            (match[1], number, match.start() + 1)
            for number, file in enumerate(self.files)
            for match in re.finditer(rb"\nProvides: *([^\n]+)", file.data)
        ]

    @property
    def day(self) -> str:
        """The newest day that one of its suites gives itself."""
        return max((file.day for file in self.files), default="")

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def versions(self, name: str) -> list[Package]:
        """Return the versions of a package for the target, newest first, each once."""
        if name not in self._read:
            packages: dict[Package, None] = {}
            for number, at in self._places.get(name, ()):
                package = self._package(number, at)
                if package.name == name and package.arch in (self.arch, "all"):
                    packages.setdefault(package)
                    self._from.setdefault(package, self.files[number])
            self._read[name] = sorted(packages, reverse=True)
        return self._read[name]

    def providing(self, name: str) -> list[Package]:
        """Return the packages that provide a virtual name, in the files' order."""
        raw = name.encode()
        own = [self._package(n, at).name for line, n, at in self._provided if raw in line]
        return [
            package
            for one in dict.fromkeys(own)
            for package in self.versions(one)
            if name in package.provided_names
        ]

    def elsewhere(self, relation: Relation) -> bool:
        """Return False: every package of the archive is here."""
        return False

    def at_version(self, upstream: str) -> list[str]:
        """Return the names of the packages that have an upstream version, sorted."""
        line = re.compile(rb"\nVersion: *(?:[0-9]+:)?" + re.escape(upstream.encode()) + rb"[-+~\n]")
        return sorted(
            {
                self._package(number, match.start() + 1).name
                for number, file in enumerate(self.files)
                for match in line.finditer(file.data)
            }
        )

    def file_of(self, package: Package) -> SuiteFile:
        """Return the file that a package of `versions` was read from."""
        return self._from[package]

    def sources(self) -> list[SuiteSource]:
        """Return the addresses, each once."""
        return list(dict.fromkeys(file.source for file in self.files))

    def sha256_of(self, source: SuiteSource) -> str:
        """Return a hash over all files of one address."""
        return canonical_hash([file.sha256 for file in self.files if file.source == source])

    def keys_of(self, source: SuiteSource) -> list[PublicKey]:
        """Return the keys that signed an address's suites, each once, the first suite's first."""
        keys = {file.key.fingerprint: file.key for file in self.files if file.source == source}
        return list(keys.values())

    def _raw(self, number: int, at: int) -> bytes:
        data = self.files[number].data
        return data[data.rfind(b"\n\n", 0, at) + 2 : data.find(b"\n\n", at)]

    def _package(self, number: int, at: int) -> Package:
        file = self.files[number]
        try:
            stanza = self._raw(number, at).decode()
        except UnicodeDecodeError:
            raise malformed(file.title, "Packages is not UTF-8 text") from None
        package = package_of(stanza, file.title)
        if not package.name or not package.arch or not package.version[:1].isdigit():
            raise malformed(file.title, f"a paragraph that is no package: {stanza[:60]!r}")
        return package


def fetch_suites(title: str, sources: Sequence[SuiteSource], cache: Path) -> SuiteIndex:
    """Return the verified suites; `Packages` files in `cache` already are not downloaded again.

    Raises:
        UnreachableError: INDEX-UNREACHABLE.
        IndexRefused: INDEX-UNSIGNED, INDEX-WRONG-KEY, INDEX-BAD-SIGNATURE, INDEX-TAMPERED,
            INDEX-EXPIRED, INDEX-TOO-LARGE, INDEX-MALFORMED, INDEX-WRONG-ARCH, INDEX-WRONG-SUITE.
    """
    suites = [(source, suite) for source in sources for suite in source.suites]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        releases = list(pool.map(lambda one: _release(*one), suites))
        wanted = [
            (source, suite, component, release)
            for (source, suite), release in zip(suites, releases, strict=True)
            for component in source.components
        ]
        # The largest first: the others are read while it comes.
        largest = sorted(wanted, key=lambda one: -_size(one[3], one[2], one[0].arch))
        folder = cache / "archive"
        jobs = {id(one): pool.submit(_file, *one, folder) for one in largest}
        files = [jobs[id(one)].result() for one in wanted]
    _forget_old(folder)
    return SuiteIndex(title, sources[0].arch, tuple(file for file in files if file is not None))


def _release(source: SuiteSource, suite: str) -> Release:
    title = f"{source.title} {suite}"
    signed = fetch_inrelease(f"{source.url}dists/{suite}/", title)
    release = verified(
        title,
        signed,
        source.keys,
        owner=source.trusted_by,
        remedy="name the archive's own keys in the spec (archive.key), or use an archive that the "
        "expected keys sign",
    )
    _check_suite(release, suite)
    release.check_architecture(source.arch, source.arch)
    release.check_valid()
    return release


def _check_suite(release: Release, suite: str) -> None:
    """Refuse a suite that calls itself otherwise: an older one may be offered in its place."""
    named = {release.fields.get("Suite"), release.fields.get("Codename")} - {None, ""}
    if named and suite not in named:
        raise IndexRefused(
            "INDEX-WRONG-SUITE",
            f"{release.title}: its InRelease is of {' or '.join(sorted(map(str, named)))}",
            expected=f"the suite {suite}",
            remedy="synchronise the mirror again; check the address in the spec (archive.url)",
        )


def _size(release: Release, component: str, arch: str) -> int:
    return release.files().get(f"{component}/binary-{arch}/Packages", ("", 0))[1]


def _file(
    source: SuiteSource, suite: str, component: str, release: Release, cache: Path
) -> SuiteFile | None:
    """Return a component's packages; None where the suite has no such component."""
    base = f"{component}/binary-{source.arch}/Packages"
    files = release.files()
    kinds = [kind for kind in (".xz", ".gz", "") if base + kind in files]
    if not kinds:
        return None
    plain = files.get(base)
    data = _kept(cache, plain[0]) if plain is not None else None
    if data is None:
        data = _fetched(source, suite, base, kinds, release)
    digest = hashlib.sha256(data).hexdigest()
    if plain is not None and digest != plain[0]:
        raise tampered(release.title, f"{base}, unpacked", plain[0], digest)
    if data[:1] == b"\n" or b"\n\n\n" in data or b"\r" in data:
        # Empty lines elsewhere than between paragraphs: as no archive writes them.
        raise malformed(release.title, f"{base} has empty lines inside it")
    _keep_new(cache / f"{digest}.packages", data)
    padded = b"\n\n" + data.rstrip(b"\n") + b"\n\n"
    return SuiteFile(source, suite, component, digest, padded, release.key, release.day)


def _kept(cache: Path, sha256: str) -> bytes | None:
    path = cache / f"{sha256}.packages"
    try:
        data = path.read_bytes()
        path.touch()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == sha256 else None


def _keep_new(path: Path, data: bytes) -> None:
    """Write a file into the cache, unless it is there."""
    try:
        there = path.stat().st_size == len(data)
    except OSError:
        there = False
    if not there:
        keep(path, data)


def _fetched(
    source: SuiteSource, suite: str, base: str, kinds: Iterable[str], release: Release
) -> bytes:
    """Return `Packages` from the first form of it that the archive has."""
    files = release.files()
    folder = f"{source.url}dists/{suite}/"
    by_hash = release.fields.get("Acquire-By-Hash", "").lower() == "yes"
    for kind in kinds:
        sha256, size = files[base + kind]
        if size > LARGEST_PACKAGES:
            said = f"{base}{kind} has {size} bytes by its own InRelease"
            raise too_large(release.title, said, LARGEST_PACKAGES)
        data = None
        if by_hash:
            data = fetch(f"{folder}{base.rpartition('/')[0]}/by-hash/SHA256/{sha256}", size)
        if data is None:
            data = fetch(f"{folder}{base}{kind}", size)
        if data is None:
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest != sha256 or len(data) != size:
            raise tampered(release.title, base + kind, sha256, digest)
        return _unpacked(release.title, base + kind, data)
    raise not_there(release.title, base)


def _unpacked(title: str, name: str, data: bytes) -> bytes:
    try:
        if name.endswith(".xz"):
            found = lzma.LZMADecompressor().decompress(data, LARGEST_PACKAGES + 1)
        elif name.endswith(".gz"):
            found = zlib.decompressobj(31).decompress(data, LARGEST_PACKAGES + 1)
        else:
            return data
    except (lzma.LZMAError, zlib.error, EOFError):
        raise malformed(title, f"{name} cannot be unpacked") from None
    if len(found) > LARGEST_PACKAGES:
        said = f"{name} unpacks to more than {LARGEST_PACKAGES} bytes"
        raise too_large(title, said, LARGEST_PACKAGES)
    return found


def _forget_old(cache: Path) -> None:
    try:
        kept = sorted(cache.glob("*.packages"), key=lambda p: p.stat().st_mtime, reverse=True)
        room = KEPT_BYTES
        for path in kept:
            room -= path.stat().st_size
            if room < 0:
                path.unlink(missing_ok=True)
    except OSError:
        return
