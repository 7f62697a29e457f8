"""`catalogue refresh` writes what indexes state, and nothing that they do not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cudactl.contracts.errors import CudactlError, UnreachableError, UsageError
from cudactl.contracts.spec import MirrorSpec, StackSpec
from cudactl.lab.mirror import Mirror
from cudactl.stack.bundle.repository import Deb
from cudactl.stack.facts.catalogue import Catalogue, assemble, load_catalogue
from cudactl.stack.facts.lint import lint
from cudactl.stack.facts.overlays import read_overlay
from cudactl.stack.facts.refresh import Refreshed, refresh_from
from cudactl.stack.facts.refresh_wheels import WheelListing
from cudactl.stack.facts.shipped import cells, shipped
from cudactl.stack.index.apt import AptIndex, fetch_index
from cudactl.stack.lock.locking import apt_source
from cudactl.workflow.catalogue import Refresh, refresh

if TYPE_CHECKING:
    from tests.stack.conftest import Repository

TODAY = "2026-12-01"
Known = Callable[[dict[str, list[list[str]]]], None]


def knowing(*changes: Known) -> Catalogue:
    """The shipped catalogue, with less in it."""
    digest, raw = shipped()
    tables = {name: [list(row) for row in cells(table)] for name, table in raw.items()}
    for change in changes:
        change(tables)
    return Catalogue(digest, tables)


def without(table: str, *keys: str) -> Known:
    """Forget rows by what stands in their first column."""

    def forget(tables: dict[str, list[list[str]]]) -> None:
        before = len(tables[table])
        tables[table] = [row for row in tables[table] if row[0] not in keys]
        assert len(tables[table]) < before

    return forget


def less(table: str, key: str, column: str, value: str) -> Known:
    def change(tables: dict[str, list[list[str]]]) -> None:
        index = tables[table][0].index(column)
        next(row for row in tables[table] if row[0] == key)[index] = value

    return change


@pytest.fixture(scope="module")
def index(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> AptIndex:
    """The verified index of the lab's mirror for Ubuntu 24.04."""
    url = (mirror.root / mirror.url_path.strip("/")).as_uri()
    spec = StackSpec(os="ubuntu-24.04", mirror=MirrorSpec(url=url, key=str(mirror.key_file)))
    source = apt_source(spec, load_catalogue().distribution("ubuntu-24.04"), Path())
    return fetch_index(source, tmp_path_factory.mktemp("cache"))


def row(found: Refreshed, table: str, key: str) -> dict[str, object]:
    rows = [r for r in found.rows.get(table, ()) if getattr(r, "version", None) == key]
    assert len(rows) == 1, f"{table} {key} in {found.rows}"
    return rows[0].model_dump()


def test_what_is_known_already_adds_nothing(index: AptIndex) -> None:
    found = refresh_from(assemble(), [index], None, TODAY)
    assert (found.rows, found.not_understood) == ({}, [])


def test_versions_come_with_the_builds_that_the_index_states(index: AptIndex) -> None:
    catalogue = knowing(
        without("cudnn", "9.28.0.42"),
        without("tensorrt", "11.0.0.114"),
        without("nccl", "2.28.3"),
        without("dcgm", "4.7.0"),
        without("container_toolkit", "1.20.0"),
        without("driver_releases", "610.43.02", "580.159.04"),
    )
    found = refresh_from(catalogue, [index], None, TODAY)
    assert row(found, "cudnn", "9.28.0.42")["cuda_majors"] == ("12", "13")
    assert row(found, "cudnn", "9.28.0.42")["min_cc"] is None
    tensorrt = row(found, "tensorrt", "11.0.0.114")
    assert tensorrt["built_for_cuda"] == ("12.9", "13.2")
    assert (tensorrt["min_cc"], tensorrt["pythons"]) == (None, ())
    assert row(found, "nccl", "2.28.3")["built_for_cuda"] == ("12.9",)
    dcgm = row(found, "dcgm", "4.7.0")
    assert (dcgm["epoch"], dcgm["cuda_majors"]) == ("1", ("12", "13"))
    assert row(found, "container_toolkit", "1.20.0")["notes"] == ""
    assert row(found, "driver_releases", "610.43.02")["released"] is None
    assert len(found.added) == 7
    assert not found.not_understood


