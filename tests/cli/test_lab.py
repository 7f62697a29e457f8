"""`cudactl lab` as it is typed: making, showing, logging in, removing, and being told no."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Cudactl = Callable[..., CompletedProcess[str]]
NOWHERE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


@pytest.fixture
def own_lab(own_folders: Path, tmp_path: Path, cudactl: Cudactl) -> Iterator[dict[str, str]]:
    """A lab folder of the test's own, as an environment; its path has a blank on purpose."""
    env = {"CUDACTL_LAB_DIR": str(tmp_path / "my lab")}
    yield env
    cudactl("lab", "down", env=env)


def test_an_unknown_base_is_told_which_there_are(cudactl: Cudactl) -> None:
    done = cudactl("lab", "up", "fedora-40:x1", env=NOWHERE)
    assert done.returncode == 2
    assert "debian-12, debian-13, ubuntu-24.04" in done.stderr


@pytest.mark.parametrize("name", ["a", "-ab", "Ab", "a_b", "ab-", "a" * 41, ""])
def test_a_bad_name_is_told_what_a_name_is(cudactl: Cudactl, name: str) -> None:
    done = cudactl("lab", "up", f"debian-12:{name}", env=NOWHERE)
    assert done.returncode == 2
    assert "LAB-BAD-NAME" in done.stderr
    assert "2 to 40 characters" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--count", "3"], ["--count", "2", "debian-12:xy"], ["--count", "0", "debian-12"]]
)
def test_count_goes_with_one_base(cudactl: Cudactl, arguments: list[str]) -> None:
    assert cudactl("lab", "up", *arguments, env=NOWHERE).returncode == 2


@pytest.mark.parametrize("verb", ["up", "status", "down"])
def test_without_an_engine_the_remedy_is_named(cudactl: Cudactl, verb: str) -> None:
    done = cudactl("lab", verb, "--json", env=NOWHERE)
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "LAB-NO-ENGINE"
    assert "make setup" in done.stderr


def test_a_folder_that_cannot_be_written_is_told(cudactl: Cudactl) -> None:
    done = cudactl("lab", "up", env={"CUDACTL_LAB_DIR": "/proc/no/lab"})
    assert done.returncode == 3
    assert "LAB-FOLDER" in done.stderr


@pytest.mark.lab
def test_up_status_ssh_down(cudactl: Cudactl, own_lab: dict[str, str]) -> None:
    made = cudactl("lab", "up", "ubuntu-24.04:xy", "--no-mirror", env=own_lab)
    assert made.returncode == 0, made.stderr
    shown = cudactl("lab", "status", "--json", env=own_lab)
    there = json.loads(shown.stdout)
    (host,) = there["hosts"]
    assert (host["name"], host["base"], host["ssh"]) == ("xy", "ubuntu-24.04", True)
    assert there["mirror"] is None
    table = cudactl("lab", "status", env=own_lab).stdout
    assert host["address"] in table
    assert ("look-alike" in table) is host["look_alike"]

    inside = cudactl("lab", "ssh", "xy", "echo", "$USER; exit 7", env=own_lab)
    assert (inside.stdout, inside.returncode) == ("ops\n", 7)
    wrong = cudactl("lab", "ssh", "nobody", env=own_lab)
    assert wrong.returncode == 2
    assert "one of: xy" in wrong.stderr

    gone = cudactl("lab", "down", env=own_lab)
    assert gone.stdout == "removed: xy\n"
    again = cudactl("lab", "down", env=own_lab)
    assert (again.returncode, again.stdout) == (0, "nothing to remove\n")
    left = [path.name for path in Path(own_lab["CUDACTL_LAB_DIR"]).iterdir()]
    assert left == [".lock"]
    assert "no hosts" in cudactl("lab", "status", env=own_lab).stdout


@pytest.mark.lab
def test_counted_hosts_are_completed_not_doubled(cudactl: Cudactl, own_lab: dict[str, str]) -> None:
    def names(count: str) -> list[str]:
        done = cudactl(
            "lab", "up", "debian-12", "--count", count, "--no-mirror", "--json", env=own_lab
        )
        assert done.returncode == 0, done.stderr
        return [host["name"] for host in json.loads(done.stdout)["hosts"]]

    assert names("1") == ["debian-12-1"]
    assert names("2") == ["debian-12-1", "debian-12-2"]
    assert cudactl("lab", "down", "debian-12-2", "other", env=own_lab).stdout == (
        "other: was not there\nremoved: debian-12-2\n"
    )
    assert names("1") == ["debian-12-1"]


@pytest.mark.lab
def test_what_is_not_ours_is_never_touched(cudactl: Cudactl, own_lab: dict[str, str]) -> None:
    from cudactl.lab.engine import connect

    made = cudactl("lab", "up", "debian-12:mine", "--no-mirror", env=own_lab)
    assert made.returncode == 0, made.stderr
    client = connect()
    (mine,) = client.containers.list(filters={"name": "-mine"})
    # It looks like a lab host by image and name, and is somebody's all the same.
    foreign = client.containers.run(
        mine.image, ["sleep", "600"], name="cudactl-lab-foreign", detach=True, remove=True
    )
    try:
        assert cudactl("lab", "down", env=own_lab).returncode == 0
        foreign.reload()
        assert foreign.status == "running"
    finally:
        foreign.kill()


@pytest.mark.lab
def test_a_dead_mirror_is_served_again_at_the_same_address(
    cudactl: Cudactl, own_lab: dict[str, str]
) -> None:
    first = json.loads(cudactl("lab", "up", "debian-12:mm", "--json", env=own_lab).stdout)["mirror"]
    record = json.loads((Path(own_lab["CUDACTL_LAB_DIR"]) / "lab.json").read_text())
    pid = record["mirror"]["pid"]
    os.kill(pid, 9)
    assert "not running" in cudactl("lab", "status", env=own_lab).stdout
    again = json.loads(cudactl("lab", "up", "debian-12:mm", "--json", env=own_lab).stdout)["mirror"]
    assert again == first
    record = json.loads((Path(own_lab["CUDACTL_LAB_DIR"]) / "lab.json").read_text())
    cudactl("lab", "down", env=own_lab)
    command = Path(f"/proc/{record['mirror']['pid']}/cmdline")
    assert not command.exists() or not command.read_bytes()  # gone, or waiting to be reaped
