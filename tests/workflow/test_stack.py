"""Locking writes the file when it says something new, and checks it without any network."""

from __future__ import annotations

from pathlib import Path

import pytest

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.stack.bundle.repository import Deb, SigningKey, write_deb, write_index
from cudactl.stack.lock.file import read_lock
from cudactl.workflow.stack import lock

NAME = "nvidia-container-toolkit"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    key = SigningKey.create(tmp_path / "k", "Mirror <m@example.invalid>")
    repository = tmp_path / "repos/ubuntu2404/x86_64"
    repository.mkdir(parents=True)
    stanzas = [write_deb(Deb(name=NAME, version=f"1.{n}.0-1"), repository) for n in (18, 19)]
    write_index(repository, stanzas, key=key)
    (tmp_path / "key.asc").write_text(key.public_key)
    path = tmp_path / "stack.yaml"
    path.write_text(
        "os: ubuntu-24.04\ndriver: {branch: none}\ncontainer_toolkit: '1'\n"
        f"mirror: {{url: '{(tmp_path / 'repos').as_uri()}', key: key.asc}}\n"
    )
    return path


def test_a_second_time_nothing_is_written(spec: Path) -> None:
    path = spec.with_suffix(".lock")
    first = lock(spec, path, allowed=[])
    assert first.written
    assert first.locks[0].resolved == {"container_toolkit": "1.19.0"}
    assert read_lock(path) == first.locks[0]
    assert not lock(spec, path, allowed=[]).written


def test_the_mirrors_key_is_found_beside_the_spec(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert lock(spec, spec.with_suffix(".lock"), allowed=[]).locks[0].sources[0].fingerprint


def test_a_lock_is_held_against_its_spec_without_an_index(spec: Path, tmp_path: Path) -> None:
    path = spec.with_suffix(".lock")
    lock(spec, path, allowed=[])
    (tmp_path / "repos").rename(tmp_path / "gone")
    assert not lock(spec, path, allowed=[], must_be_current=True).written
    spec.write_text(spec.read_text().replace("'1'", "'1.18'"))
    with pytest.raises(CudactlError) as refused:
        lock(spec, path, allowed=[], must_be_current=True)
    assert refused.value.code == "LOCK-NOT-CURRENT"
    assert refused.value.exit_code is Exit.FAIL
    assert "cudactl stack lock" in refused.value.remedy


def test_a_refused_wish_leaves_the_old_lock(spec: Path) -> None:
    path = spec.with_suffix(".lock")
    lock(spec, path, allowed=[])
    before = path.read_bytes()
    spec.write_text(spec.read_text().replace("'1'", "'7'"))
    with pytest.raises(CudactlError):
        lock(spec, path, allowed=[])
    assert path.read_bytes() == before
