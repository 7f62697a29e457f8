"""An overlay adds facts without a release; a bad one is one clear error, and its hash is told."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cudactl.contracts.errors import Exit, UsageError
from cudactl.stack.facts import overlay_files as places
from cudactl.stack.facts.catalogue import TABLES, Catalogue, assemble, load_catalogue
from cudactl.stack.facts.lint import lint
from cudactl.stack.facts.overlay_files import overlay_files
from cudactl.stack.facts.overlays import LARGEST, read_overlay

ROW = "date: 2026-11-24\n    source: our mirror of the repository"
RELEASE = f'driver_releases:\n  - version: "580.200.01"\n    {ROW}\n'
NEWER_RELEASE = RELEASE.replace("our mirror of", "somebody else's copy of")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """The site's and the user's folder of overlays, both empty."""
    site, home = tmp_path / "etc", tmp_path / "config"
    user = home / "cudactl/catalogue.d"
    site.mkdir()
    user.mkdir(parents=True)
    monkeypatch.setattr(places, "SITE", site)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.delenv("CUDACTL_CATALOGUE", raising=False)
    load_catalogue.cache_clear()
    yield site, user
    load_catalogue.cache_clear()


def laid_over(tmp_path: Path, text: str, name: str = "x.yaml") -> Catalogue:
    path = tmp_path / name
    path.write_text(text)
    return assemble([path])


def release(catalogue: Catalogue, version: str) -> str | None:
    rows = [row for row in catalogue.driver_releases if row.version == version]
    assert len(rows) < 2
    return rows[0].source if rows else None


def test_a_row_is_added_in_its_place(tmp_path: Path) -> None:
    catalogue = laid_over(tmp_path, RELEASE)
    versions = [row.version for row in catalogue.driver_releases]
    there = versions.index("580.200.01")
    assert versions[there - 1 : there + 2] == ["580.178.04", "580.200.01", "590.44.01"]
    assert len(versions) == len(assemble().driver_releases) + 1
    assert catalogue.toolkits == assemble().toolkits


def test_a_row_of_the_same_key_is_replaced_whole(tmp_path: Path) -> None:
    text = f"nccl:\n  - version: 2.27.7\n    built_for_cuda: 12.9 13.0\n    {ROW}\n"
    (row,) = (r for r in laid_over(tmp_path, text).nccl if r.version == "2.27.7")
    assert row.built_for_cuda == ("12.9", "13.0")
    assert row.cuda_majors == ()
    assert row.source == "our mirror of the repository"


def test_a_version_stays_as_it_is_written(tmp_path: Path) -> None:
    text = f"container_toolkit:\n  - version: 1.30\n    {ROW}\n"
    assert laid_over(tmp_path, text).container_toolkit[-1].version == "1.30"
    rows = {"container_toolkit": [{"version": 1.30, "date": "2026-11-24", "source": "a mirror"}]}
    document = json.dumps(rows).replace("1.3,", "1.30,")
    assert laid_over(tmp_path, document, "x.json").container_toolkit[-1].version == "1.30"


def test_words_may_be_a_list_and_the_unknown_may_be_left_out(tmp_path: Path) -> None:
    row = {"version": "9.30.0.1", "cuda_majors": ["12", "13"], "min_cc": None}
    row |= {"date": "2026-11-24", "source": "a mirror"}
    made = laid_over(tmp_path, json.dumps({"cudnn": [row]}), "x.json").cudnn[-1]
    assert (made.cuda_majors, made.min_cc, made.notes) == (("12", "13"), None, "")


def test_the_example_of_the_documentation_is_an_overlay(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/catalogue.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    catalogue = laid_over(tmp_path, example)
    assert lint(catalogue) == []
    assert catalogue.toolkits[-1].version == "13.6.0"
    assert [table for table in TABLES if f"`{table}`" not in text] == []


def test_overlays_of_a_machine_are_found_and_the_later_counts(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, user = folders
    plain = load_catalogue()
    assert plain.overlays == ()
    (site / "10-site.yaml").write_text(RELEASE)
    (user / "mine.yml").write_text(NEWER_RELEASE)
    (user / "mine.yaml~").write_text("what an editor left behind")
    named = tmp_path / "named.json"
    named.write_text("{}")
    monkeypatch.setenv("CUDACTL_CATALOGUE", f"{named}:")
    load_catalogue.cache_clear()
    catalogue = load_catalogue()
    files = [site / "10-site.yaml", user / "mine.yml", named]
    assert overlay_files() == files
    assert [(one.name, one.sha256) for one in catalogue.overlays] == [
        (str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files
    ]
    assert "somebody else's" in str(release(catalogue, "580.200.01"))


def test_the_hash_tells_which_overlays_were_used_and_in_which_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(RELEASE)
    two.write_text(NEWER_RELEASE)
    orders: list[list[Path]] = [[], [one], [two], [one, two], [two, one]]
    assert len({assemble(paths).hash for paths in orders}) == len(orders)
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(RELEASE)
    assert assemble([elsewhere]).hash == assemble([one]).hash


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("cudn: []", "OVERLAY-UNKNOWN-TABLE", "did you mean 'cudnn'?"),
        ("- version: 1", "OVERLAY-UNREADABLE", "names no table"),
        ("", "OVERLAY-UNREADABLE", "names no table"),
        ("cudnn: 9.30", "OVERLAY-UNREADABLE", "no list of rows"),
        ("cudnn:\n  - 9.30", "OVERLAY-BAD-ROW", "row 1"),
        ("schema_version: 2", "OVERLAY-UNREADABLE", "schema_version"),
        ("a: [", "OVERLAY-UNREADABLE", "not YAML"),
        ("a: &x [1]\ncudnn: *x", "OVERLAY-UNREADABLE", "alias"),
        ("cudnn: []\ncudnn: []", "OVERLAY-UNREADABLE", "line 2: 'cudnn' is written a second time"),
        ("[" * 20 + "]" * 20, "OVERLAY-UNREADABLE", "nested too deep"),
        (RELEASE.replace("version:", "verison:"), "OVERLAY-BAD-ROW", "did you mean 'version'?"),
        (
            RELEASE.replace("date: 2026-11-24", "date: 24 Nov"),
            "OVERLAY-BAD-ROW",
            "date is '24 Nov'",
        ),
        (RELEASE.replace("    date: 2026-11-24\n", ""), "OVERLAY-BAD-ROW", "580.200.01"),
        (RELEASE.replace("our mirror of the repository", "''"), "OVERLAY-BAD-ROW", "source"),
        (
            RELEASE + RELEASE.partition("\n")[2],
            "OVERLAY-BAD-ROW",
            "row 2: 580.200.01 stands there twice",
        ),
        (f"drivers:\n  - branch: '625'\n    {ROW}\n", "OVERLAY-BAD-ROW", "625"),
        (f"toolkits:\n  - version: 13.6.0\n    {ROW}\n", "OVERLAY-BAD-ROW", "driver_minor"),
    ],
)
def test_a_bad_overlay_is_one_clear_error(tmp_path: Path, text: str, code: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        laid_over(tmp_path, text)
    assert error.value.code == code
    assert error.value.exit_code is Exit.USAGE
    whole = f"{error.value.found} {error.value.expected} {error.value.remedy}"
    assert said in whole
    assert "x.yaml" in error.value.found
    assert error.value.expected
    assert error.value.remedy


def test_a_file_that_cannot_be_an_overlay_is_refused(tmp_path: Path) -> None:
    large, binary = tmp_path / "large.yaml", tmp_path / "binary.yaml"
    large.write_bytes(b"#" * (LARGEST + 1))
    binary.write_bytes(b"\xff\xfe\x00")
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    for path in (large, binary, deep, tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(UsageError) as error:
            read_overlay(path)
        assert error.value.code == "OVERLAY-UNREADABLE"
        assert str(path) in error.value.found
