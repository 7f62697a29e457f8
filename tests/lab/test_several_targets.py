"""One lock file for a mixed fleet: each host gets the lock of its own distribution."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cudactl.lab.hosts import Lab, LabHost
from cudactl.lab.layout import MirrorState
from cudactl.stack.lock.file import read_locks
from tests.conftest import Cudactl

pytestmark = pytest.mark.lab


def test_each_host_gets_the_lock_of_its_own_distribution(
    lab: Lab,
    mirror: MirrorState,
    debian_host: LabHost,
    ubuntu_host: LabHost,
    cudactl: Cudactl,
    tmp_path: Path,
) -> None:
    (tmp_path / "stack.yaml").write_text(
        "os: ubuntu-24.04\ndriver: {branch: none}\n"
        f'cuda: "13.0"\nmirror: {{url: "{mirror.url}", key: "{mirror.key_file}"}}\n'
    )
    targets = ["--target", "ubuntu-24.04", "--target", "debian-12"]
    done = cudactl("stack", "lock", *targets, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = [debian_host.name, ubuntu_host.name]
    done = cudactl("plan", "host", *names, "-i", str(lab.inventory), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["host"]: row["plan"] for row in json.loads(done.stdout)}
    own = {lock.hash: lock.target.os for lock in read_locks(tmp_path / "stack.lock")}
    # The hosts are shared: what they still need depends on the tests before this one.
    found = {name: own[plan["lock_hash"]] for name, plan in rows.items()}
    assert found == {debian_host.name: "debian-12", ubuntu_host.name: "ubuntu-24.04"}

    # A host that no lock in the file is for is refused, not given another's.
    targets = ["--target", "ubuntu-22.04", "--target", "debian-12"]
    assert cudactl("stack", "lock", *targets, cwd=tmp_path).returncode == 0
    done = cudactl("plan", "host", ubuntu_host.name, "-i", str(lab.inventory), cwd=tmp_path)
    assert done.returncode == 3
    assert "PREFLIGHT-WRONG-OS" in done.stdout + done.stderr
