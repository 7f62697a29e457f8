"""`stack init` and `stack capture` as a user calls them: files, outputs, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from cudactl.cli.stack_begin import PURPOSES
from cudactl.stack.spec.initial import Purpose
from tests.conftest import Cudactl
from tests.recorded_host import NAME, RecordedHost

CUDA = {"cuda-cudart-13-0": "13.0.96-1", "libcublas-13-0": "13.1.0.3-1"}


def test_the_purposes_are_those_of_the_room() -> None:
    assert get_args(Purpose) == PURPOSES


# --- init -----------------------------------------------------------------------------------------


def test_init_writes_a_spec_that_stands(cudactl: Cudactl, tmp_path: Path) -> None:
    done = cudactl("stack", "init", "--gpu", "H200", "--purpose", "inference", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stack.yaml: ok" in done.stdout
    assert "assumed os: ubuntu-24.04" in done.stderr
    text = (tmp_path / "stack.yaml").read_text()
    assert text.startswith("# Begun by: cudactl stack init --gpu H200 --purpose inference\n")
    assert cudactl("stack", "check", "--strict", cwd=tmp_path).returncode == 0


def test_init_never_replaces_a_file_unasked(cudactl: Cudactl, tmp_path: Path) -> None:
    spec = tmp_path / "stack.yaml"
    spec.write_text("mine")
    done = cudactl("stack", "init", cwd=tmp_path)
    assert done.returncode == 2
    assert "FILE-EXISTS" in done.stderr
    assert spec.read_text() == "mine"
    assert cudactl("stack", "init", "--force", cwd=tmp_path).returncode == 0
    assert "os: ubuntu-24.04" in spec.read_text()
    again = cudactl("stack", "init", cwd=tmp_path)
    assert again.returncode == 0
    assert "says the same already" in again.stderr


def test_init_prints_on_request(cudactl: Cudactl, tmp_path: Path) -> None:
    done = cudactl("stack", "init", "-o", "-", "--os", "debian-12", "--wheels", cwd=tmp_path)
    assert done.returncode == 0
    assert "packages: wheels" in done.stdout
    assert not list(tmp_path.iterdir())


def test_init_as_json(cudactl: Cudactl, tmp_path: Path) -> None:
    done = cudactl("stack", "init", "--gpu", "H100 PCIe", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (document["file"], document["written"]) == ("stack.yaml", True)
    assert document["verdict"]["verdict"] == "ok"
    assert document["spec"]["os"] == "ubuntu-24.04"
    assert (tmp_path / "stack.yaml").read_text() == document["text"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("--gpu", "H2000"), 3, "STACK-GPU-UNKNOWN"),
        (("--os", "rocky-9.4"), 3, "STACK-OS-NOT-SUPPORTED"),
        (("--os", "Rocky Linux!"), 3, "STACK-OS-NOT-SUPPORTED"),
        (("--gpu", "K80", "--os", "ubuntu-24.04"), 3, "STACK-GPU-TOOLKIT"),
        (("--purpose", "gaming"), 2, "training"),
        (("--host", "local", "--os", "debian-12"), 2, "--host"),
        (("-i", "hosts.yml"), 2, "--host"),
        (("--host", "127.0.0.1:9"), 4, "HOST-"),
        (("-o", "none/stack.yaml"), 2, "FILE-NOT-WRITTEN"),
    ],
)
def test_each_mistake_of_init_has_its_exit_code(
    cudactl: Cudactl, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    done = cudactl("stack", "init", *arguments, cwd=tmp_path)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert code in done.stderr
    assert not list(tmp_path.iterdir())


def test_init_takes_a_hosts_distribution_and_gpus(cudactl: Cudactl, tmp_path: Path) -> None:
    host = RecordedHost(tmp_path / "host", "debian-12").gpu("2335")
    where = ("--host", NAME, "-i", host.inventory)
    done = cudactl("stack", "init", *where, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "stack.yaml").read_text()
    assert "os: debian-12" in text
    assert "- H200 SXM" in text
    host.gpu("ffff")
    done = cudactl("stack", "init", *where, "--force", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert any("10de:ffff" in note for note in document["notes"])
    assert "gpus" not in document["spec"]


def test_init_of_a_host_with_another_system_is_refused(cudactl: Cudactl, tmp_path: Path) -> None:
    host = RecordedHost(tmp_path / "host", "rocky-9.4")
    done = cudactl("stack", "init", "--host", NAME, "-i", host.inventory, cwd=tmp_path)
    assert done.returncode == 3
    assert "CAPTURE-UNSUPPORTED-OS" in done.stderr


# --- capture --------------------------------------------------------------------------------------


def test_capture_prints_the_spec_and_writes_nothing(cudactl: Cudactl, tmp_path: Path) -> None:
    host = RecordedHost(tmp_path / "host").packages(CUDA).file("/usr/local/lib/libnccl.so.2.28.9")
    folder = tmp_path / "here"
    folder.mkdir()
    done = cudactl("stack", "capture", NAME, "-i", host.inventory, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert 'cuda: "13.0.2"' in done.stdout
    assert "CAPTURE-FOREIGN" in done.stderr
    assert "/usr/local/lib/libnccl.so.2.28.9" in done.stderr
    assert not list(folder.iterdir())
    # What was printed is a spec.
    (folder / "stack.yaml").write_text(done.stdout)
    assert cudactl("stack", "check", cwd=folder).returncode == 0
    told = cudactl("stack", "capture", NAME, "-i", host.inventory, "--explain", cwd=folder)
    assert len(told.stderr) > len(done.stderr)


def test_capture_as_json(cudactl: Cudactl, tmp_path: Path) -> None:
    host = RecordedHost(tmp_path / "host").packages(CUDA)
    arguments = (NAME, "-i", host.inventory, "-o", "x.yaml", "--json")
    done = cudactl("stack", "capture", *arguments, cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["name"] == NAME
    assert document["spec"]["cuda"] == "13.0.2"
    assert document["written"] == ["x.yaml"]
    assert document["lock"] is None
    assert document["error"] is None
    assert (tmp_path / "x.yaml").read_text() == document["text"]


def test_capture_moves_no_cursor(cudactl: Cudactl, tmp_path: Path) -> None:
    host = RecordedHost(tmp_path / "host").packages(CUDA)
    host.file("/usr/local/lib/python3.12/dist-packages/torch-2\x1b[2J\r9.dist-info/RECORD")
    done = cudactl("stack", "capture", NAME, "-i", host.inventory, cwd=tmp_path)
    assert "torch-2" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("os", "packages", "arguments", "exit_code", "code"),
    [
        ("ubuntu-24.04", {}, (), 3, "CAPTURE-NOTHING"),
        ("rocky-9.4", CUDA, (), 3, "CAPTURE-UNSUPPORTED-OS"),
        ("ubuntu-24.04", CUDA, ("--image", "x"), 2, "--image"),
        ("ubuntu-24.04", CUDA, ("--mirror", "ftp://x"), 2, "--mirror"),
        ("ubuntu-24.04", CUDA, ("--mirror-key", "x"), 2, "--mirror URL"),
        ("ubuntu-24.04", CUDA, ("-o", "none/x.yaml"), 2, "FILE-NOT-WRITTEN"),
        ("ubuntu-24.04", CUDA, ("--lock", "x.lock", "--mirror", "file:///none"), 4, "INDEX-"),
    ],
)
def test_each_mistake_of_capture_has_its_exit_code(
    cudactl: Cudactl,
    tmp_path: Path,
    os: str,
    packages: dict[str, str],
    arguments: tuple[str, ...],
    exit_code: int,
    code: str,
) -> None:
    host = RecordedHost(tmp_path / "host", os).packages(packages)
    done = cudactl("stack", "capture", NAME, "-i", host.inventory, *arguments, cwd=tmp_path)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert code in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["host"]


def test_capture_of_several_hosts_is_a_wrong_call(cudactl: Cudactl, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: {}, b: {}}}\n")
    done = cudactl("stack", "capture", "all", "-i", "hosts.yml", cwd=tmp_path)
    assert done.returncode == 2
    assert "TARGET-SEVERAL" in done.stderr
    # Without a name, -i would mean all of it too.
    assert cudactl("stack", "capture", "-i", "hosts.yml", cwd=tmp_path).returncode == 2
