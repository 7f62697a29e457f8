"""The command line as a whole: exit codes, help, errors without tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cudactl.cli import COMMANDS
from cudactl.contracts.lock import LockSource, LockTarget, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.stack.lock.file import write_lock
from tests.provision.conftest import package

BIN = Path(sys.executable).parent


def cudactl(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "cudactl"), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_help_names_every_command() -> None:
    done = cudactl("--help")
    assert done.returncode == 0
    for name, (_, _, line) in COMMANDS.items():
        assert name in done.stdout
        assert line in done.stdout


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom cudactl.cli import cudactl\n"
        "try:\n cudactl(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pydantic', 'ansible', 'ClusterShell', 'docker', 'rich', 'requests', 'yaml'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"imported: {done.stderr}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    done = cudactl(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: cudactl" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",),
        ("plan", "nope"),
        ("plan", "host", "--nope"),
        ("plan", "host", "--forks", "many"),
        ("plan", "host", "--lock", "missing.lock"),
        ("plan", "host", "-i", "missing.yml", "--lock", "x"),
        ("plan", "host", "a b", "--lock", "x"),
        ("provision", "host", "--plan", "missing.plan"),
        ("provision", "host", "--plan", "p", "--lock", "l"),
        ("provision", "host", "--plan", "p", "--reboot", "never"),
        ("provision", "host", "--plan", "p", "--take-over"),
        ("provision", "host", "--max-hosts", "0"),
    ],
)
def test_a_wrong_call_exits_2_and_says_why(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = cudactl(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_a_plan_that_could_not_be_saved_is_not_made(tmp_path: Path, some_lock: Path) -> None:
    for place in ("nowhere/p.plan", "some.lock/p.plan"):
        done = cudactl("plan", "host", "--lock", str(some_lock), "-o", place, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "PLAN-NOT-WRITTEN" in done.stderr
        assert done.stdout == ""


def test_evidence_that_could_not_be_kept_is_not_taken(tmp_path: Path, some_lock: Path) -> None:
    way = ["--lock", str(some_lock), "--keep-evidence", str(some_lock / "evidence")]
    done = cudactl("certify", "host", *way, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "EVIDENCE-NOT-KEPT" in done.stderr


@pytest.fixture
def some_lock(tmp_path: Path) -> Path:
    """A small valid lock."""
    lock = StackLock(
        spec=StackSpec(os="debian-12", cuda="13.0"),
        spec_hash="1" * 64,
        catalogue_hash="2" * 64,
        target=LockTarget(os="debian-12", arch="x86_64", packages="apt"),
        resolved={"cuda": "13.0.2"},
        sources=[LockSource(name="nvidia", kind="apt", url="http://m.invalid/", vendor=False)],
        packages=[package("cuda-cudart-13-0", "13.0.96-1")],
    )
    write_lock(lock, tmp_path / "some.lock")
    return tmp_path / "some.lock"


@pytest.mark.parametrize("command", ["plan", "provision", "certify"])
def test_an_unreachable_host_exits_4(tmp_path: Path, some_lock: Path, command: str) -> None:
    done = cudactl(command, "host", "nobody.invalid", "--lock", str(some_lock), cwd=tmp_path)
    assert done.returncode == 4
    assert "HOST-NAME-UNKNOWN" in done.stdout + done.stderr
    assert "what to do" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_one_unreachable_host_among_many_holds_up_nobody(tmp_path: Path, some_lock: Path) -> None:
    names = [f"nobody-{i}.invalid" for i in range(5)]
    done = cudactl("plan", "host", *names, "--lock", str(some_lock), "--json", cwd=tmp_path)
    assert done.returncode == 4
    rows = json.loads(done.stdout)
    assert [r["host"] for r in rows] == names
    assert {r["error"]["code"] for r in rows} == {"HOST-NAME-UNKNOWN"}
