"""`cudactl catalogue` as a user calls it: output, files, exit codes."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from cudactl.stack.bundle.repository import Deb, SigningKey, write_deb, write_index
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


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A repository for Ubuntu 24.04 with a cuDNN and a toolkit that nobody knows yet."""
    folder = tmp_path_factory.mktemp("mirror")
    key = SigningKey.create(folder / "k", "Mirror <m@example.invalid>")
    repository = folder / "ubuntu2404/x86_64"
    repository.mkdir(parents=True)
    debs = [
        Deb(name="libcudnn9-cuda-13", version="9.99.0.1-1"),
        Deb(name="cuda-toolkit-13-9", version="13.9.0-1"),
    ]
    write_index(repository, [write_deb(deb, repository) for deb in debs], key=key)
    (folder / "key.asc").write_text(key.public_key)
    return folder.as_uri(), folder / "key.asc"


def test_refresh_writes_what_is_new_and_lists_what_it_cannot_know(
    cudactl: Cudactl, mirror: tuple[str, Path], tmp_path: Path
) -> None:
    url, key = mirror
    arguments = ["catalogue", "refresh", "--os", "ubuntu-24.04", "--mirror", url]
    arguments += ["--key", str(key), "--no-wheels"]
    folders = {"XDG_CONFIG_HOME": str(tmp_path)}
    done = cudactl(*arguments, env=folders)
    assert done.returncode == 0, done.stderr
    overlay = tmp_path / "cudactl/catalogue.d/refresh.yaml"
    assert "new      cudnn 9.99.0.1" in done.stdout
    assert "toolkits 13.9.0" in done.stdout
    assert "driver_minor" in done.stdout
    assert f"written to {overlay}" in done.stderr
    shown = json.loads(cudactl("catalogue", "status", "--json", env=folders).stdout)
    assert [one["name"] for one in shown["overlays"]] == [str(overlay)]
    assert cudactl("catalogue", "lint", env=folders).returncode == 0
    again = json.loads(cudactl(*arguments, "--json", env=folders).stdout)
    assert (again["written"], again["added"]) == (False, [])
    assert [one["version"] for one in again["not_understood"]] == ["13.9.0"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("--os", "ubuntu-24.4"), 2, "did you mean 'ubuntu-24.04'?"),
        (("--mirror", "/srv/mirror"), 2, "SPEC-BAD-VALUE"),
        (("--os", "debian-12"), 4, "INDEX-UNREACHABLE"),
        (("--key", "none.asc"), 2, "MIRROR-KEY-UNREADABLE"),
        (("-o", "/proc/none/x.yaml"), 2, "OVERLAY-NOT-WRITTEN"),
    ],
)
def test_each_mistake_of_a_refresh_has_its_exit_code(
    cudactl: Cudactl,
    mirror: tuple[str, Path],
    tmp_path: Path,
    arguments: tuple[str, ...],
    exit_code: int,
    code: str,
) -> None:
    url, key = mirror
    usual = {"--mirror": url, "--key": str(key), "-o": str(tmp_path / "x.yaml")}
    usual |= {"--os": "ubuntu-24.04", arguments[0]: arguments[1]}
    options = [part for item in usual.items() for part in item]
    done = cudactl("catalogue", "refresh", "--no-wheels", *options, cwd=tmp_path)
    assert done.returncode == exit_code, done.stderr
    assert code in done.stderr
    assert not list(tmp_path.iterdir())
