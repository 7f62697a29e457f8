"""An exported image: what the probe needs comes out, and nothing else gets anywhere."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.reach import image_tree
from cudactl.reach.image_tree import LABEL, extract, image_state

TARGET = "usr/local/cuda-13.0/targets/x86_64-linux/lib"


class Tar:
    """A tar archive in the making."""

    def __init__(self) -> None:
        self.sink = io.BytesIO()
        self.tar = tarfile.TarFile(fileobj=self.sink, mode="w")

    def file(self, name: str, content: bytes = b"x") -> Tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self.tar.addfile(member, io.BytesIO(content))
        return self

    def special(self, name: str, kind: bytes, target: str = "") -> Tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        self.tar.addfile(member)
        return self

    def pieces(self, size: int = 1000) -> Iterator[bytes]:
        self.tar.close()
        data = self.sink.getvalue()
        return (data[at : at + size] for at in range(0, len(data), size))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "outside" / "tree"
    folder.mkdir(parents=True)
    return folder


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_text()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_texts_come_whole_libraries_as_names_and_the_rest_not_at_all(tree: Path) -> None:
    tar = Tar().file("etc/os-release", b"ID=debian").file("./var/lib/dpkg/status", b"Package: x")
    tar.file("var/lib/dpkg/info/x.list", b"/etc/x").file("var/lib/dpkg/info/x.postinst")
    tar.file(f"{TARGET}/libcudart.so.13.0.96", b"a large library").file("etc/shadow")
    tar.special("usr/local/cuda", tarfile.SYMTYPE, "/etc/alternatives/cuda")
    tar.special(f"{TARGET}/libcudart.so.13", tarfile.SYMTYPE, "libcudart.so.13.0.96")
    tar.special("usr/lib/libcuda.so.1", tarfile.LNKTYPE, "usr/lib/libcuda.so.580")
    extract(tar.pieces(), tree)
    assert files(tree) == {
        "etc/os-release": "ID=debian",
        "var/lib/dpkg/status": "Package: x",
        "var/lib/dpkg/info/x.list": "/etc/x",
        f"{TARGET}/libcudart.so.13.0.96": "",
        "usr/local/cuda": "/etc/alternatives/cuda",
        "usr/lib/libcuda.so.1": "",
    }


@pytest.mark.parametrize(
    "name",
    [
        "/etc/os-release",
        "../etc/os-release",
        "etc/../../etc/os-release",
        "../../outside/tree/../etc/os-release",
        "..",
        "",
        "/",
    ],
)
def test_no_name_leads_out(tree: Path, tmp_path: Path, name: str) -> None:
    extract(Tar().file(name).pieces(), tree)
    assert files(tmp_path) == {}


def test_nothing_is_written_through_a_link(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "version.json").write_text("mine")
    tar = Tar().special("usr/local/cuda", tarfile.SYMTYPE, str(outside))
    tar.file("usr/local/cuda/version.json", b"theirs").file("usr/local/cuda/bin/nvcc")
    # The same in the other order: a file first, then a link in its place.
    tar.file("usr/local/cuda-1.0/version.json", b"a")
    tar.special("usr/local/cuda-1.0", tarfile.SYMTYPE, str(outside))
    tar.file("usr/local/cuda-1.0/version.json", b"b")
    # A link that is a file later.
    tar.special("opt/cudactl/active", tarfile.SYMTYPE, str(outside / "version.json"))
    extract(tar.pieces(), tree)
    assert files(outside) == {"version.json": "mine"}
    assert files(tree)["usr/local/cuda-1.0/version.json"] == "b"


@pytest.mark.parametrize(
    "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]
)
def test_only_a_real_file_is_a_text(tree: Path, kind: bytes) -> None:
    extract(Tar().special("etc/os-release", kind, "/etc/passwd").pieces(), tree)
    assert files(tree) == {}


def test_a_name_that_this_machine_cannot_have_is_passed_over(tree: Path) -> None:
    long = "l" * 300
    tar = Tar().file(f"usr/lib/libcuda{long}.so.1").file("usr/local/cuda\x01/version.json", b"y")
    tar.file("etc/os-release", b"ID=debian")
    extract(tar.pieces(), tree)
    assert files(tree)["etc/os-release"] == "ID=debian"


def test_what_is_too_large_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tree, "LARGEST_TEXT", 100)
    with pytest.raises(CudactlError) as caught:
        extract(Tar().file("var/lib/dpkg/status", b"x" * 101).pieces(), tree)
    assert caught.value.code == "IMAGE-TOO-LARGE"
    monkeypatch.setattr(image_tree, "LARGEST_SUM", 150)
    tar = Tar().file("var/lib/dpkg/status", b"x" * 90).file("etc/os-release", b"x" * 90)
    with pytest.raises(CudactlError) as caught:
        extract(tar.pieces(), tree)
    assert caught.value.code == "IMAGE-TOO-LARGE"


@pytest.mark.parametrize("keep", [100, 700])
def test_a_stream_that_ends_early_is_said_so(tree: Path, keep: int) -> None:
    data = b"".join(Tar().file("var/lib/dpkg/status", b"x" * 5000).pieces())[:keep]
    with pytest.raises(CudactlError) as caught:
        extract(iter([data]), tree)
    assert caught.value.code == "IMAGE-CUT-OFF"
    assert caught.value.exit_code == Exit.UNMEASURED


def test_without_an_engine_that_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(CudactlError) as caught:
        image_state("debian:12")
    assert caught.value.code == "IMAGE-NO-ENGINE"
    assert "/nowhere/docker.sock" in caught.value.found


# --- with a Docker Engine -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with_engine = docker.from_env()
    yield with_engine
    with_engine.close()


def imported(client: docker.DockerClient, tar: Tar, name: str) -> str:
    client.api.import_image_from_data(b"".join(tar.pieces()), repository=name, tag="t")
    return f"{name}:t"


@pytest.mark.lab
def test_an_image_without_dpkg_is_refused_and_leaves_nothing(client: docker.DockerClient) -> None:
    name = imported(client, Tar().file("etc/os-release", b"ID=alpine"), "cudactl-test/no-dpkg")
    try:
        with pytest.raises(CudactlError) as caught:
            image_state(name)
        assert caught.value.code == "IMAGE-NO-DPKG"
        assert client.containers.list(all=True, filters={"label": LABEL}) == []
    finally:
        client.images.remove(name)


@pytest.mark.lab
def test_an_image_that_is_not_here_is_not_fetched(client: docker.DockerClient) -> None:
    with pytest.raises(CudactlError) as caught:
        image_state("cudactl-test/never-made:0")
    assert (caught.value.code, caught.value.exit_code) == ("IMAGE-MISSING", Exit.USAGE)
    assert "docker pull" in caught.value.remedy
