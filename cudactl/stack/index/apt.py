"""Fetch, verify and read a flat, signed apt index.

Trust comes from one fingerprint: the catalogue's for the vendor's repository, or that of the key
file a spec names for a mirror. Nothing of the index is read before its signature and hashes are
right.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path

from cudactl.contracts.errors import UsageError
from cudactl.stack.index.fetching import (
    IndexRefused,
    fetch,
    keep,
    unreachable,
    without_password,
)
from cudactl.stack.index.openpgp import LARGEST as LARGEST_KEY
from cudactl.stack.index.openpgp import KeyFormatError, PublicKey, read_keys
from cudactl.stack.index.packages import Package, package_of, split_packages
from cudactl.stack.index.signature import BEGIN, check

LARGEST_RELEASE = 1 << 20
"""Largest InRelease, bytes."""
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


def fetch_index(source: IndexSource, cache: Path) -> AptIndex:
    """Return the verified index; what is in `cache` already is not downloaded again.

    Raises:
        UnreachableError: INDEX-UNREACHABLE.
        IndexRefused: INDEX-UNSIGNED, INDEX-WRONG-KEY, INDEX-BAD-SIGNATURE, INDEX-TAMPERED,
            INDEX-EXPIRED, INDEX-TOO-LARGE, INDEX-MALFORMED, INDEX-WRONG-ARCH.
        UsageError: MIRROR-KEY-…, for the key file.
    """
    signed = fetch(source.url + "InRelease", LARGEST_RELEASE)
    if signed is None:
        if fetch(source.url + "Release", LARGEST_RELEASE) is None:
            raise unreachable(source.url, "there is no package repository")
        raise _unsigned(source, "it has a Release file and no InRelease")
    if BEGIN not in signed:
        raise _unsigned(source, "its InRelease carries no signature")
    key, release = _verified(source, signed, cache)
    _check_release(source, release)
    files = _listed(source, release)
    digest, data = _packages(source, files, cache / "index")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _malformed(source, "Packages is not UTF-8 text") from None
    return AptIndex(source, key, digest, text, _day(release))


def _day(release: dict[str, str]) -> str:
    try:
        return parsedate_to_datetime(release.get("Date", "")).date().isoformat()
    except (ValueError, TypeError, OverflowError):
        return ""


def _verified(source: IndexSource, signed: bytes, cache: Path) -> tuple[PublicKey, dict[str, str]]:
    found = ""
    for key in _trusted(source, cache):
        checked = check(signed, key)
        if checked.outcome == "good":
            return key, _fields(source, checked.text)
        found = checked.detail
        if checked.outcome == "bad":
            raise IndexRefused(
                "INDEX-BAD-SIGNATURE",
                f"{source.title}: InRelease carries {checked.detail}",
                expected=f"a good signature by {key.fingerprint}",
                remedy="do not use this repository; synchronise the mirror again, or take the "
                "vendor's",
            )
    raise IndexRefused(
        "INDEX-WRONG-KEY",
        f"{source.title}: InRelease carries {found}",
        expected=f"a signature by {_expected(source, cache)}",
        remedy="name the mirror's own key in the spec (mirror.key), or use a repository that the "
        "expected key signs",
    )


def _expected(source: IndexSource, cache: Path) -> str:
    keys = ", ".join(key.fingerprint for key in _trusted(source, cache))
    return f"{keys} ({source.key_file or 'the vendor'})"


def _trusted(source: IndexSource, cache: Path) -> list[PublicKey]:
    """Return the keys of which one must have signed."""
    if source.key_file is not None:
        return _mirror_keys(source.key_file)
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


def _mirror_keys(path: Path) -> list[PublicKey]:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_KEY + 1)
    except OSError as error:
        raise UsageError(
            "MIRROR-KEY-UNREADABLE",
            f"mirror.key: {path}: {error.strerror}",
            expected="the mirror's OpenPGP public key; the path is relative to the spec file",
            remedy="correct the path",
        ) from None
    try:
        if len(data) > LARGEST_KEY:
            raise KeyFormatError("a file larger than any key")
        return read_keys(data)
    except KeyFormatError as wrong:
        raise UsageError(
            "MIRROR-KEY-WRONG",
            f"mirror.key: {path} holds {wrong}",
            expected="an OpenPGP public key, armoured or binary",
            remedy="export it: gpg --armor --export KEY > FILE",
        ) from None


def _fields(source: IndexSource, text: bytes) -> dict[str, str]:
    """Read a Release file; a field's continuation lines are kept in its value."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.decode(errors="replace").splitlines():
        if line[:1] in (" ", "\t"):
            if not name:
                raise _malformed(source, "InRelease begins with a continuation line")
            fields[name] += "\n" + line.strip()
        elif line.strip():
            name, colon, value = line.partition(":")
            if not colon:
                raise _malformed(source, f"InRelease has a line without a field: {line[:60]!r}")
            fields[name] = value.strip()
    return fields


