"""What every test stands on: folders of its own, and cudactl as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
Cudactl = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the lab's files first: they take longest, and files are what runs side by side."""
    lab = {item.path for item in items if item.get_closest_marker("lab") is not None}
    items.sort(key=lambda item: item.path not in lab)


@pytest.fixture(scope="session", autouse=True)
def own_folders() -> Iterator[Path]:
    """Give the run its own home, state and lab, so that a user's are neither read nor changed.

    Only the cache stays the user's: what is in it is verified by its hash, and weighs gigabytes.
    The path is short because sockets (ssh's, gpg's) lie in it, whose paths end at 107 bytes.
    """
    folder = Path(tempfile.mkdtemp(prefix="cudactl-t-"))
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    pip = Path("~/.config/pip/pip.conf").expanduser()  # which package index this machine uses
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("CUDACTL_", "ANSIBLE_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("XDG_CACHE_HOME", cache)
        for name in ("CONFIG", "STATE", "DATA"):
            patch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
        patch.setenv("CUDACTL_LAB_DIR", str(folder / "lab"))
        if pip.exists() and "PIP_CONFIG_FILE" not in os.environ:
            patch.setenv("PIP_CONFIG_FILE", str(pip))
        (folder / "home").mkdir()
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cudactl() -> Cudactl:
    """Run the installed command and return exit code and both outputs; never a traceback."""

    def run(
        *arguments: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(BIN / "cudactl"), *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run
