"""Files of others are moved aside whole, only when they are the ones that were agreed to."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.provision.test_container_modules import run


def aside(folder: Path, *files: tuple[Path, str], **more: Any) -> dict[str, Any]:
    wanted = [
        {"path": str(path), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for path, text in files
    ]
    return run("cudactl_set_aside", files=wanted, folder=str(folder / "copies"), **more)


def test_a_file_goes_and_its_copy_stays(tmp_path: Path) -> None:
    there = tmp_path / "cuda.list"
    there.write_text("deb x")
    done = aside(tmp_path, (there, "deb x"))
    assert (done["changed"], done["paths"]) == (True, [str(there)])
    assert not there.exists()
    assert (tmp_path / f"copies{there}").read_text() == "deb x"
    assert aside(tmp_path, (there, "deb x"))["changed"] is False


def test_nothing_is_moved_when_one_file_is_another_than_agreed(tmp_path: Path) -> None:
    one, other = tmp_path / "one.list", tmp_path / "other.list"
    one.write_text("same")
    other.write_text("changed since")
    done = aside(tmp_path, (one, "same"), (other, "agreed"))
    assert done["failed"]
    assert "PLAN-STALE" in done["msg"]
    assert one.exists()


def test_check_mode_only_tells(tmp_path: Path) -> None:
    there = tmp_path / "cuda.list"
    there.write_text("deb x")
    done = aside(tmp_path, (there, "deb x"), _ansible_check_mode=True)
    assert done["changed"]
    assert there.exists()
    assert not (tmp_path / "copies").exists()


def test_an_earlier_copy_of_another_content_is_kept_apart(tmp_path: Path) -> None:
    there = tmp_path / "cuda.list"
    for text in ("first", "second"):
        there.write_text(text)
        aside(tmp_path, (there, text))
    assert (tmp_path / f"copies{there}").read_text() == "second"
    (earlier,) = (tmp_path / f"copies-earlier{there}").parent.iterdir()
    assert earlier.read_text() == "first"
