"""Wheels are chosen for one interpreter and platform, exactly, and fetched whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.lock import LockedPackage, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.index.wheel_files import fetch_wheels
from cudactl.stack.index.wheel_source import configured_index
from cudactl.stack.index.wheels import WheelTarget, WheelWish, wheel_closure
from cudactl.stack.lock.file import render_lock
from cudactl.stack.lock.locking import lock_stack

TARGET = WheelTarget("cp311", (2, 36), "x86_64")
ANY = "py3-none-any"
LINUX = "py3-none-manylinux_2_27_x86_64"


class Index:
    """A Simple index in a folder, with METADATA beside the wheels."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url, self.cache = folder, "", folder.parent / "cache"
        self.links: dict[str, list[str]] = {}

    def wheel(self, project: str, version: str, tag: str = LINUX, *needs: str, **more: str) -> Path:
        stem = f"{project.replace('-', '_')}-{version}"
        folder = self.folder / project
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{stem}-{tag}.whl"
        text = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        text += "".join(f"Requires-Dist: {need}\n" for need in needs)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{stem}.dist-info/METADATA", text)
            archive.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        path.with_name(path.name + ".metadata").write_text(text)
        self._link(project, path, **more)
        return path

    def source(self, project: str, version: str) -> None:
        path = self.folder / project / f"{project}-{version}.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a placeholder")
        self._link(project, path)

    def _link(self, project: str, path: Path, digest: str = "", attributes: str = "") -> None:
        digest = digest or hashlib.sha256(path.read_bytes()).hexdigest()
        attributes = attributes or 'data-core-metadata="true"'
        self.links.setdefault(project, []).append(
            f'<a href="{path.name}#sha256={digest}" {attributes}>{path.name}</a>'
        )
        body = "\n".join(self.links[project])
        (path.parent / "index.html").write_text(f"<!DOCTYPE html><body>{body}</body>")

    def close(
        self, *wishes: tuple[str, str], target: WheelTarget = TARGET
    ) -> dict[str, LockedPackage]:
        asked = [WheelWish(project, prefix, "cuda", "asked for") for project, prefix in wishes]
        return {p.name: p for p in wheel_closure(asked, target, self.url, self.cache)}

    def refused(self, *wishes: tuple[str, str], target: WheelTarget = TARGET) -> CudactlError:
        with pytest.raises(CudactlError) as error:
            self.close(*wishes, target=target)
        assert error.value.expected
        assert error.value.remedy
        return error.value

    def lock(self, **wishes: Any) -> StackLock:
        spec = {"os": "debian-12", "packages": "wheels", "mirror": {"url": self.url}, **wishes}
        return lock_stack(StackSpec.model_validate(spec), cache=self.cache)[0]


