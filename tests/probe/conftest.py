"""The zipapp as a file, interpreters to run it with, and a compiler for small fake libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl import zipapp

Compile = Callable[..., Path]
Probe = Callable[..., dict[str, Any]]


def interpreters() -> dict[str, str]:
    """Every Python from 3.8 on that this machine has, by version."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    homes = [Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"]
    candidates = [p / "bin" / "python3" for home in homes if home.is_dir() for p in home.iterdir()]
    candidates += [Path("/usr/bin/python3"), *Path("/usr/bin").glob("python3.[0-9]*")]
    for path in candidates:
        if path.name.endswith("-config") or not path.exists():
            continue
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([str(path), "-c", ask], capture_output=True, text=True, check=False)
        version = done.stdout.strip()
        if done.returncode == 0 and tuple(map(int, version.split("."))) >= (3, 8):
            found.setdefault(version, str(path))
    return found


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zipapp."""
    path = tmp_path_factory.mktemp("zipapp") / "cudactl.pyz"
    zipapp.write(path)
    return path


@pytest.fixture(scope="session")
def probe(pyz: Path) -> Probe:
    """Run a verb of the zipapp and return the document it prints."""

    def run(
        *arguments: str,
        request: object = None,
        python: str = sys.executable,
        code: int = 0,
        env: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        done = subprocess.run(
            [python, "-I", "-S", str(pyz), *arguments],
            input=json.dumps(request) if request is not None else "",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **(env or {})},
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    return run


@pytest.fixture(scope="session")
def compile_library(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile C text into a shared library called `name`, in a folder of its own."""

    def compile_(name: str, source: str, folder: Path | None = None, *flags: str) -> Path:
        folder = folder or tmp_path_factory.mktemp("library")
        text = folder / (name + ".c")
        text.write_text(source)
        command = ["gcc", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{name}"]
        # Libraries come after what needs them, or the linker leaves them out.
        subprocess.run([*command, str(text), *flags, "-o", str(folder / name)], check=True)
        return folder / name

    return compile_


def wanted(path: Path) -> dict[str, object]:
    """A request's entry for one library in one folder."""
    return {"soname": path.name, "folders": [str(path.parent)]}
