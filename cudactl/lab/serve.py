"""Serve a mirror's folder over HTTP: `python -m cudactl.lab.serve FOLDER ADDRESS PORT`.

Python's own server, quiet, with a count of requests; port 0 takes a free one.
"""

from __future__ import annotations

import functools
import http.server
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

URL_PATH = "compute/cuda/repos"
"""Where NVIDIA's repositories lie below the server's root."""


class Server:
    """A server in the background: its address, and what was asked of it."""

    def __init__(self, root: Path, address: str, port: int) -> None:
        self.requests: list[str] = []
        """Paths asked for, in order."""
        handler = functools.partial(_Handler, self.requests, directory=str(root))
        self._http = _QuietServer((address, port), handler)
        self.address: str = address
        self.port: int = self._http.server_address[1]

    @property
    def url(self) -> str:
        """What `mirror.url` of a stack.yaml takes; the repositories' folders follow it."""
        return f"http://{self.address}:{self.port}/{URL_PATH}"

    def run(self) -> None:
        """Serve until `stop`."""
        self._http.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """End serving and close the socket."""
        self._http.shutdown()
        self._http.server_close()


class _QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A client that hangs up, as apt does when it has seen enough, is nothing to report."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # apt asks for many small files over one connection
    disable_nagle_algorithm = True

    def __init__(self, requests: list[str], *args: Any, **options: Any) -> None:  # noqa: ANN401
        self._requests = requests
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        self._requests.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def serving(root: Path, address: str, port: int = 0) -> Iterator[Server]:
    """Serve `root` in a thread for as long as the block runs."""
    server = Server(root, address, port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def main(arguments: list[str]) -> int:
    """Serve FOLDER (a mirror, or any folder) at ADDRESS:PORT until the process is ended."""
    if len(arguments) != 3 or not arguments[2].isdigit() or not Path(arguments[0]).is_dir():
        sys.stderr.write("usage: python -m cudactl.lab.serve FOLDER ADDRESS PORT\n")
        return 2
    folder = Path(arguments[0])
    root = folder / "www" if (folder / "www").is_dir() else folder
    try:
        server = Server(root, arguments[1], int(arguments[2]))
    except OSError as error:
        sys.stderr.write(f"cannot listen at {arguments[1]}:{arguments[2]}: {error.strerror}\n")
        return 4
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    try:
        server.run()
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
