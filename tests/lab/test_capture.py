"""Capturing real hosts and images: what was provisioned is what is captured, package by package."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from cudactl.contracts.lock import StackLock
from cudactl.lab import hosts
from cudactl.lab.hosts import HostRequest, Lab, LabHost
from cudactl.lab.layout import MirrorState
from cudactl.reach.image_tree import LABEL
from cudactl.stack.lock.file import read_lock
from tests.conftest import Cudactl

pytestmark = pytest.mark.lab
NAME = "t-capture"
SPEC = """\
os: debian-12
driver: {{branch: "580.95.05"}}
cuda: "13.0.0"
cudnn: "9.13"
nccl: "2.27"
container_toolkit: "1.19"
mirror: {{url: "{url}", key: "{key}"}}
"""
Capture = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Iterator[LabHost]:
    """A host of this file's own, as it comes."""
    yield hosts.up([HostRequest("debian-12", NAME)], say=print).host(NAME)
    hosts.down([NAME])


@pytest.fixture(scope="module")
def captured_bare(bare: LabHost, lab: Lab, cudactl: Cudactl) -> tuple[int, str]:
    done = cudactl("stack", "capture", bare.name, "-i", lab.inventory)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def lock(
    bare: LabHost,
    captured_bare: tuple[int, str],
    lab: Lab,
    mirror: MirrorState,
    cudactl: Cudactl,
    tmp_path_factory: pytest.TempPathFactory,
) -> StackLock:
    """The lock that the host was provisioned from; not the newest of anything."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "stack.yaml").write_text(SPEC.format(url=mirror.url, key=mirror.key_file))
    assert cudactl("stack", "lock", cwd=folder).returncode == 0
    done = cudactl("provision", "host", bare.name, "-i", lab.inventory, "--yes", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return read_lock(folder / "stack.lock")


@pytest.fixture
def capture(bare: LabHost, lab: Lab, lock: StackLock, cudactl: Cudactl, tmp_path: Path) -> Capture:
    """Capture the provisioned host into this test's folder."""

    def run(*arguments: str) -> dict[str, Any]:
        where = arguments or (bare.name, "-i", str(lab.inventory))
        done = cudactl(
            *(
                "stack",
                "capture",
                *where,
                "-o",
                "stack.yaml",
                "--lock",
                "stack.lock",
                "--force",
                "--json",
            ),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    return run


def codes(document: dict[str, Any]) -> set[str]:
    return {remark["code"] for remark in document["remarks"]}


def test_a_bare_host_is_refused_with_what_was_looked_at(captured_bare: tuple[int, str]) -> None:
    code, said = captured_bare
    assert code == 3
    assert "CAPTURE-NOTHING" in said
    assert "installed packages" in said


def test_the_captured_lock_is_the_lock_of_the_host(
    capture: Capture, lock: StackLock, tmp_path: Path
) -> None:
    document = capture()
    captured = read_lock(tmp_path / "stack.lock")
    assert captured.hash == lock.hash == document["hash"]
    assert [p.model_dump(exclude={"why"}) for p in captured.packages] == [
        p.model_dump(exclude={"why"}) for p in lock.packages
    ]
    assert captured.resolved == lock.resolved
    assert document["spec"]["driver"] == {"branch": "580.95.05", "flavour": "open"}
    assert not codes(document)


def test_the_captured_spec_locks_to_the_same_and_leaves_nothing_to_do(
    capture: Capture, bare: LabHost, lab: Lab, lock: StackLock, cudactl: Cudactl, tmp_path: Path
) -> None:
    capture()
    assert cudactl("stack", "lock", "--locked", cwd=tmp_path).returncode == 0
    again = cudactl("stack", "lock", "-o", "again.lock", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert read_lock(tmp_path / "again.lock").hash == lock.hash
    done = cudactl("plan", "host", bare.name, "-i", lab.inventory, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)[0]["plan"]["steps"] == []


def test_a_foreign_file_is_listed_and_not_locked(
    capture: Capture, bare: LabHost, lock: StackLock
) -> None:
    copied = "/usr/local/lib/libcudnn.so.9.1.0"
    home = "/usr/local/cuda-12.4"
    runtime = f"{home}/targets/x86_64-linux/lib"
    bare.exec(["sh", "-c", f"mkdir -p {runtime} && touch {copied} {runtime}/libcudart.so.12.4.127"])
    try:
        document = capture()
        foreign = next(r for r in document["remarks"] if r["code"] == "CAPTURE-FOREIGN")
        assert foreign["items"] == [f"{home} (toolkit 12.4)", f"{copied} (library 9.1.0)"]
        assert document["spec"]["cuda"] == "13.0.0"
        assert document["hash"] == lock.hash
    finally:
        bare.exec(["rm", "-rf", copied, home])
    assert not codes(capture())


def test_a_package_that_was_moved_alone_is_told(
    capture: Capture, bare: LabHost, lock: StackLock
) -> None:
    name = "libcublas-13-0"
    was = next(p.version for p in lock.packages if p.name == name)
    newer = "13.1.0.3-1"
    pins = "/etc/apt/preferences.d/cudactl-lock.pref"
    move = "apt-get -qq install -y --allow-change-held-packages --allow-downgrades"
    bare.exec(["sh", "-c", f"mv {pins} /root/ && {move} {name}={newer}"])
    try:
        document = capture()
        remarks = {remark["code"]: remark for remark in document["remarks"]}
        assert remarks["CAPTURE-MIXED"]["items"] == [f"{name} {newer}"]
        assert remarks["CAPTURE-OTHERWISE"]["items"] == [f"~ {name} {newer} → {was}"]
        locked = {p["name"]: p["version"] for p in document["lock"]["packages"]}
        assert locked[name] == newer
        assert document["spec"]["cuda"] == "13.0.0"
    finally:
        bare.exec(["sh", "-c", f"{move} {name}={was} && mv /root/cudactl-lock.pref {pins}"])
        bare.exec(["apt-mark", "hold", name])
    assert not codes(capture())


def test_an_image_of_the_host_gives_the_same_lock_and_is_never_run(
    capture: Capture, bare: LabHost, lock: StackLock, tmp_path: Path
) -> None:
    client = docker.from_env()
    reference = "cudactl-lab/t-captured:latest"
    client.containers.get(bare.container).commit(reference.partition(":")[0], "latest")
    try:
        begun = int(time.time())
        document = capture("--image", reference)
        until = int(time.time()) + 1
        seen = client.events(since=begun, until=until, filters={"label": LABEL}, decode=True)
        actions = {event["Action"] for event in seen}
        assert document["name"] == reference
        assert document["hash"] == lock.hash
        # In an image nothing is running, so nothing else is said of it than of the host.
        assert not codes(document)
        assert {"create", "destroy"} <= actions
        assert "start" not in actions
        assert client.containers.list(all=True, filters={"label": LABEL}) == []
    finally:
        client.images.remove(reference)
        client.close()


def test_a_host_that_does_not_answer_has_its_reason(
    cudactl: Cudactl, lab: Lab, tmp_path: Path
) -> None:
    done = cudactl("stack", "capture", "127.0.0.1:9", "--lock", "x.lock", cwd=tmp_path)
    assert done.returncode == 4
    assert "what to do" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_first_spec_for_a_host_names_its_distribution(
    cudactl: Cudactl, lab: Lab, bare: LabHost, tmp_path: Path
) -> None:
    done = cudactl(
        "stack", "init", "--host", bare.name, "-i", lab.inventory, "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["spec"]["os"], document["spec"]["arch"]) == ("debian-12", "x86_64")
    assert any("no NVIDIA GPU" in text for text in document["notes"])
    assert cudactl("stack", "check", cwd=tmp_path).returncode == 0
