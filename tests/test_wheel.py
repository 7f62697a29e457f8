"""What a user gets from the package index: the wheel alone, in an empty environment, elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.probe.conftest import interpreters

ROOT = Path(__file__).parent.parent


EVERY_MODULE = """\
import importlib, pkgutil, cudactl
for module in pkgutil.walk_packages(cudactl.__path__, "cudactl."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True, timeout=300
    )
    (built,) = folder.glob("cudactl-*.whl")
    return built


def install(python: str, wheel: Path, folder: Path) -> Path:
    """Install the wheel into an empty environment and return the environment's bin."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True, timeout=120)
    subprocess.run(
        [str(folder / "bin" / "python"), "-m", "pip", "-q", "install", str(wheel)],
        check=True,
        timeout=600,
    )
    return folder / "bin"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in an empty environment of this Python; its bin."""
    return install(sys.executable, wheel, tmp_path_factory.mktemp("venv"))


def run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_wheel_carries_all_it_needs(installed: Path, tmp_path: Path) -> None:
    script = (
        "import json, cudactl, pathlib\n"
        "from cudactl.provision.data import data_folder\n"
        "from cudactl.stack.facts.catalogue import load_catalogue\n"
        "from cudactl import zipapp\n"
        "print(json.dumps({\n"
        " 'where': cudactl.__file__,\n"
        " 'play': (data_folder('playbooks') / 'provision.yml').exists(),\n"
        " 'role': (data_folder('roles') / 'packages/tasks/main.yml').exists(),\n"
        " 'catalogue': len(load_catalogue().hash),\n"
        " 'zipapp': zipapp.build()[:2].decode('latin1')}))\n"
    )
    done = run(installed / "python", "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found.pop("where").startswith(str(ROOT)), "the checkout must not be what is used"
    assert found["play"]
    assert found["role"]
    assert found["catalogue"] == 64
    tested = run(installed / "cudactl", "certify", "selftest", cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_compiled_catalogue_says_what_the_tables_say(installed: Path, tmp_path: Path) -> None:
    """A wheel reads one JSON file where a checkout reads CSV files: hash and rows are the same."""
    script = (
        "import hashlib, json\n"
        "from cudactl.stack.facts.catalogue import TABLES, assemble\n"
        "from cudactl.stack.facts.shipped import COMPILED\n"
        "catalogue = assemble()\n"
        "rows = {t: [r.model_dump() for r in catalogue.table(t)] for t in TABLES}\n"
        "text = json.dumps(rows, sort_keys=True)\n"
        "print(json.dumps({'compiled': COMPILED.is_file(), 'hash': catalogue.hash,\n"
        " 'number': sum(map(len, rows.values())),\n"
        " 'rows': hashlib.sha256(text.encode()).hexdigest()}))\n"
    )
    from_wheel = run(installed / "python", "-c", script, cwd=tmp_path)
    assert from_wheel.returncode == 0, from_wheel.stderr
    here = run(Path(sys.executable), "-c", script, cwd=ROOT)
    wheel, checkout = json.loads(from_wheel.stdout), json.loads(here.stdout)
    assert wheel.pop("compiled"), "a wheel carries the compiled catalogue"
    assert not checkout.pop("compiled"), "a checkout reads its tables, or an edit would not be seen"
    assert wheel == checkout
    assert wheel["number"] > 1000


def test_it_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "cudactl", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "provision" in done.stdout
    bad = run(installed / "cudactl", "stack", "lock", "nothing.yaml", cwd=tmp_path)
    assert bad.returncode == 2
    assert "nothing.yaml" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_a_host_can_be_planned_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "cudactl", "plan", "host", "--lock", "missing.lock", cwd=tmp_path)
    assert done.returncode == 2
    assert "missing.lock" in done.stderr


def oldest_and_newest() -> list[str]:
    """The versions at both ends of what this machine has and cudactl runs on, but this one."""
    numbers = sorted(tuple(map(int, version.split("."))) for version in interpreters())
    ours = [number for number in numbers if (3, 10) <= number < (3, 15)]
    ends = {ours[0], ours[-1]} - {sys.version_info[:2]}
    return [f"{major}.{minor}" for major, minor in sorted(ends)]


@pytest.mark.parametrize("version", oldest_and_newest())
def test_every_module_runs_on_the_oldest_and_the_newest_python(
    wheel: Path, tmp_path: Path, version: str
) -> None:
    programs = install(interpreters()[version], wheel, tmp_path / "venv")
    done = run(programs / "python", "-W", "error::SyntaxWarning", "-c", EVERY_MODULE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(programs / "cudactl", "plan", "host", "--lock", "missing.lock", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "LOCK-MISSING" in done.stderr
    assert json.loads(run(programs / "cudactl", "gpu", "list", "--json", cwd=tmp_path).stdout)
