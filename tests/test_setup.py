"""tools/setup.sh: looks first, says what it is about to do, changes only what is missing.

It runs in a folder of its own with an environment that is already made, and with apt-get, sudo and
dockerd replaced: the machine that the tests run on must not be changed by them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDINARY = (
    "bash cat cut dirname env flock gcc gpg gpg-agent gpgv grep head id mktemp python3 rm setsid "
    "sh sha256sum sleep ssh ssh-keygen tail touch tr"
)
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is set up: script, pyproject.toml, environment and its stamp."""
    here = tmp_path / "checkout"
    (here / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "setup.sh", here / "tools")
    shutil.copy(ROOT / "pyproject.toml", here)
    python = here / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    digest = hashlib.sha256((here / "pyproject.toml").read_bytes()).hexdigest()
    (here / ".venv" / ".setup-stamp").write_text(f"{digest} {here}\n")
    return here


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with ordinary programs, a docker that is no engine, and doubles that take note."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ORDINARY.split():
        found = shutil.which(name)
        (folder / name).symlink_to(found or f"/usr/bin/{name}")
    (folder / "python3").unlink()
    (folder / "python3").symlink_to(sys.executable)
    for name in ("docker", "mmdebstrap"):
        write(folder / name, "exit 0")
    write(folder / "sudo", '[ "$1" = -n ] && shift; exec "$@"')
    write(folder / "apt-get", f'echo "$DEBIAN_FRONTEND apt-get $*" >> {tmp_path}/done')
    return folder


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def setup(checkout: Path, programs: Path, tmp_path: Path) -> Run:
    def run(**env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(checkout / "tools" / "setup.sh")],
            env={"PATH": str(programs), "TMPDIR": str(tmp_path), "HOME": str(tmp_path), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_what_is_missing_is_said_and_installed_without_a_prompt(
    setup: Run, programs: Path, tmp_path: Path
) -> None:
    (programs / "mmdebstrap").unlink()
    done = setup(DOCKER_HOST="unix:///nowhere.sock")
    assert "about to install from the distribution, with apt-get: mmdebstrap" in done.stdout
    installs = (tmp_path / "done").read_text().splitlines()
    (install,) = [line for line in installs if " install " in line]
    assert install.startswith("noninteractive apt-get install -y")
    assert install.endswith(" mmdebstrap")


def test_what_apt_says_is_shown_when_it_fails(setup: Run, programs: Path) -> None:
    (programs / "mmdebstrap").unlink()
    write(programs / "apt-get", "echo 'E: no network here' >&2; exit 100")
    done = setup()
    assert done.returncode == 1
    assert "E: no network here" in done.stderr


def test_a_docker_command_is_not_taken_for_an_engine(setup: Run) -> None:
    done = setup(DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == 1
    assert "DOCKER_HOST=unix:///nowhere.sock" in done.stderr
    assert "does not answer" in done.stderr


@pytest.mark.lab
def test_a_machine_that_has_everything_is_left_alone(setup: Run, tmp_path: Path) -> None:
    done = setup(**{k: v for k, v in os.environ.items() if k == "DOCKER_HOST"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "done").exists()


def test_an_interpreter_that_is_too_old_is_named(setup: Run, tmp_path: Path) -> None:
    old = tmp_path / "old-python"
    write(old, '[ "$1" = --version ] && echo Python 3.8.20; exit 1')
    done = setup(PYTHON=str(old))
    assert done.returncode == 1
    assert "Python 3.8.20" in done.stderr
    assert "3.10 to 3.14" in done.stderr
