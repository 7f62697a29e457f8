"""The wheel index: from wishes to exact wheel files, for one interpreter and one platform.

The index is the Simple repository API that pip uses; `wheel_source.py` says which one is asked. A
wheel's needs are read from its METADATA: beside the wheel where the index offers that, otherwise by
range requests inside it, so locking downloads no library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from packaging import tags as wheel_tags
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import Component, LockedPackage
from cudactl.stack.index.fetching import (
    default_cache,
    keep,
    session,
    unreachable,
    why_not,
    without_password,
)
from cudactl.stack.index.wheel_source import NAME
from cudactl.stack.versions import admits, nearest

TIMEOUT_S = 60


class WheelIndexError(CudactlError):
    """No wheel can be had as it was wished."""


@dataclass(frozen=True)
class WheelTarget:
    """What a wheel must run on."""

    python: str
    """Interpreter tag, e.g. "cp311"."""
    glibc: tuple[int, int]
    """glibc of the distribution, e.g. (2, 36)."""
    machine: str
    """"x86_64" or "aarch64"."""

    def tags(self) -> list[wheel_tags.Tag]:
        """Return the wheel tags that fit, best first."""
        version = (int(self.python[2]), int(self.python[3:]))
        platforms = []
        legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
        for minor in range(self.glibc[1], 4, -1):
            platforms.append(f"manylinux_{self.glibc[0]}_{minor}_{self.machine}")
            if minor in legacy:
                platforms.append(f"{legacy[minor]}_{self.machine}")
        # PyPy-style ABIs are left out; NVIDIA's bindings are tagged cpXY-none.
        best = list(wheel_tags.cpython_tags(version, platforms=platforms))
        best += [wheel_tags.Tag(self.python, "none", p) for p in platforms]
        best += list(wheel_tags.compatible_tags(version, self.python, platforms))
        return best


@dataclass(frozen=True)
class WheelWish:
    """One project that is asked for."""

    project: str
    """Project name on the index."""
    prefix: str
    """Version or prefix by dotted component; "" is any."""
    component: Component
    """Which wish of the spec it serves."""
    why: str
    """Why this project and version."""


@dataclass
class _Chosen:
    wheel: Any
    wish: WheelWish
    version: str
    top_level: bool
    needs: list[Requirement] = field(default_factory=list)


@contextmanager
def reachable(url: str, what: str) -> Iterator[None]:
    """Turn network trouble into one error that says which index and what to do."""
    import requests
    from pypi_simple import NoSuchProjectError, UnsupportedContentTypeError

    try:
        yield
    except NoSuchProjectError as error:
        raise WheelIndexError(
            "WHEEL-NOT-THERE",
            f"{without_password(url)} knows no project {what}",
            expected="an index that carries NVIDIA's wheels",
            remedy="check mirror.url of the spec, or $CUDACTL_WHEEL_INDEX",
        ) from error
    except UnsupportedContentTypeError:
        raise unreachable(url, f"what it gives for {what} is no Simple index") from None
    except requests.RequestException as error:
        raise unreachable(url, f"{what} could not be read: {why_not(error)}") from None
    except OSError as error:
        raise unreachable(url, f"{what} could not be read: {error.strerror or error}") from None


def wheel_closure(
    wishes: Sequence[WheelWish], target: WheelTarget, url: str, cache: Path | None = None
) -> list[LockedPackage]:
    """Return the wheels that answer `wishes`, with everything they require, sorted by name.

    Raises:
        WheelIndexError: WHEEL-NOT-THERE, WHEEL-SOURCE-ONLY, WHEEL-CONFLICT, WHEEL-NO-HASH,
            WHEEL-METADATA.
        UnreachableError: INDEX-UNREACHABLE.
    """
    from pypi_simple import PyPISimple

    chosen: dict[str, _Chosen] = {}
    queue = [(wish, True) for wish in wishes]
    named = {canonicalize_name(wish.project): wish for wish in wishes}
    kept = (cache or default_cache()) / "metadata"
    with PyPISimple(endpoint=url, session=session(url)) as client:
        while queue:
            wish, top_level = queue.pop(0)
            name = canonicalize_name(wish.project)
            if name in chosen:
                continue
            with reachable(url, name):
                page = client.get_project_page(name, timeout=TIMEOUT_S)
            wheel, version = _best(page.packages, wish, target)
            pick = chosen[name] = _Chosen(wheel, wish, version, top_level)
            pick.needs = _requirements(client, wheel, target, url, kept)
            for need in pick.needs:
                other = canonicalize_name(need.name)
                if other not in named and other not in chosen:
                    why = f"{wish.project} {version} requires it"
                    queue.append((WheelWish(other, "", wish.component, why), False))
        _check_requirements(chosen)
        return [_locked(name, pick, url) for name, pick in sorted(chosen.items())]


def _best(packages: Sequence[Any], wish: WheelWish, target: WheelTarget) -> tuple[Any, str]:
    """Return the newest wheel of the wished version that fits the target."""
    order = {tag: rank for rank, tag in enumerate(target.tags())}
    fitting: list[tuple[Version, int, Any]] = []
    others: set[str] = set()
    sources = False
    for package in packages:
        if package.version is None or package.is_yanked:
            continue
        if wish.prefix and not admits(wish.prefix, package.version):
            others.add(package.version)
            continue
        if package.package_type != "wheel":
            sources = True
            continue
        _, version, _, tags = parse_wheel_filename(package.filename)
        ranks = [order[tag] for tag in tags if tag in order]
        if version.is_prerelease or not ranks:
            others.add(f"{package.version} (for other platforms)")
            continue
        fitting.append((version, -min(ranks), package))
    if fitting:
        _, _, package = max(fitting, key=lambda f: (f[0], f[1]))
        return package, str(package.version)
    who = f"{target.python} on glibc {target.glibc[0]}.{target.glibc[1]} {target.machine}"
    if sources:
        raise WheelIndexError(
            "WHEEL-SOURCE-ONLY",
            f"{wish.project} {wish.prefix}: the index has only a source archive, which fetches its "
            "files from elsewhere when it is built; what it would bring cannot be locked",
            expected=f"a wheel for {who}",
            remedy="take this component from apt (packages: apt), or a mirror that has the wheels",
        )
    near = nearest(wish.prefix, others, 6) if wish.prefix else sorted(others)[-6:]
    raise WheelIndexError(
        "WHEEL-NOT-THERE",
        f"no wheel of {wish.project} {wish.prefix or '(any version)'} fits {who}",
        expected=f"one of the versions the index has: {', '.join(near) or 'none'}",
        remedy="wish for a version that is there",
    )


def _requirements(
    client: Any,  # noqa: ANN401 - a PyPISimple
    wheel: Any,  # noqa: ANN401 - a DistributionPackage
    target: WheelTarget,
    url: str,
    cache: Path,
) -> list[Requirement]:
    """Return what a wheel requires on the target."""
    environment = {
        "python_version": f"{target.python[2]}.{target.python[3:]}",
        "python_full_version": f"{target.python[2]}.{target.python[3:]}.0",
        "platform_machine": target.machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    text = wheel_metadata(client, wheel, url, cache)
    try:
        found = [
            Requirement(value)
            for value in HeaderParser().parsestr(text).get_all("Requires-Dist", [])
        ]
    except InvalidRequirement as error:
        raise _unusable(wheel, f"its METADATA cannot be read ({error})") from None
    return [r for r in found if r.marker is None or r.marker.evaluate(environment)]


def wheel_metadata(client: Any, wheel: Any, url: str, cache: Path) -> str:  # noqa: ANN401
    """Return a wheel's METADATA; the wheel's own sha256 says which one it is."""
    kept = cache / _digest(wheel)
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    from pypi_simple import DigestMismatchError, NoMetadataError
    from remotezip import RemoteZip, RemoteZipError

    with reachable(url, wheel.filename):
        text = None
        if wheel.has_metadata:
            verify = bool(wheel.metadata_digests)
            try:
                text = client.get_package_metadata(wheel, verify=verify, timeout=TIMEOUT_S)
            except NoMetadataError:  # the index promised more than it has
                text = None
            except DigestMismatchError:
                raise _unusable(wheel, "its METADATA is not the one that the index lists") from None
        if text is None:
            try:
                with RemoteZip(wheel.url, session=session(url), timeout=TIMEOUT_S) as archive:
                    names = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
                    if len(names) != 1:
                        raise _unusable(wheel, "it holds no METADATA")
                    text = archive.read(names[0]).decode("utf-8", errors="replace")
            except (RemoteZipError, BadZipFile) as error:
                raise _unusable(wheel, f"its METADATA cannot be read ({error})") from None
    keep(kept, text.encode())
    return str(text)


def _unusable(wheel: Any, why: str) -> WheelIndexError:  # noqa: ANN401
    return WheelIndexError(
        "WHEEL-METADATA",
        f"{wheel.filename}: {why}",
        expected="a wheel, on an index that offers its METADATA or answers range requests",
        remedy="try another index: mirror.url in the spec, or $CUDACTL_WHEEL_INDEX",
    )


def _check_requirements(chosen: dict[str, _Chosen]) -> None:
    """Refuse a set in which one wheel's bounds exclude another's version."""
    for pick in chosen.values():
        for need in pick.needs:
            other = chosen[canonicalize_name(need.name)]
            if not need.specifier.contains(other.version, prereleases=True):
                raise WheelIndexError(
                    "WHEEL-CONFLICT",
                    f"{pick.wish.project} {pick.version} requires {need}, and the stack has "
                    f"{other.version}",
                    expected="versions that stand together",
                    remedy="wish for another version of one of them",
                )


def _locked(name: str, pick: _Chosen, url: str) -> LockedPackage:
    platform = pick.wheel.filename[: -len(".whl")].rsplit("-", 1)[1]
    return LockedPackage(
        name=name,
        version=pick.version,
        arch=platform,
        sha256=_digest(pick.wheel),
        size=pick.wheel.size if pick.wheel.size is not None else _size(pick.wheel.url, url),
        source=NAME,
        component=pick.wish.component,
        filename=pick.wheel.filename,
        top_level=pick.top_level,
        why=pick.wish.why,
        requires=sorted({canonicalize_name(need.name) for need in pick.needs}),
    )


def _digest(wheel: Any) -> str:  # noqa: ANN401
    digest = wheel.digests.get("sha256")
    if digest is None:
        raise WheelIndexError(
            "WHEEL-NO-HASH",
            f"the index gives no sha256 for {wheel.filename}",
            expected="a sha256 for every file",
            remedy="use an index that gives hashes",
        )
    return str(digest)


def _size(url: str, index: str) -> int:
    with reachable(url, "its size"):
        answer = session(index).head(url, timeout=TIMEOUT_S, allow_redirects=True)
        answer.raise_for_status()
    length = answer.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise unreachable(url, "the server does not say how large the file is")
    return int(length)
