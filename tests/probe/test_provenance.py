"""What was really loaded: read back from the process, traced to its owner, altered or not."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cudactl.probe import loading, provenance
from tests.probe.conftest import Compile, Probe, wanted

CUDART = """
int cudaRuntimeGetVersion(int *v) { *v = 13000; return 0; }
int cudaGetDeviceCount(int *n) { return 100; }
"""


def measured(probe: Probe, libraries: dict[str, object]) -> list[dict[str, Any]]:
    document = probe("measure", request={"legs": {"toolkit": {"libraries": libraries}}})
    (leg,) = document["legs"]
    found: list[dict[str, Any]] = leg["libraries"]
    return found


def libc() -> str:
    """The real C library of this machine, which a package owns."""
    return os.path.realpath(loading.by_loader("libc.so.6") or "")


# --- what is mapped -----------------------------------------------------------------------------


def test_a_dependency_that_came_from_elsewhere_is_found(
    probe: Probe, compile_library: Compile
) -> None:
    """Asked for was one library by path; what its RUNPATH pulled in is named with its own path."""
    stray = compile_library("libcublasLt.so.13", "int stray(void) { return 1; }")
    cudart = compile_library(
        "libcudart.so.13",
        "int stray(void);\nint use(void) { return stray(); }\n" + CUDART,
        None,
        f"-Wl,-rpath,{stray.parent}",
        f"-L{stray.parent}",
        "-l:libcublasLt.so.13",
    )
    found = {x["path"]: x for x in measured(probe, {"cudart": wanted(cudart)})}
    assert set(found) == {str(cudart), str(stray)}
    assert found[str(stray)]["sha256"] == hashlib.sha256(stray.read_bytes()).hexdigest()
    assert found[str(stray)]["size"] == stray.stat().st_size


def test_a_link_is_told_by_the_file_behind_it(
    probe: Probe, compile_library: Compile, tmp_path: Path
) -> None:
    real = compile_library("libcudart.so.13", CUDART)
    real = real.rename(real.with_name("libcudart.so.13.0.96"))
    (tmp_path / "libcudart.so.13").symlink_to(real)
    (found,) = measured(probe, {"cudart": wanted(tmp_path / "libcudart.so.13")})
    assert found["path"] == str(real)


def test_the_first_folder_that_has_it_wins(
    probe: Probe, compile_library: Compile, tmp_path: Path
) -> None:
    first, second = (compile_library("libcudart.so.13", CUDART) for _ in range(2))
    folders = [str(tmp_path), str(first.parent), str(second.parent)]
    (found,) = measured(probe, {"cudart": {"soname": "libcudart.so.13", "folders": folders}})
    assert found["path"] == str(first)


def test_libraries_that_are_not_the_vendors_are_left_out(
    probe: Probe, compile_library: Compile
) -> None:
    cudart = compile_library("libcudart.so.13", CUDART)
    assert [x["path"] for x in measured(probe, {"cudart": wanted(cudart)})] == [str(cudart)]


# --- where the loader would look ----------------------------------------------------------------


def test_the_loaders_cache_is_read_as_ldconfig_reads_it() -> None:
    listed = {}
    command = [shutil.which("ldconfig") or "/sbin/ldconfig", "-p"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines()[1:]:
        name, arrow, path = line.strip().partition(" => ")
        if arrow and "x86-64" in name:
            listed.setdefault(name.split(" ")[0], path)
    assert "libc.so.6" in listed
    assert {name: loading.by_loader(name) for name in listed} == listed


def test_what_the_cache_does_not_know_is_nowhere() -> None:
    assert loading.by_loader("libcudart.so.999") is None


@pytest.mark.parametrize("content", [b"", b"glibc-ld.so.cache1.1", b"\xff" * 100])
def test_a_broken_cache_is_no_cache(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "ld.so.cache"
    cache.write_bytes(content)
    monkeypatch.setattr(loading, "CACHE", str(cache))
    assert loading.by_loader("libc.so.6") is None


# --- whose it is --------------------------------------------------------------------------------


def test_a_packages_file_is_traced_and_found_intact() -> None:
    (found,) = provenance.describe([libc()], True)
    asked = subprocess.run(["dpkg", "-S", "libc.so.6"], capture_output=True, text=True, check=True)
    assert f"{found['package']}:" in asked.stdout
    assert found["intact"] is True
    assert found["simulated"] is False


def test_an_altered_file_of_a_package_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libcudart.so.13.0.96"
    library.write_bytes(b"as packed")
    info = tmp_path / "info"
    info.mkdir()
    (info / "cuda-cudart-13-0.list").write_text(f"/.\n{library}\n")
    digest = hashlib.md5(b"as packed", usedforsecurity=False).hexdigest()
    (info / "cuda-cudart-13-0.md5sums").write_text(f"{digest}  {str(library)[1:]}\n")
    monkeypatch.setattr(provenance, "INFO", str(info))
    (before,) = provenance.describe([str(library)], True)
    assert (before["package"], before["intact"]) == ("cuda-cudart-13-0", True)
    library.write_bytes(b"patched")
    (after,) = provenance.describe([str(library)], True)
    assert (after["package"], after["intact"]) == ("cuda-cudart-13-0", False)
    (unhashed,) = provenance.describe([str(library)], False)
    assert (unhashed["sha256"], unhashed["intact"]) == (None, None), "not measured, not claimed"


def test_a_wheels_file_is_held_against_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    site = tmp_path / "0123456789ab" / "site"
    library = site / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"as packed")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"as packed").digest()).rstrip(b"=").decode()
    info = site / "nvidia_cuda_runtime-13.0.96.dist-info"
    info.mkdir()
    (info / "RECORD").write_text(
        f"nvidia/cu13/lib/libcudart.so.13,sha256={digest},9\n"
        '"nvidia/a, b.txt",sha256=!!!,1\n'
        "nvidia_cuda_runtime-13.0.96.dist-info/RECORD,,\n"
    )
    stacks = re.compile(rf"^{re.escape(str(tmp_path))}/([0-9a-f]{{12}})/")
    monkeypatch.setattr(provenance, "STACK", stacks)
    (found,) = provenance.describe([str(library)], True)
    assert (found["package"], found["intact"]) == ("stack:0123456789ab", True)
    library.write_bytes(b"patched")
    (found,) = provenance.describe([str(library)], True)
    assert found["intact"] is False
    added = library.with_name("libcudart.so.14")
    added.write_bytes(b"not in any wheel")
    (found,) = provenance.describe([str(added)], True)
    assert found["intact"] is None


def test_nobodys_file_has_no_owner(tmp_path: Path) -> None:
    library = tmp_path / "libcudart.so.13"
    library.write_bytes(b"x")
    (found,) = provenance.describe([str(library)], True)
    assert (found["package"], found["intact"]) == (None, None)


@pytest.mark.parametrize("where", ["begin", "end", "nowhere"])
@pytest.mark.parametrize("size", [1000, provenance.SEARCHED_WHOLE + 1000])
def test_the_labs_mark_is_seen_in_small_and_large_files(
    tmp_path: Path, size: int, where: str
) -> None:
    mark = provenance.MARK if where != "nowhere" else b""
    rest = b"\0" * (size - len(mark))
    path = tmp_path / "libcudart.so.13"
    path.write_bytes(rest + mark if where == "end" else mark + rest)
    assert provenance.is_simulated(str(path)) is (where != "nowhere")