def test_every_row_names_the_index_and_its_day(index: AptIndex) -> None:
    found = refresh_from(knowing(without("nccl", "2.28.3")), [index], None, TODAY)
    made = row(found, "nccl", "2.28.3")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", index.date)
    assert made["date"] == index.date != TODAY
    assert made["source"] == f"{index.source.title} Packages of {index.date}"


def test_a_toolkit_is_listed_because_no_index_states_its_least_driver(index: AptIndex) -> None:
    catalogue = knowing(without("toolkits", "13.3.0", "13.3.1"), without("components", "13.3.0"))
    found = refresh_from(catalogue, [index], None, TODAY)
    (one,) = found.not_understood
    assert (one.table, one.version) == ("toolkits", "13.3.0")
    assert "driver_minor" in one.why
    assert one.source
    assert "toolkits" not in found.rows


def test_a_driver_of_an_unknown_branch_is_listed(index: AptIndex) -> None:
    catalogue = knowing(without("drivers", "610"), without("driver_releases", "610.43.02"))
    found = refresh_from(catalogue, [index], None, TODAY)
    assert [(one.table, one.version) for one in found.not_understood] == [
        ("driver_releases", "610.43.02")
    ]
    assert found.rows == {}


def test_a_branch_learns_its_newest_release(index: AptIndex) -> None:
    catalogue = knowing(
        without("driver_releases", "610.43.02"), less("drivers", "610", "newest", "610.10.01")
    )
    found = refresh_from(catalogue, [index], None, TODAY)
    (branch,) = found.rows["drivers"]
    before = catalogue.branch("610")
    assert before is not None
    assert branch.model_dump() == before.model_dump() | {
        "newest": "610.43.02",
        "date": max(before.date, index.date),
        "source": f"{before.source} | {index.source.title} Packages of {index.date}",
    }


def test_a_known_version_learns_another_build(index: AptIndex) -> None:
    catalogue = knowing(
        less("tensorrt", "11.0.0.114", "built_for_cuda", "12.9"),
        less("tensorrt", "11.0.0.114", "cuda_majors", "12"),
    )
    found = refresh_from(catalogue, [index], None, TODAY)
    assert found.changed == [("tensorrt", "11.0.0.114")]
    made = row(found, "tensorrt", "11.0.0.114")
    assert made["built_for_cuda"] == ("12.9", "13.2")
    assert made["min_cc"] == "7.5", "what was known stays"