def _check_release(source: IndexSource, release: dict[str, str]) -> None:
    said = (release.get("Architectures") or release.get("Architecture") or "").split()
    if said and not {source.arch, source.architecture, "all"} & set(said):
        raise IndexRefused(
            "INDEX-WRONG-ARCH",
            f"{source.title} is for {' '.join(said)}",
            expected=f"{source.architecture} ({source.arch})",
            remedy="correct `arch` in the spec, or the mirror's folders",
        )
    until = release.get("Valid-Until")
    if until:
        try:
            ends = parsedate_to_datetime(until).timestamp()
        except (ValueError, TypeError, OverflowError):
            raise _malformed(source, f"Valid-Until is {until!r}") from None
        if ends < time.time():
            raise IndexRefused(
                "INDEX-EXPIRED",
                f"{source.title} was valid until {until}",
                expected="an index that is still valid",
                remedy="synchronise the mirror again (or set this machine's clock)",
            )


def _listed(source: IndexSource, release: dict[str, str]) -> dict[str, tuple[str, int]]:
    """Return file name → sha256 and size, as the signed text lists them."""
    files: dict[str, tuple[str, int]] = {}
    for line in release.get("SHA256", "").split("\n"):
        fields = line.split()
        if len(fields) == 3 and re.fullmatch(r"[0-9a-f]{64}", fields[0]) and fields[1].isdecimal():
            files[fields[2].removeprefix("./")] = (fields[0], int(fields[1][:18]))
    if not {"Packages", "Packages.gz"} & set(files):
        raise _malformed(source, "InRelease lists no Packages file with a SHA256")
    return files


def _packages(
    source: IndexSource, files: dict[str, tuple[str, int]], cache: Path
) -> tuple[str, bytes]:
    """Return the sha256 of `Packages` and its bytes."""
    plain = files.get("Packages")
    for name, (_, size) in files.items():
        if name in ("Packages", "Packages.gz") and size > LARGEST_PACKAGES:
            raise _too_large(source, f"{name} has {size} bytes by its own InRelease")
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
        raise _tampered(source, "Packages, unpacked", plain[0], digest)
    keep(cache / f"{digest}.packages", data)
    _forget_old(cache)
    return digest, data


def _listed_file(source: IndexSource, name: str, sha256: str, size: int) -> bytes:
    data = fetch(source.url + name, size)
    if data is None:
        raise IndexRefused(
            "INDEX-TAMPERED",
            f"{source.title} lists {name} and does not have it",
            expected="every file that its InRelease lists",
            remedy="the repository is being changed or is damaged: try again, or synchronise it",
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256 or len(data) != size:
        raise _tampered(source, name, sha256, digest)
    return data


def _unpacked(source: IndexSource, data: bytes, limit: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(limit + 1)
    except (OSError, EOFError, zlib.error):
        raise _malformed(source, "Packages.gz is not gzip, or is cut off") from None
    if len(unpacked) > limit:
        raise _too_large(source, f"Packages.gz unpacks to more than {limit} bytes")
    return unpacked


def _forget_old(cache: Path) -> None:
    try:
        kept = sorted(cache.glob("*.packages"), key=lambda p: p.stat().st_mtime, reverse=True)
        for path in kept[KEPT:]:
            path.unlink(missing_ok=True)
    except OSError:
        return


def _unsigned(source: IndexSource, found: str) -> IndexRefused:
    return IndexRefused(
        "INDEX-UNSIGNED",
        f"{source.title} is not signed: {found}",
        expected="a signed index (InRelease)",
        remedy="use a signed repository; a mirror must copy InRelease too",
    )


def _malformed(source: IndexSource, found: str) -> IndexRefused:
    return IndexRefused(
        "INDEX-MALFORMED",
        f"{source.title}: {found}",
        expected="an apt index",
        remedy="synchronise the mirror again",
    )


def _too_large(source: IndexSource, found: str) -> IndexRefused:
    return IndexRefused(
        "INDEX-TOO-LARGE",
        f"{source.title}: {found}",
        expected=f"at most {LARGEST_PACKAGES} bytes, and no more than announced",
        remedy="check the address; if it is a mirror, synchronise it again",
    )


def _tampered(source: IndexSource, name: str, expected: str, found: str) -> IndexRefused:
    return IndexRefused(
        "INDEX-TAMPERED",
        f"{source.title}: {name} has sha256 {found[:12]}…",
        expected=f"sha256 {expected[:12]}…, as the signed InRelease says",
        remedy="the repository was altered or is being synchronised: try again in a minute; if it "
        "stays so, do not use it",
    )
