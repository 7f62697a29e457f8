"""A lock file is read exactly as it was written, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudactl.contracts.errors import Exit, UsageError
from cudactl.contracts.lock import StackLock
from cudactl.stack.bundle.repository import Deb
from cudactl.stack.lock.file import (
    lock_is_current,
    parse_lock,
    read_lock,
    render_lock,
    write_lock,
)
from cudactl.stack.spec.file import parse_spec
from tests.stack.conftest import Repository

TOOLKIT = Deb(name="nvidia-container-toolkit", version="1.20.0-1")


@pytest.fixture
def lock(repository: Repository) -> StackLock:
    return repository.write([TOOLKIT]).lock(container_toolkit="1")[0]


def changed(lock: StackLock, change: Any) -> bytes:
    document = json.loads(render_lock(lock))
    change(document)
    return json.dumps(document).encode()


def refused(data: bytes) -> str:
    with pytest.raises(UsageError) as error:
        parse_lock(data, "stack.lock")
    assert error.value.exit_code is Exit.USAGE
    assert "stack.lock" in error.value.found
    assert error.value.remedy
    return error.value.code


def test_a_lock_comes_back_as_it_was(lock: StackLock, tmp_path: Path) -> None:
    path = tmp_path / "stack.lock"
    assert write_lock(lock, path)
    assert read_lock(path) == lock
    assert read_lock(path).hash == lock.hash
    before = path.stat()
    assert not write_lock(lock, path), "the same lock leaves the file alone"
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [p.name for p in tmp_path.iterdir() if "stack.lock" in p.name] == ["stack.lock"]


def test_formatting_does_not_matter(lock: StackLock) -> None:
    assert parse_lock(changed(lock, lambda d: None), "stack.lock") == lock


def test_a_changed_lock_is_refused(lock: StackLock) -> None:
    def other_version(document: Any) -> None:
        document["lock"]["packages"][0]["version"] = "1.19.1-1"

    def other_address(document: Any) -> None:
        document["lock"]["sources"][0]["url"] = "http://elsewhere.invalid/"

    def other_hash(document: Any) -> None:
        document["hash"] = "0" * 64

    for change in (other_version, other_address, other_hash):
        assert refused(changed(lock, change)) == "LOCK-ALTERED"


def test_other_formats_are_told_apart(lock: StackLock) -> None:
    assert refused(changed(lock, lambda d: d["lock"].update(schema_version=2))) == "LOCK-NEWER"
    assert refused(changed(lock, lambda d: d["lock"].update(schema_version=0))) == "LOCK-OLDER"


@pytest.mark.parametrize(
    "data",
    [b"", b"not json", b"[]", b"{}", b'{"lock": 1}', b'{"lock": {}}', b"\xff\xfe", b"[" * 99999],
)
def test_what_is_no_lock_is_refused(data: bytes) -> None:
    assert refused(data) == "LOCK-UNREADABLE"


def test_a_lock_that_was_cut_off_is_refused(lock: StackLock) -> None:
    data = render_lock(lock)
    assert refused(data[: len(data) // 2]) == "LOCK-UNREADABLE"


def test_missing_and_unwritable(lock: StackLock, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_lock(tmp_path / "none.lock")
    assert error.value.code == "LOCK-MISSING"
    assert "cudactl stack lock" in error.value.remedy
    with pytest.raises(UsageError) as error:
        write_lock(lock, tmp_path / "no folder" / "stack.lock")
    assert error.value.code == "LOCK-NOT-WRITTEN"


def test_a_full_disk_leaves_the_old_lock(lock: StackLock, tmp_path: Path) -> None:
    path = tmp_path / "stack.lock"
    path.write_text("the old one")
    tmp_path.joinpath(f".stack.lock.{__import__('os').getpid()}").symlink_to("/dev/full")
    with pytest.raises(UsageError) as error:
        write_lock(lock, path)
    assert error.value.code == "LOCK-NOT-WRITTEN"
    assert "No space left" in error.value.found
    assert path.read_text() == "the old one"


def test_a_lock_is_current_for_its_own_spec_only(lock: StackLock) -> None:
    assert lock_is_current(lock, lock.spec)
    assert not lock_is_current(lock, parse_spec("os: ubuntu-24.04", "other"))


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_json_is_refused_without_a_traceback(value: Any) -> None:
    for document in (value, {"lock": value}, {"lock": {"schema_version": 1, "os": value}}):
        refused(json.dumps(document).encode())