def test_candidates_and_what_is_older_than_the_catalogue_are_passed_over(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write(
        [
            Deb(name="libcudnn8", version="8.4.0.27-1+cuda11.6"),
            Deb(name="libcudnn8", version="8.9.99.1-1+cuda12.2"),
            Deb(name="cuda-toolkit-11-4", version="11.4.4-1"),
            Deb(name="nvidia-open", version="460.32.03-1"),
            Deb(name="nvidia-container-toolkit", version="1.99.0~rc.1-1"),
            Deb(name="nvidia-container-toolkit-base", version="1.99.1-1"),
            Deb(name="libnccl2", version="2.99.1-1+cuda13.9"),
        ]
    )
    source = apt_source(repository.spec(), assemble().distribution("ubuntu-24.04"), Path())
    found = refresh_from(assemble(), [fetch_index(source, tmp_path / "cache")], None, TODAY)
    assert found.added == [("cudnn", "8.9.99.1"), ("nccl", "2.99.1")]
    assert row(found, "cudnn", "8.9.99.1")["cuda_majors"] == ("12",)
    assert found.not_understood == []


class Wheels:
    """A Simple index in a folder, read without a server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.listing = WheelListing(folder.as_uri() + "/", folder.parent / "cache", TODAY)

    def add(self, project: str, *names: str, needs: tuple[str, ...] = ()) -> None:
        folder = self.folder / project
        folder.mkdir()
        links = []
        for name in names:
            path = folder / f"{project.replace('-', '_')}-{name}"
            path.write_bytes(b"a placeholder")
            text = "Metadata-Version: 2.1\n" + "".join(f"Requires-Dist: {n}\n" for n in needs)
            (folder / f"{path.name}.metadata").write_text(text)
            digest = hashlib.sha256(b"a placeholder").hexdigest()
            links.append(
                f'<a href="{path.name}#sha256={digest}" data-core-metadata="true">{path.name}</a>'
            )
        (folder / "index.html").write_text(f"<!DOCTYPE html><body>{' '.join(links)}</body>")


@pytest.fixture
def wheels(tmp_path: Path) -> Wheels:
    return Wheels(tmp_path / "simple")


def test_wheels_state_majors_and_interpreters(wheels: Wheels) -> None:
    any_python = "py3-none-manylinux_2_28_x86_64.whl"
    wheels.add("nvidia-cudnn-cu12", f"9.99.0.1-{any_python}", f"9.99.1.2rc1-{any_python}")
    wheels.add("nvidia-cudnn-cu13", f"9.99.0.1-{any_python}", f"9.28.1.4-{any_python}")
    wheels.add("tensorrt-cu13-libs", f"11.99.0.5-{any_python}", f"11.99.0.5.post1-{any_python}")
    binding = "none-manylinux_2_28_x86_64.whl"
    wheels.add("tensorrt-cu13-bindings", *(f"11.99.0.5-{py}-{binding}" for py in ("cp313", "cp39")))
    wheels.add("tensorrt-cu12-libs", "10.1.0.tar.gz")
    found = refresh_from(assemble(), [], wheels.listing, TODAY)
    assert sorted(found.added) == [("cudnn", "9.99.0.1"), ("tensorrt", "11.99.0.5")]
    cudnn = row(found, "cudnn", "9.99.0.1")
    assert cudnn["cuda_majors"] == ("12", "13")
    assert cudnn["date"] == TODAY
    assert "nvidia-cudnn-cu12/ as read on 2026-12-01" in str(cudnn["source"])
    tensorrt = row(found, "tensorrt", "11.99.0.5")
    assert tensorrt["pythons"] == ("cp39", "cp313")
    assert tensorrt["built_for_cuda"] == ()


def test_the_parts_of_a_toolkit_are_what_its_wheel_pins(wheels: Wheels, index: AptIndex) -> None:
    wheels.add(
        "cuda-toolkit",
        "13.3.0.0-py3-none-any.whl",
        needs=(
            "nvidia-cublas==13.5.1.27; extra == 'cublas'",
            "nvidia-cublas==13.5.1.27; extra == 'all'",
            "nvidia-cuda-nvrtc==13.3.99; extra == 'nvrtc'",
            "nvidia-nvjitlink<14,>=13.3.33; extra == 'nvjitlink'",
            "numpy>=1",
        ),
    )
    catalogue = knowing(without("components", "13.3.0"))
    found = refresh_from(catalogue, [index], wheels.listing, TODAY)
    parts = {r["wheel"]: r for r in (one.model_dump() for one in found.rows["components"])}
    assert sorted(parts) == ["nvidia-cublas", "nvidia-cuda-nvrtc"]
    assert (parts["nvidia-cublas"]["apt"], parts["nvidia-cublas"]["apt_version"]) == (
        "libcublas-13-3",
        "13.5.1.27-1",
    )
    # The apt index has cuda-nvrtc-13-3 at another version: its name is not written on suspicion.
    assert parts["nvidia-cuda-nvrtc"]["apt"] == ""
    assert [(one.table, one.version) for one in found.not_understood] == [("components", "13.3.0")]
    assert "nvidia-nvjitlink" in found.not_understood[0].why


def test_a_wheel_of_an_unknown_toolkit_is_listed_and_its_parts_are_not_written(
    wheels: Wheels,
) -> None:
    pin = ("nvidia-cublas==14.0.0.1; extra == 'cublas'",)
    wheels.add("cuda-toolkit", "14.0.0-py3-none-any.whl", needs=pin)
    found = refresh_from(assemble(), [], wheels.listing, TODAY)
    assert found.rows == {}
    assert [one.version for one in found.not_understood] == ["14.0.0"]


NEW = (
    Deb(name="libcudnn9-cuda-13", version="9.99.0.1-1"),
    Deb(name="cuda-toolkit-13-9", version="13.9.0-1"),
)


def refreshed(repository: Repository, output: Path) -> Refresh:
    return refresh(
        systems=["ubuntu-24.04"],
        mirror=repository.base.as_uri(),
        key=repository.key_file,
        wheels=False,
        output=output,
    )


def test_the_overlay_is_written_and_says_it_once(repository: Repository, tmp_path: Path) -> None:
    repository.write(NEW)
    output = tmp_path / "config/refresh.yaml"
    done = refreshed(repository, output)
    assert done.written
    assert done.found.added == [("cudnn", "9.99.0.1")]
    catalogue = assemble([output])
    assert catalogue.cudnn[-1].version == "9.99.0.1"
    assert lint(catalogue) == []
    text = output.read_text()
    again = refreshed(repository, output)
    assert (again.written, again.found.added) == (False, [])
    assert output.read_text() == text
    # What another index adds later does not push out what the first one had.
    repository.write([*NEW[1:], Deb(name="libnccl2", version="2.99.1-1+cuda13.2")])
    assert refreshed(repository, output).found.added == [("nccl", "2.99.1")]
    assert set(read_overlay(output).rows) == {"cudnn", "nccl"}


def test_nothing_new_writes_nothing(repository: Repository, tmp_path: Path) -> None:
    repository.write([Deb(name="libcudnn9-cuda-13", version="9.20.0.48-1")])
    done = refreshed(repository, tmp_path / "refresh.yaml")
    assert not done.written
    assert not (tmp_path / "refresh.yaml").exists()


def test_a_release_that_knows_better_wins_over_an_old_refresh(
    repository: Repository, tmp_path: Path
) -> None:
    old = tmp_path / "refresh.yaml"
    old.write_text(
        "yields: yes\ncudnn:\n  - {version: 9.20.0.48, cuda_majors: 13, date: 2026-01-01, "
        "source: an index of long ago}\n  - {version: 9.98.0.1, cuda_majors: 13, "
        "date: 2026-01-01, source: an index of long ago}\n"
    )
    (known,) = (r for r in assemble([old]).cudnn if r.version == "9.20.0.48")
    assert known.min_cc == "7.5"
    by_hand = tmp_path / "site.yaml"
    by_hand.write_text(old.read_text().replace("yields: yes\n", ""))
    (local,) = (r for r in assemble([by_hand]).cudnn if r.version == "9.20.0.48")
    assert local.min_cc is None, "a site's own word counts, whatever its age"
    repository.write(NEW)
    refreshed(repository, old)
    versions = [getattr(r, "version", "") for r in read_overlay(old).rows["cudnn"]]
    assert versions == ["9.98.0.1", "9.99.0.1"]


def test_a_file_of_somebodys_own_is_left_alone(repository: Repository, tmp_path: Path) -> None:
    repository.write(NEW)
    own = tmp_path / "site.yaml"
    own.write_text("cudnn: []\n")
    with pytest.raises(UsageError) as error:
        refreshed(repository, own)
    assert error.value.code == "OVERLAY-NOT-OURS"
    assert own.read_text() == "cudnn: []\n"


def test_an_index_that_cannot_be_trusted_writes_nothing(mirror: Mirror, tmp_path: Path) -> None:
    other = mirror.signed_by_other_key(tmp_path / "other")
    url = (other.root / other.url_path.strip("/")).as_uri()
    output = tmp_path / "refresh.yaml"
    with pytest.raises(CudactlError) as error:
        refresh(
            systems=["ubuntu-24.04"], mirror=url, key=mirror.key_file, wheels=False, output=output
        )
    assert error.value.code == "INDEX-WRONG-KEY"
    assert not output.exists()


def test_of_repositories_that_nobody_named_one_may_be_missing(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write(NEW)
    url, output = repository.base.as_uri(), tmp_path / "refresh.yaml"
    done = refresh(mirror=url, key=repository.key_file, wheels=False, output=output)
    assert len(done.read) == 1
    assert any("debian12" in text for text in done.notes)
    with pytest.raises(UnreachableError):
        refresh(systems=["debian-12"], mirror=url, wheels=False, output=output)
    with pytest.raises(UnreachableError):
        refresh(mirror=(tmp_path / "nothing").as_uri(), wheels=False, output=output)
