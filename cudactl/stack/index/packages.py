"""Packages of an apt index: stanzas, versions and relations, read with python-debian.

An index has ten thousand stanzas and a closure a hundred, so stanzas are only sorted by name here,
and each becomes a package when somebody asks for that name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, total_ordering
from typing import Protocol

from debian.deb822 import Packages as Deb822Packages
from debian.deb822 import PkgRelation
from debian.debian_support import NativeVersion

from cudactl.stack.index.fetching import IndexRefused

_PROVIDES = re.compile(r"^Provides: *(.+)$", re.MULTILINE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@lru_cache(maxsize=65536)
def debian_version(text: str) -> NativeVersion:
    """Return a version that compares as dpkg compares."""
    return NativeVersion(text)


def upstream(version: str) -> str:
    """Return a Debian version without epoch and revision: "1:4.5.2-1" → "4.5.2"."""
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0]


@dataclass(frozen=True)
class Relation:
    """One alternative of a dependency."""

    name: str
    """Package name, real or virtual."""
    operator: str = ""
    """One of <<, <=, =, >=, >>; empty: any version."""
    version: str = ""
    """Version that the operator speaks of."""

    def admits(self, version: str) -> bool:
        """Return True when a package at `version` satisfies this."""
        if not self.operator:
            return True
        if version == self.version:
            return "=" in self.operator
        have, want = debian_version(version), debian_version(self.version)
        order = (have > want) - (have < want)
        return (
            order
            in {"<<": (-1,), "<=": (-1, 0), "=": (0,), ">=": (0, 1), ">>": (1,)}[self.operator]
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


@total_ordering
@dataclass(frozen=True, eq=False)
class Package:
    """One stanza."""

    name: str
    version: str
    arch: str
    stanza: str
    """The paragraph as it stands in the index."""
    where: str
    """The index, for errors."""

    def __lt__(self, other: Package) -> bool:
        return bool(debian_version(self.version) < debian_version(other.version))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Package):
            return NotImplemented
        return (self.name, self.version, self.arch) == (other.name, other.version, other.arch)

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.arch))

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """The stanza's fields."""
        return dict(Deb822Packages(self.stanza).items())

    @cached_property
    def sha256(self) -> str:
        """sha256 of the file."""
        value = self.fields.get("SHA256", "").lower()
        if not _SHA256.fullmatch(value):
            raise self._malformed("no SHA256")
        return value

    @cached_property
    def size(self) -> int:
        """Bytes of the file."""
        value = self.fields.get("Size", "")
        if not re.fullmatch(r"[0-9]{1,15}", value):
            raise self._malformed("no Size")
        return int(value)

    @cached_property
    def installed_bytes(self) -> int | None:
        """Bytes it takes when installed; the index says KiB."""
        value = self.fields.get("Installed-Size", "")
        return int(value) * 1024 if re.fullmatch(r"[0-9]{1,12}", value) else None

    @cached_property
    def filename(self) -> str:
        """Path below the repository's folder."""
        value = self.fields.get("Filename", "").removeprefix("./")
        if not value or value.startswith("/") or ".." in value.split("/"):
            raise self._malformed("no usable Filename")
        return value

    @cached_property
    def provides(self) -> tuple[Relation, ...]:
        """What it provides, with versions where it says so."""
        return tuple(one for group in self._relations("Provides") for one in group)

    @cached_property
    def provided_names(self) -> tuple[str, ...]:
        """Names that it provides, cheaply."""
        found = _PROVIDES.search(self.stanza) if "\nProvides:" in self.stanza else None
        if not found:
            return ()
        return tuple(part.split("(")[0].strip() for part in found.group(1).split(","))

    @cached_property
    def depends(self) -> tuple[tuple[Relation, ...], ...]:
        """Pre-Depends and Depends: groups of alternatives."""
        return (*self._relations("Pre-Depends"), *self._relations("Depends"))

    @cached_property
    def conflicts(self) -> tuple[Relation, ...]:
        """Conflicts and Breaks."""
        groups = (*self._relations("Conflicts"), *self._relations("Breaks"))
        return tuple(one for group in groups for one in group)

    def _relations(self, field: str) -> tuple[tuple[Relation, ...], ...]:
        text = self.fields.get(field, "").strip()
        if not text:
            return ()
        groups = []
        for group in PkgRelation.parse_relations(text):
            alternatives = []
            for one in group:
                operator, version = one.get("version") or ("", "")
                operator = {"<": "<=", ">": ">="}.get(operator, operator)
                if operator not in ("", "<<", "<=", "=", ">=", ">>"):
                    raise self._malformed(f"{field}: {text[:80]!r}")
                alternatives.append(Relation(one["name"], operator, version))
            groups.append(tuple(alternatives))
        return tuple(groups)

    def _malformed(self, what: str) -> IndexRefused:
        return IndexRefused(
            "INDEX-MALFORMED",
            f"{self.where}: {self.name} {self.version}: {what}",
            expected="a complete stanza for every package",
            remedy="synchronise the mirror again",
        )


