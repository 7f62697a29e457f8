"""What a package index says today about a lock: gone, changed, withdrawn, newer.

The functions are pure: the index was fetched and verified before (`index_apt.py`), a wheel index's
pages were read (`wheel_listing` is the only one here that asks).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cudactl.contracts.lock import Component, LockedPackage, LockSource, StackLock
from cudactl.contracts.outdated import StaleFinding
from cudactl.stack.index.fetching import session, unreachable, why_not
from cudactl.stack.index.packages import PackageIndex, upstream
from cudactl.stack.index.wheel_source import with_password
from cudactl.stack.versions import admits, numbers

TIMEOUT_S = 60

# Whose version tells a component's, where the name itself carries a version: without this, the
# newest cuda-toolkit-13-0 would be all there is to see.
_TELLERS: dict[Component, str] = {
    "cuda": r"cuda-toolkit-\d+-\d+",
    "driver": r"libnvidia-compute(-\d+)?|nvidia-driver-cuda",
}
_ARCHIVE_DRIVER = r"libnvidia-compute-\d+-server|libcuda1|libnvidia-tesla-\d+-cuda1"
"""The same for the driver in a distribution's archive."""


@dataclass(frozen=True)
class ListedWheel:
    """One file on a wheel index."""

    filename: str
    version: str
    sha256: str | None
    yanked: bool


def judge_apt(lock: StackLock, source: LockSource, index: PackageIndex) -> list[StaleFinding]:
    """Return what an apt index says about the packages that were locked from it."""
    found: list[StaleFinding] = []
    for package in lock.packages:
        if package.source != source.name:
            continue
        there = [p for p in index.versions(package.name) if p.version == package.version]
        if not there:
            newest = next(iter(index.versions(package.name)), None)
            found.append(_expired(package, newest.version if newest else None, index.title))
        elif all(p.sha256 != package.sha256 for p in there):
            found.append(_changed(package, there[0].sha256, index.title))
    return found


def newer_in_apt(lock: StackLock, source: LockSource, index: PackageIndex) -> dict[Component, str]:
    """Return component → the newest version in a source's index, where newer than the lock's.

    NVIDIA's repository and a distribution's archive both have drivers; each is asked only about
    what was locked from its kind.
    """
    newest: dict[Component, str] = {}
    for component, names in _told_by(lock, source, index).items():
        versions = [upstream(p.version) for name in names for p in index.versions(name)[:1]]
        best = max(versions, key=numbers, default="")
        if numbers(best) > numbers(lock.resolved.get(component, "")):
            newest[component] = best
    return newest


def _told_by(
    lock: StackLock, source: LockSource, index: PackageIndex
) -> dict[Component, list[str]]:
    """Return component → names in the index whose version is that of the component."""
    found: dict[Component, list[str]] = {}
    archives = {one.name for one in lock.sources if one.distribution}
    for component, version in lock.resolved.items():
        packages = lock.of(component)
        if not numbers(version) or not packages:
            continue
        if (packages[0].source in archives) != source.distribution:
            continue
        pattern = _ARCHIVE_DRIVER if source.distribution else _TELLERS.get(component)
        if pattern is not None:
            found[component] = [name for name in index.names if re.fullmatch(pattern, name)]
        else:
            found[component] = [
                package.name
                for package in packages
                if package.top_level and upstream(package.version) == version
            ]
    return found


def wheel_listing(source: LockSource, lock: StackLock) -> dict[str, list[ListedWheel]]:
    """Ask a wheel index for the projects that were locked from it.

    Raises:
        UnreachableError: INDEX-UNREACHABLE.
    """
    import requests
    from pypi_simple import NoSuchProjectError, PyPISimple, UnsupportedContentTypeError

    url = with_password(source.url, lock.spec)
    found: dict[str, list[ListedWheel]] = {}
    try:
        with PyPISimple(endpoint=url, session=session(url)) as client:
            for package in lock.packages:
                if package.source != source.name:
                    continue
                try:
                    page = client.get_project_page(package.name, timeout=TIMEOUT_S)
                except NoSuchProjectError:
                    found[package.name] = []
                    continue
                found[package.name] = [_listed(file) for file in page.packages if file.version]
    except UnsupportedContentTypeError:
        raise unreachable(url, "what it gives is no Simple index") from None
    except requests.RequestException as error:
        raise unreachable(url, why_not(error)) from None
    return found


def _listed(file: Any) -> ListedWheel:  # noqa: ANN401 - a DistributionPackage
    return ListedWheel(
        file.filename, str(file.version), file.digests.get("sha256"), bool(file.is_yanked)
    )


