"""Where the files of a bundle come from: the lock's sources, or the cache of verified wheels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import LockedPackage, LockSource, StackLock
from cudactl.stack.bundle.bundle import BundledFile
from cudactl.stack.index.downloads import Wanted, is_there
from cudactl.stack.index.fetching import session, unreachable, why_not, without_password
from cudactl.stack.index.wheel_source import with_password

TIMEOUT_S = 60


def missing_files(files: Iterable[BundledFile], folder: Path, wheel_cache: Path) -> list[Wanted]:
    """Return the files that are not in the bundle yet, verified, and where to fetch each.

    Raises:
        CudactlError: DOWNLOAD-GONE, when a wheel index no longer lists a file.
        UnreachableError: INDEX-UNREACHABLE.
    """
    pages = _Pages()
    wanted = []
    for one in files:
        path, package = folder / one.place, one.package
        if is_there(path, package.sha256, package.size):
            continue
        source = next(s for s in one.lock.sources if s.name == package.source)
        kept = wheel_cache / package.filename
        if source.kind == "apt":
            url = apt_url(one.lock, source, package)
        elif is_there(kept, package.sha256, package.size):
            url = kept.as_uri()
        else:
            url = pages.url_of(with_password(source.url, one.lock.spec), package)
        wanted.append(Wanted(path, url, package.sha256, package.size))
    return wanted


def apt_url(lock: StackLock, source: LockSource, package: LockedPackage) -> str:
    """Return the address of a Debian package."""
    return source.url + quote(package.filename.removeprefix("./"), safe="/+~:")


class _Pages:
    """Project pages of Simple indexes, each asked for once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, str]] = {}

    def url_of(self, index: str, package: LockedPackage) -> str:
        """Return the address of a wheel."""
        at = (index, package.name)
        if at not in self._known:
            self._known[at] = _files_of(index, package.name)
        url = self._known[at].get(package.filename)
        if url is None:
            raise CudactlError(
                "DOWNLOAD-GONE",
                f"{without_password(index)} no longer has {package.filename}",
                expected="the file that was locked",
                remedy="lock again (cudactl stack upgrade), or take an index or a bundle that "
                "keeps it",
            )
        return url


def _files_of(index: str, project: str) -> dict[str, str]:
    from pypi_simple import NoSuchProjectError, PyPISimple

    try:
        with _reachable(index), PyPISimple(endpoint=index, session=session(index)) as client:
            page = client.get_project_page(project, timeout=TIMEOUT_S)
            return {package.filename: package.url for package in page.packages}
    except NoSuchProjectError:
        return {}


@contextmanager
def _reachable(index: str) -> Iterator[None]:
    import requests
    from pypi_simple import UnsupportedContentTypeError

    try:
        yield
    except UnsupportedContentTypeError:
        raise unreachable(index, "what it gives is no Simple index") from None
    except requests.RequestException as error:
        raise unreachable(index, why_not(error)) from None