class PackageIndex(Protocol):
    """What a closure asks of an index: what it has, and what the distribution has besides."""

    @property
    def title(self) -> str:
        """The index, for people."""

    @property
    def names(self) -> Collection[str]:
        """Names of its packages."""

    def __contains__(self, name: str) -> bool:
        """Return True when it has a package of that name."""

    def versions(self, name: str) -> Sequence[Package]:
        """Return the versions of a package, newest first."""

    def providing(self, name: str) -> Sequence[Package]:
        """Return the packages that provide a virtual name."""

    def elsewhere(self, relation: Relation) -> bool:
        """Return True when a package that is not locked satisfies a relation."""


def provides(package: Package, relation: Relation) -> bool:
    """Return True when a package provides what a relation asks for."""
    return any(
        provided.name == relation.name
        and (
            not relation.operator or (provided.version != "" and relation.admits(provided.version))
        )
        for provided in package.provides
    )


def split_packages(text: str, arch: str, where: str) -> dict[str, list[str]]:
    """Return name → paragraphs of that package for `arch` (or all), in the index's own order.

    Raises:
        IndexRefused: INDEX-MALFORMED, when a paragraph names no package or no version.
    """
    found: dict[str, list[str]] = {}
    quick = (f"\nArchitecture: {arch}\n", "\nArchitecture: all\n")
    for stanza in _paragraphs(text):
        # Ten thousand times: the usual order and spelling first.
        if stanza.startswith("Package: ") and "\nVersion: " in stanza:
            at = stanza.index("\nVersion: ") + 10
            name = stanza[9 : stanza.index("\n")]
            usual = stanza[at].isdigit() and " " not in name
            if usual and (quick[0] in stanza or quick[1] in stanza):
                found.setdefault(name, []).append(stanza)
                continue
        name, version = _field(stanza, "Package"), _field(stanza, "Version")
        built = _field(stanza, "Architecture")
        if not name or not version or not built or not version[0].isdigit():
            raise IndexRefused(
                "INDEX-MALFORMED",
                f"{where}: a paragraph that is no package: {stanza.strip()[:60]!r}",
                expected="Package, Version and Architecture in every paragraph",
                remedy="synchronise the mirror again",
            )
        if built in (arch, "all"):
            found.setdefault(name, []).append(stanza)
    return found


def package_of(stanza: str, where: str) -> Package:
    """Return the package of a paragraph that `split_packages` returned."""
    name, version = _field(stanza, "Package"), _field(stanza, "Version")
    return Package(name, version, _field(stanza, "Architecture"), stanza, where)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs: between empty lines, which may hold blanks."""
    blanks = re.search(r"\n[ \t]+\n", text) is not None
    for paragraph in re.split(r"\n[ \t]*\n", text) if blanks else text.split("\n\n"):
        if paragraph and not paragraph.isspace():
            yield paragraph


def _field(stanza: str, name: str) -> str:
    """Return a field of one word, without parsing the paragraph; "" where it is not there."""
    begin = name + ":"
    at = 0 if stanza.startswith(begin) else stanza.find("\n" + begin) + 1
    if at == 0 and not stanza.startswith(begin):
        return ""
    end = stanza.find("\n", at)
    value = stanza[at + len(begin) : end if end >= 0 else None].strip()
    return "" if " " in value else value
