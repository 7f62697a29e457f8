"""Every mistake in the catalogue that can be seen is seen: each code has a catalogue with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.lint import CODES, LintFinding, lint
from cudactl.stack.facts.shipped import cells, shipped
from cudactl.stack.facts.tables import KEYS

Tables = dict[str, list[list[str]]]
Mistake = Callable[[Tables], None]


def tables() -> Tables:
    _, raw = shipped()
    return {name: [list(row) for row in cells(table)] for name, table in raw.items()}


def found(mistake: Mistake) -> list[LintFinding]:
    changed = tables()
    mistake(changed)
    return lint(Catalogue("0" * 64, changed))


def at(table: Tables, name: str, key: str) -> list[str]:
    header = table[name][0]
    columns = [header.index(column) for column in KEYS.get(name, ("version",))]
    return next(row for row in table[name] if " ".join(row[i] for i in columns) == key)


def cell(name: str, key: str, column: str, value: str) -> Mistake:
    """Write another value into one cell."""

    def mistake(tables: Tables) -> None:
        row = at(tables, name, key)
        index = tables[name][0].index(column)
        assert row[index] != value
        row[index] = value

    return mistake


def without(name: str, key: str) -> Mistake:
    return lambda tables: tables[name].remove(at(tables, name, key))


def twice(name: str, key: str) -> Mistake:
    def mistake(tables: Tables) -> None:
        row = at(tables, name, key)
        tables[name].insert(tables[name].index(row), list(row))

    return mistake


def first_is_last(name: str) -> Mistake:
    return lambda tables: tables[name].append(tables[name].pop(1))


def empty(tables: Tables) -> None:
    del tables["nccl"][1:]


def no_table(tables: Tables) -> None:
    del tables["dcgm"]


def unknown_column(tables: Tables) -> None:
    tables["cudnn"][0][2] = "min_compute"


def short_row(tables: Tables) -> None:
    tables["torch"][4].pop()


NVIDIA = "nvidia cudnn9?"

MISTAKES: list[tuple[str, str, Mistake]] = [
    ("CAT-TABLE", "nccl", empty),
    ("CAT-TABLE", "dcgm", no_table),
    ("CAT-COLUMNS", "cudnn", unknown_column),
    ("CAT-ROW", "torch", short_row),
    ("CAT-ROW", "drivers", cell("drivers", "580", "kind", "LTSB")),
    ("CAT-ROW", "toolkits", cell("toolkits", "13.0.2", "driver_minor", "")),
    ("CAT-ROW", "cudnn", cell("cudnn", "9.20.0.48", "source", " ")),
    ("CAT-ROW", "cudnn", cell("cudnn", "9.20.0.48", "date", "23.11.2026")),
    ("CAT-DUPLICATE", "nccl", twice("nccl", "2.27.7")),
    ("CAT-NOT-SORTED", "toolkits", first_is_last("toolkits")),
    ("CAT-NOT-SORTED", "gpus", first_is_last("gpus")),
    ("CAT-NOT-SORTED", "distributions", first_is_last("distributions")),
    ("CAT-DAY", "torch", cell("torch", "2.9.0", "date", "2099-01-01")),
    ("CAT-DAY", "torch", cell("torch", "2.9.0", "released", "autumn")),
    ("CAT-DAY", "drivers", cell("drivers", "580", "eol", "2025-01-01")),
    ("CAT-SOURCE", "dcgm", cell("dcgm", "4.5.2", "source", "hearsay")),
    ("CAT-SOURCE", "dcgm", cell("dcgm", "4.5.2", "source", "a captured listing, index id 4711")),
    ("CAT-VERSION", "cudnn", cell("cudnn", "9.20.0.48", "min_cc", "75")),
    ("CAT-VERSION", "toolkits", cell("toolkits", "13.0.2", "sm", "75 8O")),
    ("CAT-VERSION", "components", cell("components", "13.0.2 nvidia-cublas", "apt_version", "")),
    ("CAT-VERSION", "distributions", cell("distributions", "debian-13", "key_file", "x.pub")),
    ("CAT-CONTESTED", "cudnn", cell("cudnn", "9.11.0.98", "contested", "max_cc")),
    ("CAT-CONTESTED", "cudnn", cell("cudnn", "9.11.0.98", "notes", "")),
    ("CAT-TOOLKIT", "toolkits", cell("toolkits", "13.0.2", "sm", "")),
    ("CAT-TOOLKIT", "toolkits", cell("toolkits", "13.0.2", "driver_full", "580.10.01")),
    ("CAT-TOOLKIT", "toolkits", cell("toolkits", "13.0.2", "driver_full", "575.57.08")),
    ("CAT-TOOLKIT", "toolkits", cell("toolkits", "12.9.2", "driver_minor", "530")),
    ("CAT-TOOLKIT", "toolkits", cell("toolkits", "12.9.1", "gcc_max", "11")),
    ("CAT-UNKNOWN-TOOLKIT", "components", without("toolkits", "12.5.0")),
    (
        "CAT-UNKNOWN-TOOLKIT",
        "distributions",
        cell("distributions", "debian-12", *("first_toolkit", "12.7")),
    ),
    ("CAT-UNKNOWN-BRANCH", "driver_releases", without("drivers", "595")),
    (
        "CAT-UNKNOWN-BRANCH",
        "kernels",
        cell("kernels", "ubuntu-24.04 generic 6.8", "branches", "581"),
    ),
    ("CAT-UNKNOWN-BRANCH", "toolkits", without("drivers", "545")),
    ("CAT-UNKNOWN-BRANCH", "gpus", cell("gpus", "T4", "last_branch", "599")),
    ("CAT-BRANCH", "drivers", cell("drivers", "595", "newest", "590.48.01")),
    ("CAT-BRANCH", "drivers", cell("drivers", "595", "newest", "595.00.01")),
    ("CAT-BRANCH", "drivers", cell("drivers", "595", "flavours", "proprietary")),
    ("CAT-BRANCH", "drivers", without("driver_releases", "610.57.04")),
    (
        "CAT-BECOMES",
        "archive_drivers",
        without("archive_drivers", "ubuntu-24.04 nvidia-driver-595"),
    ),
    (
        "CAT-BECOMES",
        "archive_drivers",
        cell(
            *("archive_drivers", "ubuntu-24.04 nvidia-driver-610"),
            *("becomes", "nvidia-driver-615"),
        ),
    ),
    (
        "CAT-BECOMES",
        "archive_drivers",
        cell(*("archive_drivers", "ubuntu-24.04 nvidia-driver-580"), *("variant", "open")),
    ),
    ("CAT-LIBRARY", "tensorrt", cell("tensorrt", "10.13.3.9", "built_for_cuda", "12.7 13.0")),
    ("CAT-LIBRARY", "tensorrt", cell("tensorrt", "10.13.3.9", "cuda_majors", "12")),
    ("CAT-LIBRARY", "nccl", cell("nccl", "2.27.7", "cuda_majors", "10 13")),
    ("CAT-LIBRARY", "cudnn", cell("cudnn", "9.20.0.48", "cuda_majors", "")),
    ("CAT-LIBRARY", "cudnn", cell("cudnn", "9.11.1.4", "min_cc_cuda13", "7.5")),
    ("CAT-FRAMEWORK", "torch_variants", without("torch", "2.9.0")),
    ("CAT-FRAMEWORK", "torch_variants", cell("torch_variants", "2.14.1 13.0", "sm", "70 75")),
    ("CAT-FRAMEWORK", "torch", without("cudnn", "9.26.0.51")),
    ("CAT-FRAMEWORK", "torch", without("nccl", "2.27.5")),
    ("CAT-FRAMEWORK", "tensorflow", cell("tensorflow", "2.22.0rc0", "prerelease", "")),
    ("CAT-FRAMEWORK", "tensorflow", cell("tensorflow", "2.21.0", "cudnn_least", "")),
    ("CAT-PATTERN", "packages", cell("packages", NVIDIA, "pattern", "cudnn(9")),
    ("CAT-PATTERN", "packages", cell("packages", NVIDIA, "pattern", ".*")),
    ("CAT-PATTERN", "packages", cell("packages", NVIDIA, "code", "floats")),
    ("CAT-GPU", "gpus", cell("gpus", "T4", "architecture", "Touring")),
    ("CAT-GPU", "gpus", cell("gpus", "T4", "open_module", "unsupported")),
    ("CAT-GPU", "gpus", cell("gpus", "B200 SXM", "first_toolkit", "12.6")),
    ("CAT-GPU", "gpus", cell("gpus", "T4", "cc", "7.6")),
    ("CAT-GPU-NAME", "gpus", cell("gpus", "T4", "aliases", "P100 SXM2 16GB")),
    ("CAT-GPU-NAME", "gpus", cell("gpus", "T4", "aliases", "Tesla T4; tesla t4")),
]


def test_the_catalogue_has_no_mistake() -> None:
    assert found(lambda _: None) == []


@pytest.mark.parametrize(
    ("code", "table", "mistake"),
    MISTAKES,
    ids=[f"{n}-{c}-{t}" for n, (c, t, _) in enumerate(MISTAKES)],
)
def test_a_mistake_is_found(code: str, table: str, mistake: Mistake) -> None:
    seen = found(mistake)
    assert (code, table) in {(one.code, one.table) for one in seen}
    assert all(one.text for one in seen)


def test_every_code_has_a_mistake_that_shows_it() -> None:
    assert {code for code, _, _ in MISTAKES} == set(CODES)


def test_what_cannot_be_read_hides_what_would_follow_from_it() -> None:
    seen = found(cell("drivers", "580", "kind", "LTSB"))
    assert [(one.code, one.key) for one in seen] == [("CAT-ROW", "580")]


def test_a_build_for_a_toolkit_that_is_younger_than_the_catalogue_is_no_mistake() -> None:
    def younger(tables: Tables) -> None:
        cell("tensorrt", "11.4.0.106", "built_for_cuda", "12.9 13.9 14.0")(tables)
        cell("tensorrt", "11.4.0.106", "cuda_majors", "12 13 14")(tables)

    assert found(younger) == []


def test_a_finding_names_the_row() -> None:
    seen: Any = found(cell("cudnn", "9.20.0.48", "min_cc", "75"))
    assert [(one.table, one.key, one.text) for one in seen] == [
        ("cudnn", "9.20.0.48", "min_cc: '75'")
    ]
