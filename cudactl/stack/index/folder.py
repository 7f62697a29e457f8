"""A Simple index in a folder, read as if it were served: file:// addresses for requests.

What an offline bundle needs: a spec may name its folder as a mirror, with no web server. A folder
answers with its index.html, a file with its bytes, ranges included.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import BaseAdapter


class FolderAdapter(BaseAdapter):
    """Answers GET and HEAD for file:// addresses."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,  # noqa: ANN401
        verify: Any = True,  # noqa: ANN401
        cert: Any = None,  # noqa: ANN401
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Return the file as an answer: 200, 206 for a range, or 404."""
        answer = requests.Response()
        answer.request = request
        answer.url = request.url or ""
        path = Path(unquote(urlsplit(answer.url).path))
        if path.is_dir():
            path = path / "index.html"
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            answer.status_code, answer.reason = 404, "Not Found"
            answer.raw = io.BytesIO()
            return answer
        except OSError as error:
            raise requests.ConnectionError(f"{path}: {error.strerror}", request=request) from None
        size = path.stat().st_size
        start, end = 0, size
        answer.status_code, answer.reason = 200, "OK"
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
        if span and span.group(1):
            start = min(int(span.group(1)), size)
            end = min(int(span.group(2)) + 1, size) if span.group(2) else size
        elif span and span.group(2):
            start = max(0, size - int(span.group(2)))
        if span:
            answer.status_code, answer.reason = 206, "Partial Content"
            answer.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        file.seek(start)
        answer.raw = file if end == size else io.BytesIO(file.read(end - start))
        answer.headers["Content-Length"] = str(end - start)
        kind = "text/html" if path.suffix == ".html" else "application/octet-stream"
        answer.headers["Content-Type"] = kind
        answer.headers["Accept-Ranges"] = "bytes"
        return answer

    def close(self) -> None:
        """Nothing is kept open."""
