"""Which wheel index is asked: the spec's mirror, $CUDACTL_WHEEL_INDEX, pip's own, or PyPI.

pip's configuration files are read as pip reads them, so a site that has a mirror need not say it
twice. An address's password is used and never written into a lock.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cudactl.contracts.spec import StackSpec
from cudactl.stack.index.fetching import without_password

DEFAULT_INDEX = "https://pypi.org/simple/"
NAME = "pypi"
"""What packages call it in a lock."""


def index_url(spec: StackSpec) -> str:
    """Return the Simple index to ask for a wish, ending in "/"."""
    if spec.mirror is not None:
        return _folder(spec.mirror.url)
    return configured_index()


def configured_index() -> str:
    """Return the index this machine is set up for, ending in "/"."""
    named = os.environ.get("CUDACTL_WHEEL_INDEX") or os.environ.get("PIP_INDEX_URL")
    return _folder(named or _pip_index() or DEFAULT_INDEX)


def with_password(url: str, spec: StackSpec) -> str:
    """Return a lock's index with the user and password that this machine knows for it."""
    for known in (index_url(spec), configured_index()):
        if without_password(known) == url:
            return known
    return url


def _folder(url: str) -> str:
    return url.strip().rstrip("/") + "/"


def _pip_index() -> str | None:
    """Return `index-url` of pip's configuration files; the last file that has it wins."""
    found = None
    for path in _pip_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        found = parser.get("global", "index-url", fallback=None) or found
    return found


def _pip_files() -> Iterator[Path]:
    """Yield pip's configuration files in the order in which they override each other."""
    named = os.environ.get("PIP_CONFIG_FILE")
    home = Path("~").expanduser()
    for folder in reversed((os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield Path(folder) / "pip/pip.conf"
    yield Path("/etc/pip.conf")
    if not (named and Path(named).exists()):
        yield home / ".pip/pip.conf"
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if named:
        yield Path(named)
