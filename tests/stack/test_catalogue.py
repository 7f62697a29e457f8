"""The catalogue is complete, sourced, quick to load, and knows what exists."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import get_args

import pytest

from cudactl.contracts.spec import OsName
from cudactl.stack.catalogue import TABLES, load_catalogue
from cudactl.stack.facts import Row
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


def test_loading_takes_at_most_60_ms() -> None:
    script = (
        "import time, cudactl.stack.catalogue as c\n"
        "best = 9.0\n"
        "for _ in range(5):\n"
        "    c.load_catalogue.cache_clear()\n"
        "    start = time.process_time(); c.load_catalogue()\n"
        "    best = min(best, time.process_time() - start)\n"
        "print(best)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) <= 0.060
