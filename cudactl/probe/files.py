"""Reading files below a root that may be a fixture: what cannot be read is None, never invented."""

from __future__ import annotations

import json
import os

from . import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional


class Root:
    """A file tree: the machine's own ("/") or a recorded one (--root DIR)."""

    def __init__(self, path: str = "/") -> None:
        self.path = path.rstrip("/") or "/"
        self.live = self.path == "/"

    def at(self, path: str) -> str:
        """Return where `path` lies below the root."""
        return path if self.live else self.path + path

    def text(self, path: str) -> Optional[str]:
        """Return a file's text, or None."""
        try:
            with open(self.at(path), encoding="utf-8", errors="replace") as stream:
                return stream.read()
        except OSError:
            return None

    def line(self, path: str) -> Optional[str]:
        """Return a file's text without blanks around it; None when there is none."""
        text = self.text(path)
        return (text.strip() or None) if text is not None else None

    def json(self, path: str) -> Optional[Dict[str, Any]]:
        """Return a file's JSON object, or None."""
        text = self.text(path)
        if text is None:
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def list(self, path: str) -> List[str]:
        """Return a folder's names, sorted; empty when it is not there."""
        try:
            return sorted(os.listdir(self.at(path)))
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        """Return whether something is there."""
        return os.path.lexists(self.at(path))

    def link(self, path: str) -> Optional[str]:
        """Return where a symbolic link points, or None."""
        try:
            return os.readlink(self.at(path))
        except OSError:
            return None

    def sha256(self, path: str) -> Optional[str]:
        """Return a small file's sha256, or None."""
        import hashlib  # the gate reads files too, and needs no hash

        try:
            with open(self.at(path), "rb") as stream:
                return hashlib.sha256(stream.read()).hexdigest()
        except OSError:
            return None
