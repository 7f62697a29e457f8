"""The wheel index: from wishes to exact wheel files, for one interpreter and one platform.

The index is the Simple repository API that pip uses; which one is asked follows pip's own
configuration unless the spec names a mirror. A wheel's needs are read from the METADATA inside it,
by range requests where the index does not offer it apart, so locking downloads no library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import HeaderParser
from typing import Any

from packaging import tags as wheel_tags
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.contracts.lock import Component, LockedPackage
from cudactl.contracts.spec import StackSpec

DEFAULT_INDEX = "https://pypi.org/simple/"
TIMEOUT_S = 60
SOURCE = "pypi"


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


def index_url(spec: StackSpec) -> str:
    """Return the index to ask: the spec's mirror, $CUDACTL_WHEEL_INDEX, pip's, or PyPI."""
    if spec.mirror is not None:
        url = spec.mirror.url
    else:
        url = (
            os.environ.get("CUDACTL_WHEEL_INDEX")
            or os.environ.get("PIP_INDEX_URL")
            or _pip_index()
            or DEFAULT_INDEX
        )
    return url.rstrip("/") + "/"


def _pip_index() -> str | None:
    """Return the index of pip's configuration files; pip itself reads them."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


@contextmanager
def _reachable(url: str, what: str) -> Iterator[None]:
    """Turn network trouble into one error that says which index and what to do."""
    import requests
    from pypi_simple import NoSuchProjectError, UnsupportedContentTypeError

    try:
        yield
    except NoSuchProjectError as error:
        raise WheelIndexError(
            "WHEEL-NOT-THERE",
            f"{url} knows no project {what}",
            expected="an index that carries NVIDIA's wheels",
            remedy="check mirror.url of the spec, or $CUDACTL_WHEEL_INDEX",
        ) from error
    except (requests.RequestException, UnsupportedContentTypeError, OSError) as error:
        raise UnreachableError(
            "INDEX-UNREACHABLE",
            f"{url}: {what} could not be read ({_short(error)})",
            expected="a Simple index, as pip uses",
            remedy="check the network and proxy; behind a mirror, set mirror.url in the spec",
        ) from error


def _short(error: BaseException) -> str:
    return str(error).replace("\n", " ")[:200] or type(error).__name__


def wheel_closure(
    wishes: Sequence[WheelWish], target: WheelTarget, url: str
) -> list[LockedPackage]:
    """Return the wheels that answer `wishes`, with everything they require, sorted by name.

    Raises:
        WheelIndexError: WHEEL-NOT-THERE, WHEEL-SOURCE-ONLY, WHEEL-CONFLICT.
        UnreachableError: INDEX-UNREACHABLE.
    """
    from pypi_simple import PyPISimple

    chosen: dict[str, _Chosen] = {}
    queue = [(wish, True) for wish in wishes]
    named = {canonicalize_name(wish.project): wish for wish in wishes}
    with PyPISimple(endpoint=url) as client:
        while queue:
            wish, top_level = queue.pop(0)
            name = canonicalize_name(wish.project)
            if name in chosen:
                continue
            with _reachable(url, name):
                page = client.get_project_page(name, timeout=TIMEOUT_S)
            wheel, version = _best(page.packages, wish, target)
            pick = chosen[name] = _Chosen(wheel, wish, version, top_level)
            pick.needs = _requirements(wheel, target, url)
            for need in pick.needs:
                other = canonicalize_name(need.name)
                if other not in named and other not in chosen:
                    why = f"{wish.project} {version} requires it"
                    queue.append((WheelWish(other, "", wish.component, why), False))
        _check_requirements(chosen)
        return [_locked(name, pick) for name, pick in sorted(chosen.items())]


def _best(packages: Sequence[Any], wish: WheelWish, target: WheelTarget) -> tuple[Any, str]:
    """Return the newest wheel of the wished version that fits the target."""
    order = {tag: rank for rank, tag in enumerate(target.tags())}
    fitting: list[tuple[Version, int, Any]] = []
    others: set[str] = set()
    sources = False
    for package in packages:
        if package.version is None or package.is_yanked:
            continue
        if not matches(package.version, wish.prefix):
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
    newest = sorted(others)[-6:]
    raise WheelIndexError(
        "WHEEL-NOT-THERE",
        f"no wheel of {wish.project} {wish.prefix or '(any version)'} fits {who}",
        expected=f"one of the versions the index has: {', '.join(newest) or 'none'}",
        remedy="wish for a version that is there",
    )


def matches(version: str, prefix: str) -> bool:
    """Return whether `version` has `prefix` by dotted component: "10.1" is not 10.13."""
    if not prefix:
        return True
    return (version + ".").startswith(prefix + ".")


def _requirements(wheel: Any, target: WheelTarget, url: str) -> list[Requirement]:  # noqa: ANN401
    """Return what a wheel requires on the target, from the METADATA inside it."""
    from remotezip import RemoteIOError, RemoteZip

    with _reachable(url, wheel.filename):
        try:
            with RemoteZip(wheel.url, timeout=TIMEOUT_S) as archive:
                inside = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
                text = archive.read(inside).decode("utf-8", errors="replace")
        except RemoteIOError as error:
            raise OSError(str(error)) from error
    environment = {
        "python_version": f"{target.python[2]}.{target.python[3:]}",
        "platform_machine": target.machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "extra": "",
    }
    found = [
        Requirement(value) for value in HeaderParser().parsestr(text).get_all("Requires-Dist", [])
    ]
    return [r for r in found if r.marker is None or r.marker.evaluate(environment)]


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


def _locked(name: str, pick: _Chosen) -> LockedPackage:
    digest = pick.wheel.digests.get("sha256")
    if digest is None:
        raise WheelIndexError(
            "WHEEL-NO-HASH",
            f"the index gives no sha256 for {pick.wheel.filename}",
            expected="a sha256 for every file",
            remedy="use an index that gives hashes",
        )
    platform = pick.wheel.filename[: -len(".whl")].rsplit("-", 1)[1]
    return LockedPackage(
        name=name,
        version=pick.version,
        arch=platform,
        sha256=digest,
        size=pick.wheel.size if pick.wheel.size is not None else _size(pick.wheel.url),
        source=SOURCE,
        component=pick.wish.component,
        filename=pick.wheel.filename,
        top_level=pick.top_level,
        why=pick.wish.why,
        requires=sorted({canonicalize_name(need.name) for need in pick.needs}),
    )


def _size(url: str) -> int:
    import requests

    with _reachable(url, "its size"):
        answer = requests.head(url, timeout=TIMEOUT_S, allow_redirects=True)
        answer.raise_for_status()
    return int(answer.headers.get("Content-Length", 0))
