"""Downloads: verified, gone on with after an interruption, never half there."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.stack.index.downloads import ATTEMPTS, PIECE, Wanted, fetch_files, is_there

SIZE = 5_000_000
DATA = hashlib.sha512(b"seed").digest() * (SIZE // 64) + b"x" * (SIZE % 64)
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server:
    """A server that can be slow, break off, forget about ranges, or send something else."""

    def __init__(self) -> None:
        self.data = DATA
        self.breaks_after: int | None = None
        self.knows_ranges = True
        self.status = 200
        self.pause = 0.0
        self.ranges: list[str | None] = []
        self.at_once = self.most_at_once = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self._answer(request)
        finally:
            self.at_once -= 1

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if self.status != 200:
            request.send_error(self.status)
            return
        start = 0
        if asked and self.knows_ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            request.send_response(206)
            end = f"{len(self.data) - 1}/{len(self.data)}"
            request.send_header("Content-Range", f"bytes {start}-{end}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(self.data) - start))
        request.end_headers()
        stop = len(self.data) if self.breaks_after is None else start + self.breaks_after
        for at in range(start, min(stop, len(self.data)), 100_000):
            request.wfile.write(self.data[at : min(at + 100_000, stop)])
            time.sleep(self.pause)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.http.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.http.shutdown()
    made.http.server_close()


Fetch = Callable[..., int]


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetch:
    def run(*names: str, sha256: str = SHA256, size: int = SIZE) -> int:
        wanted = [
            Wanted(tmp_path / "files" / name, server.url + name, sha256, size)
            for name in names or ("a",)
        ]
        return fetch_files(wanted, tmp_path / ".partial", lambda text: None)

    return run


def refused(run: Callable[[], object]) -> CudactlError:
    with pytest.raises(CudactlError) as error:
        run()
    assert error.value.expected
    assert error.value.remedy
    return error.value


def partial(tmp_path: Path) -> Path:
    place = hashlib.sha256(b"../files/a").hexdigest()
    return tmp_path / ".partial" / f"{SHA256[:32]}-{place[:8]}.part"


def test_a_file_has_its_name_when_every_byte_is_verified(fetch: Fetch, tmp_path: Path) -> None:
    assert fetch() == SIZE
    assert (tmp_path / "files/a").read_bytes() == DATA
    assert is_there(tmp_path / "files/a", SHA256, SIZE)
    assert not list((tmp_path / ".partial").iterdir())


def test_a_connection_that_breaks_is_gone_on_with(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    server.breaks_after = SIZE // 2
    assert fetch() == SIZE, "no byte is kept twice"
    assert (tmp_path / "files/a").read_bytes() == DATA
    starts = [int(asked[6:-1]) for asked in server.ranges if asked]
    assert server.ranges[0] is None
    assert 1 <= len(starts) < ATTEMPTS
    assert SIZE // 2 - PIECE < starts[0] <= SIZE // 2


def test_a_run_that_failed_is_completed_by_the_next(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    server.breaks_after = SIZE // 10
    error = refused(fetch)
    assert (error.code, error.exit_code) == ("DOWNLOAD-UNREACHABLE", Exit.UNMEASURED)
    assert not (tmp_path / "files/a").exists(), "half a file does not count"
    have = partial(tmp_path).stat().st_size
    assert have > ATTEMPTS * (SIZE // 10 - PIECE)
    server.breaks_after, server.ranges = None, []
    assert fetch() == SIZE - have
    assert server.ranges == [f"bytes={have}-"]
    assert (tmp_path / "files/a").read_bytes() == DATA


def test_a_server_without_ranges_sends_it_again(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    partial(tmp_path).parent.mkdir()
    partial(tmp_path).write_bytes(DATA[:1000])
    server.knows_ranges = False
    assert fetch() == SIZE
    assert (tmp_path / "files/a").read_bytes() == DATA


@pytest.mark.parametrize("rest", [b"y" * 1000, b"z" * SIZE, b"z" * (SIZE + 1)])
def test_a_beginning_that_belongs_to_something_else_is_fetched_anew(
    fetch: Fetch, tmp_path: Path, rest: bytes
) -> None:
    partial(tmp_path).parent.mkdir()
    partial(tmp_path).write_bytes(rest)
    assert fetch() >= SIZE
    assert (tmp_path / "files/a").read_bytes() == DATA


def test_what_was_complete_before_the_end_needs_no_server(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    partial(tmp_path).parent.mkdir()
    partial(tmp_path).write_bytes(DATA)
    assert fetch() == 0
    assert not server.ranges
    assert (tmp_path / "files/a").read_bytes() == DATA


@pytest.mark.parametrize(
    "data", [DATA[:-1] + b"!", DATA + b"and more"], ids=["another byte", "longer"]
)
def test_another_content_is_refused_and_thrown_away(
    fetch: Fetch, server: Server, tmp_path: Path, data: bytes
) -> None:
    server.data = data
    error = refused(fetch)
    assert (error.code, error.exit_code) == ("DOWNLOAD-HASH", Exit.FAIL)
    assert SHA256 in error.expected
    assert not (tmp_path / "files/a").exists()
    assert not partial(tmp_path).exists()


def test_a_file_that_is_shorter_than_announced(fetch: Fetch, server: Server) -> None:
    server.data = DATA[:-1]
    assert refused(fetch).code == "DOWNLOAD-UNREACHABLE"


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "DOWNLOAD-GONE"), (410, "DOWNLOAD-GONE"), (500, "DOWNLOAD-UNREACHABLE")],
)
def test_a_server_that_says_no(fetch: Fetch, server: Server, status: int, code: str) -> None:
    server.status = status
    assert refused(fetch).code == code


def test_a_few_at_once_and_the_first_error_ends_all(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    server.pause = 0.005
    names = [f"file-{number}" for number in range(6)]
    assert fetch(*names[:3]) == 3 * SIZE
    assert all((tmp_path / "files" / name).read_bytes() == DATA for name in names[:3])
    assert 1 < server.most_at_once <= 3
    server.status = 500
    server.ranges = []
    assert refused(lambda: fetch(*names[3:])).code == "DOWNLOAD-UNREACHABLE"
    assert len(server.ranges) <= 3


def test_a_password_is_never_shown(fetch: Fetch, server: Server) -> None:
    server.url = server.url.replace("//", "//me:secret@")
    server.status = 404
    assert "secret" not in refused(fetch).found


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file where a folder should be")
    wanted = Wanted(tmp_path / "files/a", server.url, SHA256, SIZE)
    error = refused(lambda: fetch_files([wanted], tmp_path / ".partial", lambda text: None))
    assert (error.code, error.exit_code) == ("DOWNLOAD-NOT-WRITTEN", Exit.USAGE)
