"""`cudactl stack` as a user calls it: output, files, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cudactl.stack.bundle.repository import Deb, SigningKey, write_deb, write_index
from tests.conftest import Cudactl

NAME = "nvidia-container-toolkit"
TOOLS = "libnvidia-container-tools"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mirror")
    key = SigningKey.create(folder / "k", "Mirror <m@example.invalid>")
    repository = folder / "ubuntu2404/x86_64"
    repository.mkdir(parents=True)
    debs = [
        Deb(name=NAME, version="1.19.0-1", depends=(f"{TOOLS} (= 1.19.0-1)", "libc6")),
        Deb(name=TOOLS, version="1.19.0-1"),
    ]
    write_index(repository, [write_deb(deb, repository) for deb in debs], key=key)
    (folder / "key.asc").write_text(key.public_key)
    return f"mirror: {{url: '{folder.as_uri()}', key: '{folder}/key.asc'}}\n"


@pytest.fixture
def folder(tmp_path: Path, mirror: str) -> Path:
    (tmp_path / "stack.yaml").write_text(
        f"os: ubuntu-24.04\ndriver: {{branch: none}}\ncontainer_toolkit: '1'\n{mirror}"
    )
    return tmp_path


def test_lock_show_and_why(cudactl: Cudactl, folder: Path) -> None:
    first = cudactl("stack", "lock", cwd=folder)
    assert first.returncode == 0, first.stderr
    assert "container_toolkit" in first.stdout
    assert "1.19.0" in first.stdout
    assert "written to stack.lock" in first.stderr
    document = json.loads((folder / "stack.lock").read_text())
    assert document["hash"][:12] in first.stdout
    again = cudactl("stack", "lock", cwd=folder)
    assert again.stdout == first.stdout
    assert "not touched" in again.stderr
    shown = cudactl("stack", "show", cwd=folder)
    assert TOOLS in shown.stdout
    assert "libc6" in shown.stdout
    why = cudactl("stack", "why", TOOLS, cwd=folder)
    assert f"{NAME} → {TOOLS}" in why.stdout
    assert "container_toolkit" in why.stdout


def test_json(cudactl: Cudactl, folder: Path) -> None:
    locked = json.loads(cudactl("stack", "lock", "-o", "x.lock", "--json", cwd=folder).stdout)
    assert locked["written"] is True
    assert locked["lock"]["resolved"] == {"container_toolkit": "1.19.0"}
    shown = json.loads(cudactl("stack", "show", "x.lock", "--json", cwd=folder).stdout)
    assert shown["hash"] == locked["hash"]
    why = json.loads(cudactl("stack", "why", TOOLS, "x.lock", "--json", cwd=folder).stdout)
    assert why["version"] == "1.19.0-1"


def test_locked(cudactl: Cudactl, folder: Path) -> None:
    assert cudactl("stack", "lock", "--locked", cwd=folder).returncode == 2
    assert cudactl("stack", "lock", cwd=folder).returncode == 0
    assert cudactl("stack", "lock", "--locked", cwd=folder).returncode == 0
    spec = folder / "stack.yaml"
    spec.write_text(spec.read_text().replace("'1'", "'1.19'"))
    stale = cudactl("stack", "lock", "--locked", cwd=folder)
    assert stale.returncode == 3
    assert "LOCK-NOT-CURRENT" in stale.stderr


@pytest.mark.parametrize(
    ("change", "arguments", "exit_code", "code"),
    [
        (("'1'", "1.19"), (), 2, "SPEC-WRONG-TYPE"),
        (("container_toolkit", "container_tool"), (), 2, "SPEC-UNKNOWN-KEY"),
        (("'1'", "'7'"), (), 3, "STACK-VERSION-NOT-IN-INDEX"),
        (("ubuntu-24.04", "debian-13"), (), 4, "INDEX-UNREACHABLE"),
        (("key.asc", "none.asc"), (), 2, "MIRROR-KEY-UNREADABLE"),
        (("x", "x"), ("nothing.yaml",), 2, "SPEC-MISSING"),
        (("x", "x"), ("-o", "none/x.lock"), 2, "LOCK-NOT-WRITTEN"),
        (("x", "x"), ("--allow", "STACK-DRIVER-TOO-OLD"), 2, "--reason"),
        (("x", "x"), ("--reason", "because"), 2, "--allow"),
        (("x", "x"), ("--allow", "NOPE", "--reason", "y"), 2, "STACK-NOT-ALLOWABLE"),
    ],
)
def test_each_mistake_has_its_exit_code(
    cudactl: Cudactl,
    folder: Path,
    change: tuple[str, str],
    arguments: tuple[str, ...],
    exit_code: int,
    code: str,
) -> None:
    spec = folder / "stack.yaml"
    spec.write_text(spec.read_text().replace(*change))
    done = cudactl("stack", "lock", *arguments, cwd=folder)
    assert done.returncode == exit_code, done.stderr
    assert code in done.stderr
    assert not list(folder.glob("*.lock"))


def test_an_error_is_json_too(cudactl: Cudactl, folder: Path) -> None:
    done = cudactl("stack", "show", "none.lock", "--json", cwd=folder)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "LOCK-MISSING"


def test_a_package_that_is_not_in_the_lock(cudactl: Cudactl, folder: Path) -> None:
    cudactl("stack", "lock", cwd=folder)
    done = cudactl("stack", "why", "nvidia-container-tools", cwd=folder)
    assert done.returncode == 2
    assert "did you mean" in done.stderr


def test_an_override_is_written_into_the_lock(cudactl: Cudactl, folder: Path) -> None:
    spec = folder / "stack.yaml"
    spec.write_text(spec.read_text() + "cuda: '12.4'\n")
    allow = ("--allow", "STACK-TOOLKIT-NOT-FOR-OS", "--reason", "our mirror has it")
    done = cudactl("stack", "lock", *allow, cwd=folder)
    assert done.returncode == 3
    assert "STACK-VERSION-NOT-IN-INDEX" in done.stderr, "it was let through to the index"
    spec.write_text(spec.read_text().replace("cuda: '12.4'\n", ""))
    done = cudactl("stack", "lock", *allow, cwd=folder)
    assert done.returncode == 0
    assert "was not needed" in done.stderr
    assert not json.loads((folder / "stack.lock").read_text())["lock"]["allowed"]


def test_a_target_that_is_none_is_refused(cudactl: Cudactl, tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text('os: ubuntu-24.04\ncuda: "13.0"\n')
    done = cudactl("stack", "lock", "--target", "ubuntu", cwd=tmp_path)
    assert done.returncode == 2
    assert "STACK-TARGET" in done.stderr
    done = cudactl("stack", "lock", "--target", "ubuntu-20.04", cwd=tmp_path)
    assert done.returncode == 3
    assert "ubuntu-20.04 is not supported" in done.stderr
    assert not (tmp_path / "stack.lock").exists()