def judge_wheels(
    lock: StackLock, source: LockSource, listing: Mapping[str, list[ListedWheel]]
) -> list[StaleFinding]:
    """Return what a wheel index says about the files that were locked from it."""
    found: list[StaleFinding] = []
    for package in lock.packages:
        if package.source != source.name:
            continue
        files = listing.get(package.name, [])
        file = next((f for f in files if f.filename == package.filename), None)
        if file is None:
            newest = max((f.version for f in files), key=numbers, default=None)
            found.append(_expired(package, newest, source.url))
        elif file.sha256 is not None and file.sha256 != package.sha256:
            found.append(_changed(package, file.sha256, source.url))
        elif file.yanked:
            found.append(
                StaleFinding(
                    code="OUTDATED-YANKED",
                    level="soft",
                    subject=package.name,
                    component=package.component,
                    found=f"{package.filename} was withdrawn by its makers",
                    expected="a file that they stand by",
                    remedy="cudactl stack upgrade",
                )
            )
    return found


def newer_in_wheels(
    lock: StackLock, listing: Mapping[str, list[ListedWheel]]
) -> dict[Component, str]:
    """Return component → the newest wheel of its own project, where newer than the lock's."""
    from packaging.version import InvalidVersion, Version

    newest: dict[Component, str] = {}
    for component, version in lock.resolved.items():
        for package in lock.of(component):
            if not package.top_level or package.version != version:
                continue
            for file in listing.get(package.name, ()):
                try:
                    unfinished = Version(file.version).is_prerelease
                except InvalidVersion:
                    continue
                if unfinished or file.yanked or not file.filename.endswith(".whl"):
                    continue
                if numbers(file.version) > numbers(newest.get(component, version)):
                    newest[component] = file.version
    return newest


def judge_newer(
    lock: StackLock, again: StackLock | None, newest: Mapping[Component, str]
) -> Iterator[StaleFinding]:
    """Yield newer versions: those that locking again gives, and those that the spec excludes.

    Args:
        lock: The lock.
        again: What the same wish gives today; None where that could not be found out.
        newest: Component → newest version of the index.
    """
    for component, version in sorted(lock.resolved.items()):
        now = again.resolved.get(component, version) if again is not None else version
        if now != version:
            yield StaleFinding(
                code="OUTDATED-NEWER",
                level="soft",
                subject=component,
                component=component,
                found=f"{component} {version} is locked, the same wish gives {now} today",
                expected=f"{component} {now}",
                remedy="cudactl stack upgrade",
            )
        best = newest.get(component)
        if best is not None and numbers(best) > numbers(now) and not _asked(lock, component, best):
            yield StaleFinding(
                code="OUTDATED-NEWER-BEYOND",
                level="info",
                subject=component,
                component=component,
                found=f"{component} {best} exists; the spec asks for {_wish(lock, component)}",
                remedy="ask for it in the spec, if the rest of the stack allows it",
            )
    if again is not None and again.hash != lock.hash and again.resolved == lock.resolved:
        names = _differing(lock.packages, again.packages)
        yield StaleFinding(
            code="OUTDATED-NEWER",
            level="soft",
            subject="packages",
            found=f"the same versions of all components consist of other packages today: {names}",
            expected="the packages that the same wish gives today",
            remedy="cudactl stack upgrade",
        )


def _wish(lock: StackLock, component: Component) -> str:
    if component == "driver":
        driver = lock.spec.driver
        return f"branch {driver.branch}" if driver and driver.branch else "no certain branch"
    if component == "frameworks":
        return ", ".join(f"{name} {v}" for name, v in lock.spec.frameworks.items())
    return str(getattr(lock.spec, component))


def _asked(lock: StackLock, component: Component, version: str) -> bool:
    """Return True when the wish admits a version; why locking did not take it is another matter."""
    if component == "driver":
        branch = lock.spec.driver.branch if lock.spec.driver else None
        return branch is not None and admits(branch, version)
    wish = getattr(lock.spec, component, None)
    return isinstance(wish, str) and admits(wish, version)


def _differing(before: Iterable[LockedPackage], after: Iterable[LockedPackage]) -> str:
    one = {(p.name, p.version, p.sha256) for p in before}
    other = {(p.name, p.version, p.sha256) for p in after}
    names = sorted({name for name, _, _ in one ^ other})
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _expired(package: LockedPackage, newest: str | None, where: str) -> StaleFinding:
    has = f"it has {newest}" if newest else "it has no version of it"
    return StaleFinding(
        code="OUTDATED-PIN-EXPIRED",
        level="bad",
        subject=package.name,
        component=package.component,
        found=f"{package.name} {package.version} is no longer in {where}; {has}",
        expected="every locked version",
        remedy="cudactl stack upgrade, or a mirror or bundle that keeps it",
    )


def _changed(package: LockedPackage, sha256: str, where: str) -> StaleFinding:
    return StaleFinding(
        code="OUTDATED-HASH-CHANGED",
        level="bad",
        subject=package.name,
        component=package.component,
        found=f"{package.name} {package.version} has sha256 {sha256} in {where}",
        expected=f"{package.sha256}, as locked: one version has one content",
        remedy="do not install it before you know why; ask the repository's owner",
    )
