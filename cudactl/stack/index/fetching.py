"""Download what an index names, with limits: over https, http or from a folder (file://).

Certificates are checked against the system's store, where sites put their own authorities. Every
failure is one clear error; what was larger than announced is never kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from cudactl import __version__
from cudactl.contracts.errors import CudactlError, UnreachableError

if TYPE_CHECKING:
    import requests  # at run time only where something is downloaded: it takes a while

TIMEOUT = (15.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""
CHUNK = 1 << 20

_SYSTEM_STORE = Path("/etc/ssl/certs/ca-certificates.crt")


class IndexRefused(CudactlError):
    """An index that was reached and cannot be trusted or read. Exit code 3."""


def session(index: str = "") -> requests.Session:
    """Return the session that all downloads share.

    An index in a folder (`index` is a file:// address) gets one that also reads files: no server
    can then lead another one to this machine's own files.
    """
    return _session(index.startswith("file://"))


@lru_cache(maxsize=2)
def _session(reads_files: bool) -> requests.Session:
    import requests

    made = requests.Session()
    made.headers["User-Agent"] = f"cudactl/{__version__}"
    if _SYSTEM_STORE.is_file():
        made.verify = str(_SYSTEM_STORE)
    if reads_files:
        from cudactl.stack.index.folder import FolderAdapter

        made.mount("file://", FolderAdapter())
    return made


def fetch(url: str, limit: int) -> bytes | None:
    """Return what is at `url`, or None where there is nothing (404).

    Raises:
        UnreachableError: INDEX-UNREACHABLE.
        IndexRefused: INDEX-TOO-LARGE, when it is larger than `limit` bytes.
    """
    pieces: list[bytes] = []
    size = 0
    for piece in stream(url):
        if piece is None:
            return None
        size += len(piece)
        if size > limit:
            raise IndexRefused(
                "INDEX-TOO-LARGE",
                f"{without_password(url)} is larger than {limit} bytes",
                expected=f"at most {limit} bytes, as announced or as an index ever needs",
                remedy="check the address; if it is a mirror, synchronise it again",
            )
        pieces.append(piece)
    return b"".join(pieces)


def stream(url: str) -> Iterator[bytes | None]:
    """Yield the pieces of what is at `url`; a single None where there is nothing (404)."""
    if url.startswith("file://"):
        yield from _file(url)
        return
    import requests

    try:
        with session().get(url, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 404:
                yield None
                return
            if answer.status_code != 200:
                raise unreachable(url, f"the server answers {answer.status_code} {answer.reason}")
            yield from answer.iter_content(CHUNK)
    except requests.RequestException as error:
        raise unreachable(url, why_not(error)) from None


def _file(url: str) -> Iterator[bytes | None]:
    path = Path(unquote(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece
    except FileNotFoundError:
        yield None
    except OSError as error:
        raise unreachable(url, str(error.strerror)) from None


def unreachable(url: str, why: str) -> UnreachableError:
    """Return the error of an address that does not give what it should."""
    return UnreachableError(
        "INDEX-UNREACHABLE",
        f"{without_password(url)}: {why}",
        expected="a package index at this address",
        remedy="check the address, the network and proxy settings (https_proxy), then try again",
    )


def why_not(error: requests.RequestException) -> str:
    """Say in plain words why a request failed."""
    import requests

    text = str(error)
    for sign, words in (
        ("Name or service not known", "the host's name is not known"),
        ("nodename nor servname", "the host's name is not known"),
        ("No address associated", "the host's name is not known"),
        ("Temporary failure in name resolution", "the host's name cannot be looked up"),
        ("Connection refused", "the connection was refused"),
        ("No route to host", "there is no route to the host"),
        ("Network is unreachable", "the network is unreachable"),
        ("CERTIFICATE_VERIFY_FAILED", "the server's certificate is not trusted by this machine"),
    ):
        if sign in text:
            return words
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refuses or does not answer"
    return f"the download failed ({type(error).__name__})"


@lru_cache(maxsize=256)
def without_password(url: str) -> str:
    """Return `url` without user and password, for people and for locks."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def default_cache() -> Path:
    """Return cudactl's cache folder on this machine (the XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cudactl"


def keep(path: Path, data: bytes) -> None:
    """Write a file into the cache, whole; a cache that cannot be written is no reason to stop."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
