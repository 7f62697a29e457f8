"""Fetch the wheels of a lock: streamed, verified, and in the cache whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import LockedPackage, StackLock
from cudactl.stack.index.fetching import session, unreachable, why_not, without_password
from cudactl.stack.index.wheel_source import with_password

TIMEOUT_S = 60
AT_ONCE = 2
BLOCK = 1 << 20


class WheelFetchError(CudactlError):
    """A wheel could not be brought into the cache."""


def fetch_wheels(lock: StackLock, cache: Path, say: Callable[[str], None]) -> dict[str, Path]:
    """Return wheel file name → verified file in `cache`, fetching what is not there.

    Args:
        lock: A lock of wheels.
        cache: Folder of verified wheels.
        say: Receives a line per wheel fetched.

    Raises:
        WheelFetchError: WHEEL-HASH, WHEEL-GONE, CACHE-WRITE.
        UnreachableError: INDEX-UNREACHABLE.
    """
    cache.mkdir(parents=True, exist_ok=True)
    url = with_password(next(s.url for s in lock.sources if s.kind == "wheels"), lock.spec)
    missing = [p for p in lock.packages if not _is_there(cache / p.filename, p)]
    if missing:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda p: _fetch(p, url, cache, say), missing))
    return {p.filename: cache / p.filename for p in lock.packages}


def _is_there(path: Path, package: LockedPackage) -> bool:
    """Return whether the cache holds exactly this file; a verified one carries a stamp."""
    stamp = path.with_name(path.name + ".sha256")
    try:
        return path.stat().st_size == package.size and stamp.read_text() == package.sha256
    except OSError:
        return False


def _fetch(package: LockedPackage, index: str, cache: Path, say: Callable[[str], None]) -> None:
    import requests
    from pypi_simple import NoSuchProjectError, PyPISimple

    final = cache / package.filename
    partial = final.with_name(f".{final.name}.{os.getpid()}")
    digest = hashlib.sha256()
    try:
        with PyPISimple(endpoint=index, session=session(index)) as client:
            page = client.get_project_page(package.name, timeout=TIMEOUT_S)
            url = next((p.url for p in page.packages if p.filename == package.filename), None)
            if url is None:
                raise _gone(package, index)
            with session(index).get(url, stream=True, timeout=TIMEOUT_S) as answer:
                answer.raise_for_status()
                with partial.open("wb") as sink:
                    for block in answer.iter_content(BLOCK):
                        digest.update(block)
                        sink.write(block)
        if digest.hexdigest() != package.sha256:
            raise WheelFetchError(
                "WHEEL-HASH",
                f"{package.filename} arrived with sha256 {digest.hexdigest()}",
                expected=f"{package.sha256}, as the lock says",
                remedy="the index or something on the way altered it: do not use it; try another "
                "mirror",
            )
        partial.replace(final)
        final.with_name(final.name + ".sha256").write_text(package.sha256)
        say(f"  {package.filename}  {package.size / 1e6:.0f} MB")
    except NoSuchProjectError as error:
        raise _gone(package, index) from error
    except requests.RequestException as error:
        raise unreachable(
            index, f"{package.filename} could not be fetched: {why_not(error)}"
        ) from None
    except OSError as error:
        raise WheelFetchError(
            "CACHE-WRITE",
            f"{cache}: {error.strerror or error} while fetching {package.filename}",
            expected=f"room for {package.size / 1e6:.0f} MB",
            remedy="make room, or set XDG_CACHE_HOME to a file system that has it",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _gone(package: LockedPackage, index: str) -> WheelFetchError:
    return WheelFetchError(
        "WHEEL-GONE",
        f"{without_password(index)} no longer has {package.filename}",
        expected="the file that was locked",
        remedy="lock again, or use a mirror that keeps it",
    )
