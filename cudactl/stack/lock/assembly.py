"""The lock's document: closures of one or more indexes, with the places that they come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cudactl.contracts.lock import (
    Allowance,
    Component,
    ExternalDependency,
    LockedPackage,
    LockSource,
    LockTarget,
    StackLock,
)
from cudactl.contracts.spec import StackSpec
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Flavour
from cudactl.stack.index.apt import AptIndex
from cudactl.stack.index.fetching import without_password
from cudactl.stack.index.packages import Package
from cudactl.stack.index.suites import SuiteIndex
from cudactl.stack.lock.closure import Chosen, Closure, check_conflicts
from cudactl.stack.spec.file import spec_hash, without_secrets

SOURCE = "nvidia"
"""Name of NVIDIA's repository, or of its mirror, in locks."""


@dataclass(frozen=True)
class LockedPart:
    """What one index contributes to a lock."""

    closure: Closure
    sources: tuple[LockSource, ...]
    """Places that its packages come from."""
    source_of: Callable[[Package], str]
    """Package → name of its source."""


def vendor_part(index: AptIndex, closure: Closure) -> LockedPart:
    """Return what NVIDIA's repository contributes."""
    source = LockSource(
        name=SOURCE,
        kind="apt",
        url=without_password(index.source.url),
        vendor=index.source.vendor,
        fingerprint=index.key.fingerprint,
        signing_key=index.key.armoured,
        index_sha256=index.sha256,
    )
    return LockedPart(closure, (source,), lambda _: SOURCE)


def archive_part(index: SuiteIndex, closure: Closure) -> LockedPart:
    """Return what the distribution's archive contributes; every address that was looked at."""
    sources = []
    for place in index.sources():
        keys = index.keys_of(place)
        sources.append(
            LockSource(
                name=place.name,
                kind="apt",
                url=without_password(place.url),
                vendor=place.vendor,
                fingerprint=keys[0].fingerprint,
                signing_key="".join(key.armoured for key in keys),
                index_sha256=index.sha256_of(place),
                distribution=True,
                suites=list(place.suites),
                components=list(place.components),
            )
        )
    return LockedPart(closure, tuple(sources), lambda p: index.file_of(p).source.name)


def assemble(
    spec: StackSpec,
    parts: Sequence[LockedPart],
    resolved: Mapping[Component, str],
    flavour: Flavour | None,
    catalogue: Catalogue,
    allowed: Sequence[Allowance],
) -> StackLock:
    """Return the lock that the parts make up.

    Raises:
        StackRefused: STACK-CLOSURE, where packages of two parts cannot be installed together.
    """
    if len(parts) > 1:
        check_conflicts([one.package for part in parts for one in part.closure.chosen])
    locked = {one.package.name for part in parts for one in part.closure.chosen}
    needed: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        for one in part.closure.external:
            if one.name not in locked:
                needed[one.name].update(one.needed_by)
    return StackLock(
        spec=without_secrets(spec),
        spec_hash=spec_hash(spec),
        catalogue_hash=catalogue.hash,
        target=LockTarget(
            os=catalogue.distribution(spec.os).name,
            arch=spec.arch,
            kernel=spec.kernel,
            packages="apt",
        ),
        resolved=dict(sorted(resolved.items())),
        driver_flavour=flavour,
        sources=[source for part in parts for source in part.sources],
        packages=sorted(
            (_package(one, part) for part in parts for one in part.closure.chosen),
            key=lambda package: package.name,
        ),
        external=[
            ExternalDependency(name=name, needed_by=sorted(by))
            for name, by in sorted(needed.items())
        ],
        allowed=list(allowed),
    )


def _package(one: Chosen, part: LockedPart) -> LockedPackage:
    return LockedPackage(
        name=one.package.name,
        version=one.package.version,
        arch=one.package.arch,
        sha256=one.package.sha256,
        size=one.package.size,
        source=part.source_of(one.package),
        component=one.component,
        filename=one.package.filename,
        top_level=one.top_level,
        why=one.why,
        requires=list(one.requires),
        installed_bytes=one.package.installed_bytes,
    )
