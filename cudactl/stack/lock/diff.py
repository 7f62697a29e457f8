"""What differs between two locks, package by package, grouped by component. Pure.

A package that has another hash at the same version is an alarm, not an upgrade: archives do not do
that by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from cudactl.contracts.diff import ComponentChange, FieldChange, Kind, LockDiff, PackageChange
from cudactl.contracts.lock import Component, LockedPackage, LockSource, StackLock
from cudactl.stack.index.packages import debian_version
from cudactl.stack.lock.diff_risks import risks_of
from cudactl.stack.versions import numbers

ORDER: tuple[Component, ...] = (
    "driver",
    "cuda",
    "cudnn",
    "tensorrt",
    "tensorrt_rtx",
    "nccl",
    "dcgm",
    "container_toolkit",
    "frameworks",
)
"""Components as people read them."""


def diff_locks(before: StackLock, after: StackLock) -> LockDiff:
    """Return what has to be said when `after` takes the place of `before`."""
    target = _fields(
        {**before.target.model_dump(mode="json"), "base_image": before.base_image},
        {**after.target.model_dump(mode="json"), "base_image": after.base_image},
    )
    components = _components(before, after)
    flavour = None
    if before.driver_flavour != after.driver_flavour:
        flavour = FieldChange(
            name="driver flavour", before=before.driver_flavour, after=after.driver_flavour
        )
    sources = _fields(
        {s.name: s.url for s in before.sources}, {s.name: s.url for s in after.sources}
    )
    keys = _fields(_fingerprints(before.sources), _fingerprints(after.sources))
    external = _fields(
        {e.name: "needed" for e in before.external}, {e.name: "needed" for e in after.external}
    )
    allowed = _fields(
        {a.code: a.reason for a in before.allowed}, {a.code: a.reason for a in after.allowed}
    )
    there = {p.sha256 for p in before.packages}
    partial = LockDiff(
        before=before.hash,
        after=after.hash,
        target=target,
        components=components,
        flavour=flavour,
        sources=sources,
        keys=keys,
        external=external,
        allowed=allowed,
        wishes=_fields(
            before.spec.model_dump(mode="json", exclude_defaults=True),
            after.spec.model_dump(mode="json", exclude_defaults=True),
        ),
        risks=[],
        download_before=sum(p.size for p in before.packages),
        download_after=sum(p.size for p in after.packages),
        to_fetch=sum(p.size for p in after.packages if p.sha256 not in there),
        installed_before=sum(p.installed_bytes or 0 for p in before.packages),
        installed_after=sum(p.installed_bytes or 0 for p in after.packages),
    )
    return partial.model_copy(update={"risks": risks_of(partial)})


def _fields(before: Mapping[str, object], after: Mapping[str, object]) -> list[FieldChange]:
    return [
        FieldChange(name=name, before=_text(before.get(name)), after=_text(after.get(name)))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return str(value)


def _fingerprints(sources: list[LockSource]) -> dict[str, object]:
    return {source.name: source.fingerprint for source in sources if source.fingerprint}


def _components(before: StackLock, after: StackLock) -> list[ComponentChange]:
    old = {p.name: p for p in before.packages}
    new = {p.name: p for p in after.packages}
    wheels = {s.name for lock in (before, after) for s in lock.sources if s.kind == "wheels"}
    changes: dict[Component, list[PackageChange]] = {}
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        change = _package(name, one, other, wheels)
        if change is not None:
            changes.setdefault((other or one).component, []).append(change)  # type: ignore[union-attr]
    found = []
    for component in ORDER:
        was, now = before.resolved.get(component), after.resolved.get(component)
        packages = changes.get(component, [])
        if was != now or packages:
            found.append(
                ComponentChange(
                    component=component,
                    kind=_kind(was, now),
                    before=was,
                    after=now,
                    packages=packages,
                )
            )
    return found


def _package(
    name: str, before: LockedPackage | None, after: LockedPackage | None, wheels: set[str]
) -> PackageChange | None:
    if before is not None and after is not None:
        if (before.version, before.sha256) == (after.version, after.sha256):
            return None
        if before.version == after.version:
            kind: Kind = "rebuilt" if _file(before) == _file(after) else "other-build"
        elif before.source in wheels or after.source in wheels:
            from packaging.version import Version

            kind = "newer" if Version(after.version) > Version(before.version) else "older"
        else:
            up = debian_version(after.version) > debian_version(before.version)
            kind = "newer" if up else "older"
    else:
        kind = "added" if before is None else "removed"
    return PackageChange(
        name=name,
        kind=kind,
        before=before.version if before else None,
        after=after.version if after else None,
        before_sha256=before.sha256 if before else None,
        after_sha256=after.sha256 if after else None,
        bytes_before=before.size if before else 0,
        bytes_after=after.size if after else 0,
    )


def _file(package: LockedPackage) -> str:
    """Return the file's name; it carries version, architecture and, for wheels, the interpreter."""
    return package.filename.rpartition("/")[2]


def _kind(before: str | None, after: str | None) -> Kind:
    if before == after:
        return "same"
    if before is None:
        return "added"
    if after is None:
        return "removed"
    was, now = numbers(before), numbers(after)
    if not was or not now or was == now:  # "preinstalled", or a framework's list
        return "changed"
    return "newer" if now > was else "older"
