"""Fetch files whose size and sha256 are known: verified, resumable, a few at once.

A file gets its name only when every byte was verified. What was fetched of it before an
interruption lies beside it under another name; the next run asks the server for the rest only. A
server that cannot do that sends it again from the beginning.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from cudactl.contracts.errors import CudactlError, UnreachableError, UsageError
from cudactl.stack.index.fetching import TIMEOUT, session, why_not, without_password

PIECE = 1 << 16
"""Bytes read at a time; what a broken connection loses is less than one piece."""
AT_ONCE = 3
"""Connections: enough to fill a line, few enough to be a polite guest."""
ATTEMPTS = 3
"""Connections that may break before a file is given up; each goes on where the last one ended."""


class DownloadError(CudactlError):
    """A file that was reached and is not what the lock says, or cannot be kept."""


@dataclass(frozen=True)
class Wanted:
    """One file."""

    path: Path
    """Where it goes."""
    url: str
    """Where it comes from."""
    sha256: str
    size: int
    """Bytes."""


def is_there(path: Path, sha256: str, size: int) -> bool:
    """Return True when `path` holds exactly this file."""
    try:
        if path.stat().st_size != size:
            return False
        return _digest_of(path, size)[0].hexdigest() == sha256
    except OSError:
        return False


def fetch_files(
    wanted: Sequence[Wanted], folder: Path, say: Callable[[str], None], *, at_once: int = AT_ONCE
) -> int:
    """Bring every file to its place and return how many bytes came over the line.

    Args:
        wanted: Files that are not there yet; a path must not occur twice.
        folder: Folder on the same file system, which holds files that are not complete.
        say: Receives a line per file.
        at_once: Files fetched at the same time.

    Raises:
        DownloadError: DOWNLOAD-HASH, DOWNLOAD-GONE, DOWNLOAD-NO-ROOM.
        UsageError: DOWNLOAD-NOT-WRITTEN.
        UnreachableError: DOWNLOAD-UNREACHABLE.
    """
    if not wanted:
        return 0
    run = _Run(wanted, folder, say)
    run.check_room()
    run.work(at_once)
    return run.bytes_fetched


class _Run:
    """Files being fetched by a few threads; the first error ends all of them."""

    def __init__(self, missing: Sequence[Wanted], folder: Path, say: Callable[[str], None]) -> None:
        self.missing, self.folder, self.say = missing, folder, say
        self.total = sum(one.size for one in missing)
        self.done = self.count = self.bytes_fetched = 0
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Wanted] = queue.SimpleQueue()

    def check_room(self) -> None:
        """Refuse before anything is fetched when it cannot fit."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            need = self.total - sum(_size(self._partial(one)) for one in self.missing)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise _not_written(self.folder, error) from None
        if need > free:
            raise DownloadError(
                "DOWNLOAD-NO-ROOM",
                f"{self.folder.parent}: {free / 1e6:.0f} MB are free",
                expected=f"room for {need / 1e6:.0f} MB more",
                remedy="make room, or choose another file system",
            )

    def work(self, at_once: int) -> None:
        """Fetch everything. Ctrl-C stops at once and keeps what was fetched so far."""
        for one in self.missing:
            self._queue.put(one)
        # Daemons: a connection that hangs must not keep an interrupted run from ending.
        threads = [threading.Thread(target=self._worker, daemon=True) for _ in range(at_once)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive() and self.error is None:
                    thread.join(0.1)
        finally:
            self._stop.set()
        if self.error is not None:
            raise self.error

    def _worker(self) -> None:
        while not self._stop.is_set():
            try:
                one = self._queue.get_nowait()
            except queue.Empty:
                return
            try:
                self._fetch(one)
            except BaseException as error:
                with self._lock:
                    self.error = self.error or error
                return

    def _partial(self, one: Wanted) -> Path:
        # By place too: one file may be wanted in two repositories at once.
        place = hashlib.sha256(os.path.relpath(one.path, self.folder).encode()).hexdigest()
        return self.folder / f"{one.sha256[:32]}-{place[:8]}.part"

    def _fetch(self, one: Wanted) -> None:
        partial = self._partial(one)
        went_on = partial.is_file()
        digest = self._received(one, partial)
        if digest != one.sha256 and went_on and not self._stop.is_set():
            # What was there before may be the wrong part: only a whole file is held against anyone.
            partial.unlink(missing_ok=True)
            digest = self._received(one, partial)
        if self._stop.is_set():
            return
        if digest != one.sha256:
            partial.unlink(missing_ok=True)
            raise DownloadError(
                "DOWNLOAD-HASH",
                f"{without_password(one.url)} arrived with sha256 {digest}",
                expected=f"{one.sha256} ({one.size} bytes), as the lock says",
                remedy="the source or something on the way altered it: do not use it; take another "
                "mirror, or lock again if the vendor says that the file was replaced",
            )
        try:
            one.path.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(one.path)
        except OSError as error:
            raise _not_written(one.path, error) from None
        with self._lock:
            self.count += 1
            self.done += one.size
            self.say(
                f"  [{self.count}/{len(self.missing)}] {one.path.name}  "
                f"({self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB)"
            )

    def _received(self, one: Wanted, partial: Path) -> str:
        """Return the sha256 of the file, however often its connection breaks."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._receive(one, partial)
            except _Broken as broken:
                if attempt == ATTEMPTS:
                    raise _unreachable(one, str(broken)) from None
        return ""

    def _receive(self, one: Wanted, partial: Path) -> str:
        """Append what is missing to `partial` and return the sha256 of all of it.

        Raises:
            _Broken: when the connection ended early; what arrived is kept.
        """
        try:
            digest, have = _digest_of(partial, one.size)
            if have == one.size and digest.hexdigest() == one.sha256:
                return one.sha256
            start = have if have < one.size else 0
            with partial.open("r+b" if have else "wb") as file, _opened(one, start) as opened:
                begins, pieces = opened
                if begins == 0 and have:
                    digest, have = hashlib.sha256(), 0
                    file.truncate(0)
                file.seek(have)
                for piece in pieces:
                    if self._stop.is_set():
                        return ""
                    have += len(piece)
                    if have > one.size:
                        return f"{digest.hexdigest()} for {one.size} bytes, and goes on"
                    digest.update(piece)
                    file.write(piece)
                    with self._lock:
                        self.bytes_fetched += len(piece)
        except OSError as error:
            raise _not_written(partial, error) from None
        if have < one.size:
            raise _Broken(f"it ended after {have} of {one.size} bytes")
        return digest.hexdigest()


class _Broken(Exception):
    """A connection that ended before the file did."""


def _digest_of(path: Path, limit: int) -> tuple[hashlib._Hash, int]:
    """Return hash and size of what is there of a file; nothing of what is larger than `limit`."""
    digest = hashlib.sha256()
    if not path.is_file() or path.stat().st_size > limit:
        return digest, 0
    have = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            have += len(piece)
    return digest, have


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


@contextmanager
def _opened(one: Wanted, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Yield where the answer begins (`start`, or 0 where the server cannot), and its pieces.

    Raises:
        _Broken: when the connection could not be made or ended.
    """
    if one.url.startswith("file://"):
        with _source(one) as file:
            file.seek(start)
            yield start, iter(lambda: file.read(PIECE), b"")
        return
    import requests

    # Not compressed on the way: ranges count the file's own bytes.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with session().get(one.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code in (404, 410):
                raise _gone(one)
            if answer.status_code == 416:  # less is there than was fetched of it before
                yield 0, iter(())
                return
            if answer.status_code not in (200, 206):
                raise _unreachable(one, f"the server answers {answer.status_code} {answer.reason}")
            begins = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            goes_on = answer.status_code == 206 and begins
            yield start if goes_on else 0, answer.iter_content(PIECE)
    except (
        requests.exceptions.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        requests.Timeout,
    ) as error:
        raise _Broken(why_not(error)) from None
    except requests.RequestException as error:
        raise _unreachable(one, why_not(error)) from None


def _source(one: Wanted) -> BinaryIO:
    try:
        return Path(unquote(urlsplit(one.url).path)).open("rb")
    except FileNotFoundError:
        raise _gone(one) from None
    except OSError as error:
        raise _unreachable(one, str(error.strerror)) from None


def _gone(one: Wanted) -> DownloadError:
    return DownloadError(
        "DOWNLOAD-GONE",
        f"{without_password(one.url)} is not there any more",
        expected="the file that was locked",
        remedy="lock again (cudactl stack upgrade), or take a mirror or a bundle that keeps it",
    )


def _unreachable(one: Wanted, why: str) -> UnreachableError:
    return UnreachableError(
        "DOWNLOAD-UNREACHABLE",
        f"{without_password(one.url)}: {why}",
        expected="the file that was locked",
        remedy="check the network and proxy settings (https_proxy), then run the same command "
        "again: it goes on where it stopped",
    )


def _not_written(path: Path, error: OSError) -> CudactlError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(
            "DOWNLOAD-NO-ROOM",
            f"{path.parent}: {error.strerror}",
            expected="room for every file of the lock",
            remedy="make room, then run the same command again: it goes on where it stopped",
        )
    return UsageError(
        "DOWNLOAD-NOT-WRITTEN",
        f"{path} cannot be written: {error.strerror or error}",
        expected="a folder that may be written to",
        remedy="choose another folder",
    )
