"""The closure of a few packages inside one index: which packages, at which version, and why.

Pure: index and wishes in, packages out. Dependencies are followed as apt follows them (the first
alternative that can be satisfied, real packages before provided names); versions come from pins,
and what the index cannot give is named as external. Versions depend on all that needs a package, so
the walk is repeated until nothing changes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from cudactl.contracts.lock import Component, ExternalDependency
from cudactl.stack.index.packages import Package, PackageIndex, Relation, provides
from cudactl.stack.refusals import StackRefused, listed

MOST_WALKS = 25


@dataclass(frozen=True)
class AptWish:
    """A package that is asked for by name."""

    name: str
    component: Component
    why: str
    """Why it is asked for, one sentence."""


@dataclass(frozen=True)
class Pin:
    """The one version that a package may have."""

    version: str
    """Debian version."""
    why: str
    """Why this one, continuing "version …: "."""


@dataclass(frozen=True)
class Pins:
    """What decides versions besides the dependencies."""

    exact: Mapping[str, Pin]
    """Package → its version."""
    released: tuple[str, ...] = ()
    """CUDA releases whose packages are wanted, where their versions are not pinned."""

    def release(self, name: str) -> str | None:
        """Return the wanted CUDA release that a package is part of: the versions that its
        metapackages ask for at least are the ones it was released with, and later ones are of later
        releases."""
        for version in self.released:
            minor = "-".join(version.split(".")[:2])
            if re.search(rf"-{minor}(-|$)", name):
                return version
        return None

    def oldest(self, name: str) -> bool:
        """Return True for a part of a wanted CUDA release."""
        return self.release(name) is not None


@dataclass(frozen=True)
class Chosen:
    """A package of the closure."""

    package: Package
    component: Component
    top_level: bool
    why: str
    requires: tuple[str, ...]
    """Names inside the closure, sorted."""


@dataclass(frozen=True)
class Closure:
    """Everything that belongs together."""

    chosen: tuple[Chosen, ...]
    """Sorted by name."""
    external: tuple[ExternalDependency, ...]
    """What the distribution must bring, sorted by name."""


@dataclass
class _Walk:
    """One walk over the dependencies."""

    asked: dict[str, set[Relation]] = field(default_factory=lambda: defaultdict(set))
    """Package → everything asked of its version."""
    packages: dict[str, Package] = field(default_factory=dict)
    component: dict[str, Component] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    """Package → why it is here: the first that asked."""
    requires: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    external: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    wrong: list[StackRefused] = field(default_factory=list)
    """What no version could satisfy; it counts only if it is still so in the last walk."""


def close(index: PackageIndex, wishes: Sequence[AptWish], pins: Pins) -> Closure:
    """Return the closure.

    Raises:
        StackRefused: STACK-PACKAGE-NOT-IN-INDEX, STACK-VERSION-NOT-IN-INDEX, STACK-CLOSURE.
    """
    asked: Mapping[str, set[Relation]] = {}
    before: dict[str, Package] | None = None
    for _ in range(MOST_WALKS):
        walk = _walk(index, wishes, pins, asked)
        if (walk.packages == before and walk.asked == asked) or _settled(index, pins, walk):
            if walk.wrong:
                raise walk.wrong[0]
            check_conflicts(walk.packages.values())
            return _closure(index, wishes, pins, walk)
        asked, before = walk.asked, walk.packages
    raise StackRefused(
        "STACK-CLOSURE",
        "the dependencies lead in a circle: every choice of versions asks for another one",
        expected="packages whose versions stand together",
        remedy="write exact versions in the spec",
    )


def _settled(index: PackageIndex, pins: Pins, walk: _Walk) -> bool:
    """Return True when another walk would choose the same versions, so that none is needed."""
    wrong: list[StackRefused] = list(walk.wrong)
    same = all(
        _version(index, name, walk.asked[name], pins, "", wrong) == package
        for name, package in walk.packages.items()
    )
    return same and not wrong


def _walk(
    index: PackageIndex,
    wishes: Sequence[AptWish],
    pins: Pins,
    asked_before: Mapping[str, set[Relation]],
) -> _Walk:
    walk = _Walk()
    queue: list[str] = []

    def take(name: str, component: Component, first: str) -> None:
        if name in walk.packages:
            return
        asked = asked_before.get(name, set()) | walk.asked[name]
        walk.packages[name] = _version(index, name, asked, pins, first, walk.wrong)
        walk.component[name], walk.first[name] = component, first
        queue.append(name)

    for wish in wishes:
        take(wish.name, wish.component, wish.why)
    while queue:
        name = queue.pop(0)
        package = walk.packages[name]
        for group in package.depends:
            found = _alternative(index, group, walk, pins)
            if found.target is None:
                lacking = None if found.elsewhere else _own(index, group, pins)
                if lacking is None:
                    walk.external[found.relation.name].add(name)
                    continue
                there = index.versions(lacking.name)
                pin = pins.exact.get(lacking.name)
                wanted = f"{lacking.name} {pin.version} ({pin.why})" if pin else str(lacking)
                walk.wrong.append(not_in_index(index, f"{wanted}, which {name} needs", there))
                if not there:
                    continue
                found = _Found(lacking, lacking.name)
            relation, target = found.relation, found.target
            assert target is not None
            if target == relation.name and not found.provided:
                walk.asked[target].add(relation)
            walk.requires[name].add(target)
            take(target, walk.component[name], f"{name} needs {relation}")
    return walk


@dataclass(frozen=True)
class _Found:
    """The alternative to take."""

    relation: Relation
    target: str | None
    """Package that satisfies it; None where the index has none."""
    provided: bool = False
    """True where it is satisfied by what the package provides, not by its own version."""
    elsewhere: bool = False
    """True where the distribution satisfies it with a package that is not locked."""


def _alternative(index: PackageIndex, group: Sequence[Relation], walk: _Walk, pins: Pins) -> _Found:
    """Return the alternative to take: one that is here already, or the first that can be had."""
    for relation in group:
        here = walk.packages.get(relation.name)
        if here is not None and relation.admits(here.version):
            return _Found(relation, here.name)
    for relation in group:
        provider = _provider(index, relation, walk, pins, here=True)
        if provider is not None:
            return _Found(relation, provider, provided=True)
    for relation in group:
        pin = pins.exact.get(relation.name)
        for package in index.versions(relation.name):
            if relation.admits(package.version) and _meant(package, pin):
                return _Found(relation, relation.name)
        provider = _provider(index, relation, walk, pins)
        if provider is not None:
            return _Found(relation, provider, provided=True)
        if index.elsewhere(relation):
            return _Found(relation, None, elsewhere=True)
    return _Found(group[0], None)


def _own(index: PackageIndex, group: Sequence[Relation], pins: Pins) -> Relation | None:
    """Return the alternative that only this index could satisfy: no distribution has it."""
    for relation in group:
        name = relation.name
        if name in index or name in pins.exact or pins.oldest(name):
            return relation
    return None


def _provider(
    index: PackageIndex, relation: Relation, walk: _Walk, pins: Pins, *, here: bool = False
) -> str | None:
    """Return the package that provides a name: one that is here already, or the first by name."""
    names = []
    for package in index.providing(relation.name):
        if here and walk.packages.get(package.name) != package:
            continue
        if _meant(package, pins.exact.get(package.name)) and provides(package, relation):
            names.append(package.name)
    return min(names, default=None)


def _meant(package: Package, pin: Pin | None) -> bool:
    return pin is None or pin.version == package.version


def _version(
    index: PackageIndex,
    name: str,
    asked: set[Relation],
    pins: Pins,
    first: str,
    wrong: list[StackRefused],
) -> Package:
    """Return the version of a package that the pins mean and everything asked of it admits."""
    versions: Sequence[Package] = index.versions(name)
    if not versions:
        raise StackRefused(
            "STACK-PACKAGE-NOT-IN-INDEX",
            f"{index.title} has no package {name} ({first})",
            expected="the package under the name that is asked for",
            remedy="check os and arch in the spec, or synchronise the mirror again",
        )
    pin = pins.exact.get(name)
    if pin is not None:
        pinned = [p for p in versions if p.version == pin.version]
        if not pinned:
            wrong.append(not_in_index(index, f"{name} {pin.version} ({pin.why})", versions))
        versions = pinned or versions
    fitting: Sequence[Package] = [
        p for p in versions if all(relation.admits(p.version) for relation in asked)
    ]
    if not fitting:
        wanted = ", ".join(sorted(str(relation) for relation in asked))
        wrong.append(
            StackRefused(
                "STACK-CLOSURE",
                f"no version of {name} satisfies all that needs it: {wanted}",
                expected=f"one of {listed(p.version for p in versions)}",
                remedy="choose other versions in the spec",
            )
        )
        fitting = versions
    bounded = any(relation.operator in (">=", "=", ">>") for relation in asked)
    return fitting[-1] if bounded and pins.oldest(name) else fitting[0]


def not_in_index(index: PackageIndex, wanted: str, versions: Sequence[Package]) -> StackRefused:
    """Return the refusal of a version that the index does not have."""
    return StackRefused(
        "STACK-VERSION-NOT-IN-INDEX",
        f"{index.title} has no {wanted}",
        expected=f"it has {listed(p.version for p in versions)}",
        remedy="choose a version whose packages are all there, or another repository",
    )


def check_conflicts(packages: Collection[Package]) -> None:
    """Refuse packages that cannot be installed together.

    Raises:
        StackRefused: STACK-CLOSURE.
    """
    for package in packages:
        for relation in package.conflicts:
            for other in packages:
                if other.name == package.name:
                    continue
                named = other.name == relation.name and relation.admits(other.version)
                if named or provides(other, relation):
                    raise StackRefused(
                        "STACK-CLOSURE",
                        f"{package.name} {package.version} cannot be installed beside "
                        f"{other.name} {other.version} (it conflicts with {relation})",
                        expected="packages that stand together",
                        remedy="choose other versions in the spec",
                    )


def _closure(index: PackageIndex, wishes: Sequence[AptWish], pins: Pins, walk: _Walk) -> Closure:
    named = {wish.name for wish in wishes}
    chosen = tuple(
        Chosen(
            package=package,
            component=walk.component[name],
            top_level=name in named,
            why=f"{walk.first[name]}; {package.version}: {_reason(index, package, pins, walk)}",
            requires=tuple(sorted(walk.requires[name] - {name})),
        )
        for name, package in sorted(walk.packages.items())
    )
    external = tuple(
        ExternalDependency(name=name, needed_by=sorted(by))
        for name, by in sorted(walk.external.items())
    )
    return Closure(chosen, external)


def _reason(index: PackageIndex, package: Package, pins: Pins, walk: _Walk) -> str:
    pin = pins.exact.get(package.name)
    if pin is not None:
        return pin.why
    if len(index.versions(package.name)) == 1:
        return "the only version in the index"
    needs = walk.asked.get(package.name, set())
    release = pins.release(package.name)
    if release is not None and any(relation.operator for relation in needs):
        return f"what the packages of CUDA {release} ask for at least"
    return "the newest in the index" + (" that satisfies all that needs it" if needs else "")