class Door(SimpleHTTPRequestHandler):
    """Serves a folder, to those who know the password when there is one."""

    password = ""

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        if self.password and given != f"Basic {base64.b64encode(self.password.encode()).decode()}":
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "simple")
    made.folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Door, directory=str(made.folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/"
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def toolkit(index: Index) -> Index:
    """The parts of CUDA 13.0.3 and a cuDNN, as empty wheels."""
    for part in load_catalogue().components_of("13.0.3"):
        index.wheel(part.wheel, part.version)
    index.wheel("nvidia-cudnn-cu13", "9.13.0.50", LINUX, "nvidia-cublas")
    index.wheel("nvidia-cudnn-cu13", "9.20.0.48", LINUX, "nvidia-cublas")
    return index


def test_the_newest_wheel_of_a_prefix_that_fits_is_taken(index: Index) -> None:
    index.wheel("lib", "9.1.0")
    index.wheel("lib", "9.2.0")
    index.wheel("lib", "9.10.0", "py3-none-manylinux_2_39_x86_64")
    index.wheel("lib", "9.11.0", "py3-none-manylinux_2_27_aarch64")
    index.wheel("lib", "9.12.0rc1")
    index.wheel("lib", "9.13.0", LINUX, attributes='data-yanked="broken"')
    index.wheel("lib", "90.0.0")
    chosen = index.close(("lib", "9"))["lib"]
    assert chosen.version == "9.2.0"
    assert chosen.arch == "manylinux_2_27_x86_64"
    assert chosen.size == (index.folder / "lib" / chosen.filename).stat().st_size
    arm = WheelTarget("cp312", (2, 39), "aarch64")
    assert index.close(("lib", "9"), target=arm)["lib"].version == "9.11.0"
    newer = WheelTarget("cp312", (2, 39), "x86_64")
    assert index.close(("lib", "9"), target=newer)["lib"].version == "9.10.0"


def test_a_compiled_wheel_is_taken_for_the_targets_python(index: Index) -> None:
    for python in ("cp310", "cp311", "cp312"):
        index.wheel("bindings", "1.0", f"{python}-none-manylinux_2_27_x86_64")
    assert "cp311" in index.close(("bindings", "1"))["bindings"].filename
    assert index.refused(("bindings", "2")).code == "WHEEL-NOT-THERE"


def test_requirements_are_followed_for_the_target(index: Index) -> None:
    index.wheel("a", "1", LINUX, "b>=1", "c; sys_platform == 'win32'", "d; extra == 'all'")
    index.wheel("b", "1.5", ANY, 'e; python_version < "3.12"')
    index.wheel("e", "2.0", ANY)
    found = index.close(("a", "1"))
    assert sorted(found) == ["a", "b", "e"]
    assert found["a"].requires == ["b"]
    assert [p.name for p in found.values() if p.top_level] == ["a"]
    assert "a 1 requires it" in found["b"].why


def test_requirements_that_exclude_each_other(index: Index) -> None:
    index.wheel("a", "1", LINUX, "b<2")
    index.wheel("b", "2.0")
    error = index.refused(("a", "1"), ("b", "2"))
    assert error.code == "WHEEL-CONFLICT"
    assert "b<2" in error.found


def test_a_source_archive_is_no_wheel(index: Index) -> None:
    index.source("tensorrt-cu13-libs", "10.13.3.9")
    error = index.refused(("tensorrt-cu13-libs", "10"))
    assert error.code == "WHEEL-SOURCE-ONLY"
    assert "source archive" in error.found
    assert error.exit_code is Exit.FAIL


def test_what_the_index_does_not_have(index: Index) -> None:
    index.wheel("lib", "9.1.0")
    assert index.refused(("nothing", "")).code == "WHEEL-NOT-THERE"
    error = index.refused(("lib", "8"))
    assert error.code == "WHEEL-NOT-THERE"
    assert "9.1.0" in error.expected


def test_metadata_is_read_once(index: Index) -> None:
    path = index.wheel("a", "1", LINUX, "b")
    index.wheel("b", "1")
    first = index.close(("a", "1"))
    path.with_name(path.name + ".metadata").unlink()
    assert index.close(("a", "1")) == first


def test_metadata_that_was_altered_is_not_believed(index: Index) -> None:
    index.wheel("a", "1", attributes=f'data-core-metadata="sha256={"0" * 64}"')
    assert index.refused(("a", "1")).code == "WHEEL-METADATA"


def test_metadata_that_cannot_be_had_without_the_whole_wheel(index: Index) -> None:
    index.wheel("a", "1", attributes="data-x")  # and this server answers no range requests
    assert index.refused(("a", "1")).code == "WHEEL-METADATA"


def test_a_stack_is_pinned_to_one_release(toolkit: Index) -> None:
    lock = toolkit.lock(cuda="13.0", cudnn="9.13")
    assert lock.resolved == {"cuda": "13.0.3", "cudnn": "9.13.0.50"}
    assert lock.target.python == "cp311"
    assert {p.name: p.version for p in lock.packages}["nvidia-cublas"] == "13.1.1.3"
    assert not lock.sources[0].vendor
    assert render_lock(lock) == render_lock(toolkit.lock(cuda="13.0", cudnn="9.13"))


def test_tensorrt_is_refused_where_only_placeholders_are(toolkit: Index) -> None:
    toolkit.source("tensorrt-cu13-libs", "10.13.3.9")
    with pytest.raises(CudactlError) as error:
        toolkit.lock(cuda="13.0", tensorrt="10.13")
    assert error.value.code == "WHEEL-SOURCE-ONLY"


def test_wheels_are_fetched_once_and_verified(toolkit: Index, tmp_path: Path) -> None:
    lock = toolkit.lock(cuda="13.0")
    said: list[str] = []
    files = fetch_wheels(lock, tmp_path / "wheels", said.append)
    assert len(files) == len(lock.packages) == len(said)
    for package in lock.packages:
        data = files[package.filename].read_bytes()
        assert hashlib.sha256(data).hexdigest() == package.sha256
    for path in toolkit.folder.rglob("*.whl"):
        path.unlink()
    assert fetch_wheels(lock, tmp_path / "wheels", said.append) == files


def broken(index: Index, package: LockedPackage) -> None:
    path = index.folder / package.name / package.filename
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def gone(index: Index, package: LockedPackage) -> None:
    (index.folder / package.name / package.filename).unlink()


def unlisted(index: Index, package: LockedPackage) -> None:
    (index.folder / package.name / "index.html").write_text("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("damage", "code"),
    [(broken, "WHEEL-HASH"), (gone, "INDEX-UNREACHABLE"), (unlisted, "WHEEL-GONE")],
)
def test_nothing_half_is_left_behind(
    toolkit: Index,
    tmp_path: Path,
    damage: Callable[[Index, LockedPackage], None],
    code: str,
) -> None:
    lock = toolkit.lock(cuda="13.0")
    package = lock.packages[0]
    damage(toolkit, package)
    cache = tmp_path / "wheels"
    with pytest.raises(CudactlError) as error:
        fetch_wheels(lock, cache, print)
    assert error.value.code == code
    assert error.value.remedy
    assert not [p.name for p in cache.iterdir() if package.filename in p.name]


def test_a_full_disk(toolkit: Index, tmp_path: Path) -> None:
    lock = toolkit.lock(cuda="13.0")
    cache = tmp_path / "wheels"
    cache.mkdir()
    (cache / f".{lock.packages[0].filename}.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(CudactlError) as error:
        fetch_wheels(lock, cache, print)
    assert error.value.code == "CACHE-WRITE"
    assert "No space left" in error.value.found


def test_nobody_answers(toolkit: Index) -> None:
    wrong = toolkit.url.replace("127.0.0.1", "nobody.invalid")
    with pytest.raises(CudactlError) as error:
        toolkit.lock(cuda="13.0", mirror={"url": wrong})
    assert error.value.code == "INDEX-UNREACHABLE"
    assert error.value.exit_code is Exit.UNMEASURED


def test_a_password_is_used_and_never_written(
    toolkit: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Door, "password", "me:secret")
    monkeypatch.setenv("CUDACTL_WHEEL_INDEX", toolkit.url.replace("//", "//me:secret@"))
    lock = toolkit.lock(cuda="13.0", mirror=None)
    assert b"secret" not in render_lock(lock)
    assert lock.sources[0].url == toolkit.url
    assert fetch_wheels(lock, tmp_path / "wheels", print)
    monkeypatch.delenv("CUDACTL_WHEEL_INDEX")
    named = toolkit.lock(cuda="13.0", mirror={"url": toolkit.url.replace("//", "//me:secret@")})
    assert b"secret" not in render_lock(named), "a spec's address is in the lock, without it"
    monkeypatch.setenv("CUDACTL_WHEEL_INDEX", toolkit.url.replace("//", "//me:wrong@"))
    with pytest.raises(CudactlError) as error:
        toolkit.lock(cuda="13.0", mirror=None)
    assert error.value.code == "INDEX-UNREACHABLE"
    assert "wrong" not in error.value.found


def test_pips_configuration_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "CUDACTL_WHEEL_INDEX", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://pip.example.invalid/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert configured_index() == "https://pip.example.invalid/simple/"
    config.write_text("not a configuration file")
    assert configured_index().endswith("/")
    monkeypatch.setenv("PIP_INDEX_URL", "https://env.example.invalid/simple/")
    assert configured_index() == "https://env.example.invalid/simple/"
    monkeypatch.setenv("CUDACTL_WHEEL_INDEX", "https://own.example.invalid")
    assert configured_index() == "https://own.example.invalid/"


@pytest.mark.wheels
@pytest.mark.parametrize(("os_name", "python"), [("debian-12", "cp311"), ("ubuntu-24.04", "cp312")])
def test_a_real_stack_is_locked_without_downloading_a_library(
    tmp_path: Path, os_name: str, python: str
) -> None:
    spec = StackSpec.model_validate(
        {
            "os": os_name,
            "packages": "wheels",
            "cuda": "13.0",
            "cudnn": "9.13",
            "nccl": "2.28",
            "tensorrt_rtx": "1.7.1.116",
        }
    )
    lock, notes = lock_stack(spec, cache=tmp_path)
    assert lock.resolved["cudnn"] == "9.13.1.26"
    assert lock.resolved["tensorrt_rtx"] == "1.7.1.116"
    sizes = {p.name: p.size for p in lock.packages}
    assert sizes["nvidia-cublas"] > 100e6
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) < 1e6
    bindings = lock.package("tensorrt-rtx-cu13-bindings")
    assert bindings is not None
    assert python in bindings.filename
    assert any("no driver" in note for note in notes)


@pytest.mark.wheels
def test_real_tensorrt_is_refused_as_a_placeholder(tmp_path: Path) -> None:
    spec = {"os": "debian-12", "packages": "wheels", "cuda": "13.0", "tensorrt": "10.13"}
    with pytest.raises(CudactlError) as error:
        lock_stack(StackSpec.model_validate(spec), cache=tmp_path)
    assert error.value.code == "WHEEL-SOURCE-ONLY"
