"""A root that is not running: a real system's files in a folder, made right by the same roles."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cudactl.lab.engine import connect
from cudactl.lab.hosts import LabHost
from cudactl.stack.lock.file import read_lock
from tests.lab.killing import TASK
from tests.lab.running import BIN, SMALL, cudactl

pytestmark = pytest.mark.lab
KERNEL = "6.1.0-50-amd64"


@pytest.fixture
def root(debian_host: LabHost, tmp_path: Path) -> Iterator[Path]:
    """The files of a lab base, unpacked into a folder."""
    client = connect()
    image = client.containers.get(debian_host.container).image
    container = client.containers.create(image.id)
    folder = tmp_path / "image"
    folder.mkdir()
    try:
        unpack = ["tar", "--extract", "--directory", str(folder)]
        with subprocess.Popen(unpack, stdin=subprocess.PIPE) as tar:
            assert tar.stdin is not None
            for chunk in container.export():
                tar.stdin.write(chunk)
    finally:
        container.remove()
    (folder / "lib" / "modules" / KERNEL / "kernel").mkdir(parents=True)
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def mounts(root: Path) -> list[str]:
    return [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(root) in line
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="a root can only be entered by root")
def test_an_image_is_made_right_and_nothing_of_us_stays_mounted(
    root: Path, make_lock: Callable[[str, str], Path]
) -> None:
    lock = make_lock(SMALL, "debian-12")
    what = ["--root", str(root), "--kernel", KERNEL, "--lock", str(lock)]
    refused = cudactl("plan", "host", "--root", str(root), "--kernel", "9", "--lock", str(lock))
    assert (refused.returncode, "ROOT-NO-SUCH-KERNEL" in refused.stderr) == (2, True)
    names = (root / "etc/resolv.conf").read_bytes()
    before = sorted((root / "run").rglob("*"))

    # Killed in the middle: the kernel takes the mounts away, and a second run goes on.
    command = [str(BIN / "cudactl"), "provision", "host", *what, "--yes", "-v", "--no-certify"]
    running = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert running.stderr is not None
    seen = 0
    for line in running.stderr:
        seen += bool(TASK.match(line))
        if seen == 4:
            break
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert seen == 4
    assert not mounts(root)

    done = cudactl("provision", "host", *what, "--yes", check=0)
    assert "no gpu" in done.stdout.lower()
    assert "nothing to do" in cudactl("provision", "host", *what, "--yes", check=0).stdout
    form = "${Package} ${Version} ${Status}\n"
    query = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", form]
    out = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    have = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    for package in read_lock(lock).packages:
        assert have[package.name] == [package.version, "hold", "ok", "installed"]
    certificate = json.loads((root / "var/lib/cudactl/certificate.json").read_text())
    assert certificate["level"] in ("simulated", "linkage")
    assert (root / "etc/profile.d/cudactl-cuda.sh").is_file()

    assert not mounts(root)
    assert sorted((root / "run").rglob("*")) == before, "what ran there ran in memory"
    assert not (root / "usr/sbin/policy-rc.d").exists()
    assert (root / "etc/resolv.conf").read_bytes() == names
    assert not (root / "root/.ansible").exists()
