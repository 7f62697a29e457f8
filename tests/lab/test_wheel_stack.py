"""Real NVIDIA wheels on a host: nvcc compiles and links, and whatever is altered is found out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cudactl.lab import hosts
from cudactl.lab.hosts import HostRequest, Lab, LabHost
from cudactl.stack.lock.file import read_lock
from tests.lab.running import cudactl, installed, plan_of, provision

pytestmark = [pytest.mark.lab, pytest.mark.wheels]
SPEC = 'os: debian-12\npackages: wheels\ndriver: {branch: none}\ncuda: "13.0"\ncudnn: "9"\n'


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CUDA and cuDNN, from the package index."""
    folder = tmp_path_factory.mktemp("wheels")
    (folder / "stack.yaml").write_text(SPEC)
    cudactl("stack", "lock", str(folder / "stack.yaml"), check=0)
    return folder / "stack.lock"


@pytest.fixture(scope="module")
def host(lab: Lab, lock: Path) -> Iterator[LabHost]:
    """A host that carries the lock; a half-unpacked stack of a broken run was there before."""
    host = hosts.up([HostRequest("debian-12", "t-wheels")], say=print).host("t-wheels")
    half = f"/opt/cudactl/stacks/{read_lock(lock).short_hash}.unpacking/site"
    host.exec(["mkdir", "-p", half])
    host.exec(["touch", f"{half}/libcudart.so.13"])
    before = installed(host)
    provision(host, lab, lock, check=0)
    assert installed(host) == before, "no package was touched"
    yield host
    hosts.down(["t-wheels"])


@pytest.fixture
def folder(lock: Path) -> str:
    return f"/opt/cudactl/stacks/{read_lock(lock).short_hash}"


def certificate(host: LabHost, lab: Lab, lock: Path, check: int) -> dict[str, Any]:
    way = [host.name, "-i", str(lab.inventory), "--lock", str(lock), "--json"]
    (row,) = json.loads(cudactl("certify", "host", *way, check=check).stdout)
    found: dict[str, Any] = row["certificate"]
    return found


def test_real_libraries_load_compile_and_link_and_no_more_is_claimed(
    host: LabHost, lab: Lab, lock: Path
) -> None:
    made = certificate(host, lab, lock, 0)
    assert (made["verdict"], made["level"]) == ("PASS", "linkage")
    assert "no GPU was" in made["level_reason"]
    verdicts = {v["check"]: v["status"] for v in made["verdicts"]}
    for check in ("nvcc.link", "toolkit.cublas", "cudnn.sublibraries", "stack.libraries"):
        assert verdicts[check] == "PASS"
    assert not any(library["simulated"] for library in made["libraries"])
    assert all(library["intact"] for library in made["libraries"])


def test_the_stack_is_whole_and_nothing_of_the_way_is_left(host: LabHost, folder: str) -> None:
    assert host.exec(["ls", "/opt/cudactl/stacks"]).split() == [folder.rsplit("/", 1)[1]]
    assert json.loads(host.exec(["cat", f"{folder}/manifest.json"]))["complete"]


def test_a_shell_that_activates_it_compiles(host: LabHost, folder: str) -> None:
    said = host.exec(["bash", "-c", f". {folder}/activate && nvcc --version"], user="ops")
    assert "release 13.0" in said


def test_again_there_is_nothing_to_do(host: LabHost, lab: Lab, lock: Path) -> None:
    assert not plan_of(host, lab, lock)["plan"]["steps"]


def test_one_altered_byte_in_a_library_is_found_out(
    host: LabHost, lab: Lab, lock: Path, folder: str
) -> None:
    library = f"{folder}/site/nvidia/cu13/lib/libnvrtc.so.13"
    host.exec(["cp", "--preserve", library, "/root/kept"])
    host.exec(["sh", "-c", f"printf x >> {library}"])
    try:
        made = certificate(host, lab, lock, 3)
    finally:
        host.exec(["cp", "--preserve", "/root/kept", library])
    failed = {v["check"]: v["reason"] for v in made["verdicts"] if v["status"] == "FAIL"}
    assert set(failed) == {"stack.libraries"}
    assert "libnvrtc" in failed["stack.libraries"]
    assert made["level"] == "none"


def test_an_unfinished_stack_would_be_done_again(
    host: LabHost, lab: Lab, lock: Path, folder: str
) -> None:
    host.exec(["mv", f"{folder}/manifest.json", "/root/manifest"])
    try:
        (step,) = plan_of(host, lab, lock)["plan"]["steps"]
    finally:
        host.exec(["mv", "/root/manifest", f"{folder}/manifest.json"])
    assert (step["role"], "unfinished" in step["reason"]) == ("wheel_stack", True)
