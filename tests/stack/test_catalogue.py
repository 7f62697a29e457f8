"""The catalogue is complete, sourced, quick to load, and knows what exists."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import get_args

import pytest

from cudactl.contracts.spec import OsName
from cudactl.stack.facts.catalogue import TABLES, load_catalogue
from cudactl.stack.facts.rows import Row, TorchVariant
from cudactl.stack.versions import admits, nearest, numbers


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_row_has_a_source_and_a_date(table: str) -> None:
    rows: tuple[Row, ...] = getattr(load_catalogue(), table)
    assert rows
    for row in rows:
        assert len(row.source) > 5
        assert re.fullmatch(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]", row.date)


def test_every_system_of_the_spec_is_known() -> None:
    known = {row.name: row for row in load_catalogue().distributions}
    assert set(known) == set(get_args(OsName))
    for row in known.values():
        assert re.fullmatch(r"[0-9A-F]{40}", row.fingerprint)
        assert row.key_file.upper().startswith(row.fingerprint[-8:])
        assert any(t.minor == row.first_toolkit for t in load_catalogue().toolkits)


@pytest.mark.parametrize("table", ["toolkits", "cudnn", "tensorrt", "driver_releases"])
def test_versions_are_unique_and_in_order(table: str) -> None:
    versions = [numbers(row.version) for row in getattr(load_catalogue(), table)]
    assert versions == sorted(set(versions))


def test_every_component_belongs_to_a_toolkit() -> None:
    catalogue = load_catalogue()
    toolkits = {row.version for row in catalogue.toolkits}
    assert {row.toolkit for row in catalogue.components} <= toolkits
    parts = {row.wheel: row for row in catalogue.components_of("13.0.2")}
    assert parts["nvidia-cublas"].version == "13.1.0.3"
    assert parts["nvidia-cublas"].apt_version == "13.1.0.3-1"
    assert parts["nvidia-cublas"].apt == "libcublas-13-0"


def test_cuda_13_needs_driver_580() -> None:
    for row in load_catalogue().toolkits:
        least = {"11": "450.80.02", "12": "525.60.13", "13": "580"}[row.major]
        assert row.driver_minor == least
        if row.driver_full is not None:
            assert numbers(row.driver_full) >= numbers(least)


def test_the_range_of_every_table_is_what_issue_3_asks_for() -> None:
    catalogue = load_catalogue()
    ends = {
        "toolkits": ("11.7.0", "13.5.0"),
        "cudnn": ("8.9.0.131", "9.28.1.4"),
        "tensorrt": ("8.6.0", "11.4.0.106"),
        "torch": ("1.13.1", "2.15.0"),
    }
    for table, (first, last) in ends.items():
        rows = getattr(catalogue, table)
        assert (rows[0].version, rows[-1].version) == (first, last)
    assert [row.branch for row in catalogue.drivers][:: len(catalogue.drivers) - 1] == [
        "470",
        "620",
    ]
    assert {row.toolkit for row in catalogue.components} >= {"11.8.0", "12.1.1", "13.5.0"}


def test_a_branch_in_ubuntus_package_name_is_followed_to_what_it_installs() -> None:
    rows = {(row.os, row.package): row for row in load_catalogue().archive_drivers}
    becomes = {key: row.becomes for key, row in rows.items()}
    assert becomes["ubuntu-24.04", "nvidia-driver-535"] == "nvidia-driver-580"
    # Through nvidia-driver-570-server, which is transitional itself.
    assert becomes["ubuntu-22.04", "nvidia-driver-550-server"] == "nvidia-driver-580-server"
    assert becomes["ubuntu-26.04", "nvidia-driver-615"] == "nvidia-driver-615-open"
    assert becomes["ubuntu-24.04", "nvidia-driver-580-open"] is None
    # Of two pockets the newer one counts.
    newest = rows["ubuntu-26.04", "nvidia-driver-580-server-open"].version
    assert newest == "580.178.04-0ubuntu0.26.04.1"


def test_volta_is_served_up_to_cudnn_9_10_and_what_is_contested_is_marked() -> None:
    rows = {row.version: row for row in load_catalogue().cudnn}
    assert rows["9.10.2.21"].min_cc == "5.0"
    assert rows["9.11.0.98"].contested == ("min_cc",)
    assert "7.0" in rows["9.11.0.98"].notes
    for row in rows.values():
        assert ("13" in row.cuda_majors) == (row.min_cc_cuda13 == "7.5")


def test_what_a_torch_wheel_brings_is_known() -> None:
    catalogue = load_catalogue()
    default = {row.version: row for row in catalogue.torch}
    assert (default["2.9.1"].cuda, default["2.9.1"].sbsa) == ("12.8", "cpu")
    assert (default["2.11.0"].cuda, default["2.11.0"].sbsa) == ("13.0", "cuda")
    built: dict[tuple[str, str], TorchVariant] = {
        (row.version, row.cuda): row for row in catalogue.torch_variants
    }
    assert built["2.9.0", "13.0"].experimental == "yes"
    assert "70" in built["2.14.1", "12.6"].sm
    assert "70" not in built["2.14.1", "13.0"].sm


@pytest.mark.parametrize(
    ("where", "name", "code"),
    [
        ("nvidia", "cuda", "PKG-PULLS-DRIVER PKG-WSL"),
        ("nvidia", "cuda-13-1", "PKG-PULLS-DRIVER PKG-WSL"),
        ("nvidia", "cuda-toolkit-13", "PKG-FLOATS"),
        ("nvidia", "cuda-toolkit-13-0", "PKG-NOT-FROZEN"),
        ("nvidia", "cuda-cccl-13-3", "PKG-VIRTUAL"),
        ("nvidia", "nvidia-open-590", "PKG-NO-SUCH-NAME"),
        ("nvidia", "nvidia-driver-610-open", "PKG-NO-SUCH-NAME"),
        ("nvidia", "nvidia-fabricmanager-580", "PKG-NO-SUCH-NAME"),
        ("nvidia", "libcudnn8-cuda-13", "PKG-WRONG-GENERATION"),
        ("nvidia", "python3-libnvinfer", "PKG-SHARED"),
        ("ubuntu", "nvidia-driver-550-server-open", "PKG-TRANSITIONAL"),
    ],
)
def test_a_name_that_means_something_else_is_told(where: str, name: str, code: str) -> None:
    found = [
        row.code
        for row in load_catalogue().packages
        if row.where == where and re.fullmatch(row.pattern, name)
    ]
    assert " ".join(found) == code


@pytest.mark.parametrize(
    "name", ["cuda-toolkit-13-0-config", "libcudnn9-cuda-13", "cuda-cccl-13-2", "nvidia-open-580"]
)
def test_a_name_that_means_what_it_says_is_left_alone(name: str) -> None:
    rows = [row for row in load_catalogue().packages if row.where == "nvidia"]
    assert not [row.code for row in rows if re.fullmatch(row.pattern, name)]


@pytest.mark.parametrize(
    ("prefix", "version", "fits"),
    [
        ("10.1", "10.1.3", True),
        ("10.1", "10.13.3.9", False),
        ("9", "9.28.0.42", True),
        ("13.0.2", "13.0.2", True),
        ("13.0.2.1", "13.0.2", False),
        ("580.95.5", "580.95.05", True),
    ],
)
def test_a_prefix_is_by_dotted_component(prefix: str, version: str, fits: bool) -> None:
    assert admits(prefix, version) is fits


def test_the_nearest_versions_are_offered() -> None:
    minors = [row.minor for row in load_catalogue().toolkits]
    assert set(nearest("12.7", minors, 2)) == {"12.6", "12.8"}


def test_loading_every_table_takes_at_most_60_ms() -> None:
    script = (
        "import time, cudactl.stack.facts.catalogue as c\n"
        "best = 9.0\n"
        "for _ in range(5):\n"
        "    c.load_catalogue.cache_clear()\n"
        "    start = time.process_time()\n"
        "    catalogue = c.load_catalogue()\n"
        "    assert all(catalogue.table(name) for name in c.TABLES)\n"
        "    best = min(best, time.process_time() - start)\n"
        "print(best)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) <= 0.060
