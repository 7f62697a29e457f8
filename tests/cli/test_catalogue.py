"""`cudactl catalogue` as a user calls it: output, files, exit codes."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from tests.conftest import Cudactl

ROW = "date: 2026-11-24\n    source: our mirror of the repository"
OVERLAY = f'driver_releases:\n  - version: "580.200.01"\n    {ROW}\n'


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(OVERLAY)
    return path


def test_status_tells_what_is_known_and_how_old_it_is(cudactl: Cudactl) -> None:
    shown = cudactl("catalogue", "status")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(cudactl("catalogue", "status", "--json").stdout)
    assert document["tables"]["toolkits"]["rows"] >= 43
    newest = max(table["newest"] for table in document["tables"].values())
    assert document["newest"] == newest
    assert document["age_days"] == max(0, (date.today() - date.fromisoformat(newest)).days)
    assert document["overlays"] == []
    assert document["hash"][:12] in shown.stdout
    assert "no overlays" in shown.stdout


def test_status_tells_which_overlays_are_used(cudactl: Cudactl, overlay: Path) -> None:
    plain = json.loads(cudactl("catalogue", "status", "--json").stdout)
    named = {"CUDACTL_CATALOGUE": str(overlay)}
    with_it = json.loads(cudactl("catalogue", "status", "--json", env=named).stdout)
    assert with_it["hash"] != plain["hash"]
    (one,) = with_it["overlays"]
    assert one["name"] == str(overlay)
    assert one["rows"] == {"driver_releases": 1}
    rows = [d["tables"]["driver_releases"]["rows"] for d in (plain, with_it)]
    assert rows[1] == rows[0] + 1
    assert str(overlay) in cudactl("catalogue", "status", env=named).stdout


def test_lint_finds_nothing_in_what_is_shipped(cudactl: Cudactl) -> None:
    done = cudactl("catalogue", "lint")
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads(cudactl("catalogue", "lint", "--json").stdout) == {"findings": []}


def test_lint_looks_at_overlays_too(cudactl: Cudactl, overlay: Path) -> None:
    overlay.write_text(OVERLAY.replace("580.200.01", "625.10.01"))
    named = {"CUDACTL_CATALOGUE": str(overlay)}
    done = cudactl("catalogue", "lint", env=named)
    assert done.returncode == 3
    assert "CAT-UNKNOWN-BRANCH" in done.stdout
    assert "625.10.01" in done.stdout
    told = cudactl("catalogue", "lint", "--json", env=named)
    assert told.returncode == 3
    (finding,) = json.loads(told.stdout)["findings"]
    assert (finding["code"], finding["table"]) == ("CAT-UNKNOWN-BRANCH", "driver_releases")


@pytest.mark.parametrize("command", ["status", "lint"])
def test_a_bad_overlay_stops_every_command_with_one_error(
    cudactl: Cudactl, overlay: Path, command: str
) -> None:
    overlay.write_text(OVERLAY.replace("driver_releases", "driver_release"))
    done = cudactl("catalogue", command, env={"CUDACTL_CATALOGUE": str(overlay)})
    assert done.returncode == 2
    assert done.stderr.count("Error") == 1
    assert "OVERLAY-UNKNOWN-TABLE" in done.stderr
    assert str(overlay) in done.stderr
