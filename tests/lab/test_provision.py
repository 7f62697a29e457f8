"""The main job on real hosts: plan, provision from the mirror, certify, and what goes wrong.

Hosts are systemd containers reached over SSH; packages come from the lab's signed mirror and are
installed by the hosts' own apt. One converged host is shared by the tests that do not change it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.lab.hosts import Lab, LabHost
from cudactl.lab.mirror import Mirror
from cudactl.lab.serve import serving
from cudactl.stack.lock.file import read_lock
from tests.lab.running import BIN, SMALL, SPEC, attempt, cudactl, installed, plan_of, provision

pytestmark = pytest.mark.lab


@pytest.fixture(scope="session")
def apt_lock(make_lock: Callable[[str, str], Path]) -> Path:
    return make_lock(SPEC, "ubuntu-24.04")


@pytest.fixture(scope="session")
def provisioned(
    lab: Lab, apt_lock: Path, ubuntu_host: LabHost
) -> tuple[LabHost, subprocess.CompletedProcess[str], dict[str, Any]]:
    """An Ubuntu look-alike, provisioned once, with what that printed and the plan before it."""
    before = plan_of(ubuntu_host, lab, apt_lock)
    done = provision(ubuntu_host, lab, apt_lock, check=0)
    return ubuntu_host, done, before


Provisioned = tuple[LabHost, subprocess.CompletedProcess[str], dict[str, Any]]


def test_the_host_carries_exactly_the_lock(provisioned: Provisioned, apt_lock: Path) -> None:
    host, _, _ = provisioned
    have = installed(host)
    wanted = {p.name: p.version for p in read_lock(apt_lock).packages}
    assert {name: have.get(name) for name in wanted} == wanted
    held = set(host.exec(["apt-mark", "showhold"]).split())
    assert held == set(wanted)


def test_the_certificate_says_simulated_and_that_no_gpu_was_there(
    provisioned: Provisioned,
) -> None:
    host, done, _ = provisioned
    assert "simulated" in done.stdout.lower()
    assert "look-alike" in done.stdout
    assert "no gpu" in done.stdout.lower()
    kept = json.loads(host.exec(["cat", "/var/lib/cudactl/certificate.json"]))
    assert (kept["level"], kept["verdict"]) == ("simulated", "PASS")


def test_again_there_is_nothing_to_do_and_ansible_is_not_started(
    provisioned: Provisioned, lab: Lab, apt_lock: Path, tmp_path: Path
) -> None:
    host, _, _ = provisioned
    # An ansible-playbook that leaves a trace when called stands first on the PATH.
    trap = tmp_path / "ansible-playbook"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexit 99\n")
    trap.chmod(0o755)
    done = subprocess.run(
        [
            str(BIN / "cudactl"),
            "provision",
            "host",
            host.name,
            "-i",
            str(lab.inventory),
            "--lock",
            str(apt_lock),
            "--yes",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert not (tmp_path / "called").exists()


def test_nvcc_is_found_by_a_login_shell(provisioned: Provisioned) -> None:
    host, _, _ = provisioned
    assert "release 13.0" in host.exec(["bash", "-lc", "nvcc --version"])


def test_unattended_upgrades_would_leave_the_closure_alone(
    provisioned: Provisioned, apt_lock: Path
) -> None:
    host, _, _ = provisioned
    dump = host.exec(["apt-config", "dump", "Unattended-Upgrade::Package-Blacklist"])
    names = [p.name for p in read_lock(apt_lock).packages]
    patterns = re.findall(r'"(\^.*\$)"', dump)
    matching = {
        n for n in [*names, "libcudnn9", "cuda-toolkit"] for p in patterns if re.match(p, n)
    }
    assert matching == set(names)


def test_drift_is_seen_and_mended(provisioned: Provisioned, lab: Lab, apt_lock: Path) -> None:
    host, _, _ = provisioned
    victim = "libcudnn9-cuda-13"
    assert read_lock(apt_lock).package(victim)
    host.exec(["dpkg", "--remove", "--force-depends", "--force-hold", victim])
    try:
        cert = cudactl(
            "certify", "host", host.name, "-i", str(lab.inventory), "--lock", str(apt_lock), check=3
        )
        assert victim in cert.stdout
        steps = plan_of(host, lab, apt_lock)["plan"]["steps"]
        packages = [c for s in steps for c in s["changes"] if c["kind"] == "package"]
        assert [c["name"] for c in packages] == [victim]
    finally:
        provision(host, lab, apt_lock, check=0)
    assert installed(host).get(victim)


def test_a_saved_plan_is_refused_when_the_host_moved(
    provisioned: Provisioned, lab: Lab, apt_lock: Path, tmp_path: Path
) -> None:
    host, _, _ = provisioned
    saved = tmp_path / "host.plan"
    where = ["-i", str(lab.inventory), "--lock", str(apt_lock)]
    cudactl("plan", "host", host.name, *where, "-o", str(saved), check=0)
    host.exec(["apt-mark", "unhold", "libcudnn9-cuda-13"])
    try:
        done = cudactl("provision", "host", "--plan", str(saved), "--yes", check=3)
        assert "PLAN-STALE" in done.stderr
        assert "libcudnn9-cuda-13" in done.stderr
    finally:
        host.exec(["apt-mark", "hold", "libcudnn9-cuda-13"])
    cudactl("provision", "host", "--plan", str(saved), "--yes", check=0)


def test_check_mode_changes_nothing(
    lab: Lab, debian_host: LabHost, make_lock: Callable[[str, str], Path]
) -> None:
    before = installed(debian_host)
    lock = make_lock(SMALL, "debian-12")
    done = provision(debian_host, lab, lock, "--check", "--diff", check=0)
    assert "+Signed-By: /usr/share/keyrings/cudactl-nvidia.asc" in done.stderr
    assert "Nothing was changed" in done.stderr
    assert installed(debian_host) == before
    assert not debian_host.exec(["sh", "-c", "find /etc -name 'cudactl-*'"]).strip()
    assert plan_of(debian_host, lab, lock)["plan"]["steps"]


# --- what goes wrong ----------------------------------------------------------------------------


def refused(done: subprocess.CompletedProcess[str], code: str, exit_code: int) -> None:
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert code in done.stdout + done.stderr
    assert "what to do" in done.stdout + done.stderr


def untouched(host: LabHost) -> None:
    assert not host.exec(["sh", "-c", "find /etc -name 'cudactl-*'"]).strip()
    assert not host.exec(["sh", "-c", "ls /run/cudactl 2>/dev/null || true"]).strip()


def test_a_lock_for_another_distribution_is_refused(
    lab: Lab, debian_host: LabHost, apt_lock: Path
) -> None:
    refused(provision(debian_host, lab, apt_lock), "PREFLIGHT-WRONG-OS", 3)
    untouched(debian_host)


def test_a_login_without_sudo_is_told_so(
    lab: Lab, debian_host: LabHost, make_lock: Callable[[str, str], Path], tmp_path: Path
) -> None:
    lock = make_lock(SMALL, "debian-12")
    inventory = tmp_path / "guest.yml"
    text = lab.inventory.read_text().replace("ops", "guest")
    assert "guest" in text
    inventory.write_text(text)
    done = cudactl(
        "provision", "host", debian_host.name, "-i", str(inventory), "--lock", str(lock), "--yes"
    )
    refused(done, "HOST-NO-SUDO", 4)
    untouched(debian_host)


def test_a_host_without_python_is_told_so(
    lab: Lab, debian_host: LabHost, make_lock: Callable[[str, str], Path]
) -> None:
    lock = make_lock(SMALL, "debian-12")
    debian_host.exec(["mv", "/usr/bin/python3", "/usr/bin/python3.away"])
    try:
        refused(attempt(debian_host, lab, lock), "HOST-NO-PYTHON", 4)
    finally:
        debian_host.exec(["mv", "/usr/bin/python3.away", "/usr/bin/python3"])
    untouched(debian_host)


def test_a_changed_host_key_is_refused(
    lab: Lab, debian_host: LabHost, make_lock: Callable[[str, str], Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    kind, key = other.with_suffix(".pub").read_text().split()[:2]
    known = tmp_path / "known_hosts"
    known.write_text(f"{debian_host.address} {kind} {key}\n")
    inventory = tmp_path / "hosts.yml"
    text = lab.inventory.read_text()
    assert str(lab.folder / "known_hosts") in text
    inventory.write_text(text.replace(str(lab.folder / "known_hosts"), str(known)))
    done = cudactl(
        "plan",
        "host",
        debian_host.name,
        "-i",
        str(inventory),
        "--lock",
        str(make_lock(SMALL, "debian-12")),
    )
    refused(done, "HOST-KEY-CHANGED", 4)


def test_a_full_disk_is_refused_before_anything_changes(
    lab: Lab, debian_host: LabHost, make_lock: Callable[[str, str], Path]
) -> None:
    lock = make_lock(SMALL, "debian-12")
    debian_host.exec(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/var"])
    try:
        debian_host.exec(["mkdir", "-p", "/var/lib/dpkg"])
        refused(attempt(debian_host, lab, lock), "PREFLIGHT-DISK-FULL", 3)
    finally:
        debian_host.exec(["umount", "/var"])
    untouched(debian_host)


def test_a_second_run_on_the_same_host_is_refused(
    lab: Lab, debian_host: LabHost, make_lock: Callable[[str, str], Path]
) -> None:
    claim = {
        "run_id": "run-other",
        "who": "eve",
        "controller": "elsewhere",
        "controller_id": "another boot/another namespace",
        "pid": 4711,
        "since": time.time() - 120,
        "expires": time.time() + 600,
    }
    debian_host.exec(["mkdir", "-p", "/run/cudactl"])
    debian_host.exec(["sh", "-c", f"echo '{json.dumps(claim)}' > /run/cudactl/host.lock"])
    try:
        done = provision(debian_host, lab, make_lock(SMALL, "debian-12"))
        refused(done, "HOST-BUSY", 3)
        assert "eve" in done.stdout
        assert "elsewhere" in done.stdout
    finally:
        debian_host.exec(["rm", "-rf", "/run/cudactl"])
    untouched(debian_host)


def test_the_claim_of_a_killed_run_is_taken_over(
    lab: Lab, fresh_host: Callable[[str], LabHost], make_lock: Callable[[str, str], Path]
) -> None:
    host = fresh_host("debian-12")
    lock = make_lock(SMALL, "debian-12")
    running = started(host, lab, lock)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert "run-" in host.exec(["cat", "/run/cudactl/host.lock"]), "it had no time to tidy up"
    until = time.monotonic() + 20
    playing = ["pgrep", "-f", f"ansible-playbook .*{host.name}"]
    while subprocess.run(playing, capture_output=True, check=False).returncode == 0:
        assert time.monotonic() < until, "Ansible goes on changing the host of a dead run"
        time.sleep(0.2)
    provision(host, lab, lock, check=0)
    assert not plan_of(host, lab, lock)["plan"]["steps"]
    assert not host.exec(["sh", "-c", "ls /run/cudactl 2>/dev/null || true"]).strip()


def test_two_runs_at_once_do_not_both_change_the_host(
    lab: Lab, fresh_host: Callable[[str], LabHost], make_lock: Callable[[str, str], Path]
) -> None:
    host = fresh_host("debian-12")
    lock = make_lock(SMALL, "debian-12")
    first = started(host, lab, lock)
    second = provision(host, lab, lock)
    refused(second, "HOST-BUSY", 3)
    _, err = first.communicate(timeout=300)
    assert first.returncode == 0, err


def test_a_mirror_that_was_tampered_with_changes_nothing(
    lab: Lab, fresh_host: Callable[[str], LabHost], tmp_path: Path
) -> None:
    good = Mirror.build(tmp_path / "good", repositories=("debian12",))
    bad = good.tampered_index(into=tmp_path / "bad")
    broken = good.wrong_hash("libcudnn9-cuda-13", into=tmp_path / "broken")
    served = tmp_path / "served"
    served.symlink_to(good.root)
    host = fresh_host("debian-12")
    assert lab.gateway is not None

    def serve_now(mirror: Mirror) -> None:
        served.unlink()
        served.symlink_to(mirror.root)

    with serving(served, lab.gateway) as server:
        spec, lock = tmp_path / "stack.yaml", tmp_path / "stack.lock"
        spec.write_text(SMALL.format(os="debian-12", url=server.url, key=good.key_file))
        cudactl("stack", "lock", str(spec), "-o", str(lock), check=0)
        before = installed(host)
        unsigned = good.unsigned(into=tmp_path / "unsigned")
        for mirror, code, said in (
            (bad, "APT-LISTS", "Hash Sum mismatch"),
            (unsigned, "APT-LISTS", "not signed"),
            (broken, "APT-FETCH", "libcudnn9"),
        ):
            serve_now(mirror)
            done = provision(host, lab, lock)
            refused(done, code, 3)
            assert said in done.stderr, done.stderr
            assert installed(host) == before
            assert not host.exec(["dpkg", "--audit"]).strip()
        serve_now(good)
        provision(host, lab, lock, check=0)
    assert not plan_of(host, lab, lock)["plan"]["steps"]


def test_a_mirror_that_is_down_is_named_and_other_peoples_sources_are_not_waited_for(
    lab: Lab,
    fresh_host: Callable[[str], LabHost],
    make_lock: Callable[[str, str], Path],
    tmp_path: Path,
) -> None:
    host = fresh_host("debian-12")
    mirror = Mirror.build(tmp_path / "mirror", repositories=("debian12",))
    assert lab.gateway is not None
    spec, gone = tmp_path / "stack.yaml", tmp_path / "stack.lock"
    with serving(mirror.root, lab.gateway) as server:
        spec.write_text(SMALL.format(os="debian-12", url=server.url, key=mirror.key_file))
        cudactl("stack", "lock", str(spec), "-o", str(gone), check=0)
    before = installed(host)
    begun = time.monotonic()
    done = provision(host, lab, gone)
    assert time.monotonic() - begun < 60
    refused(done, "APT-LISTS", 3)
    assert "Could not connect" in done.stderr
    assert installed(host) == before

    dead = "deb [trusted=yes] http://127.0.0.1:1/ ./"
    host.exec(["sh", "-c", f"echo '{dead}' > /etc/apt/sources.list.d/somebody-elses.list"])
    provision(host, lab, make_lock(SMALL, "debian-12"), check=0)
    assert not plan_of(host, lab, make_lock(SMALL, "debian-12"))["plan"]["steps"]


def started(host: LabHost, lab: Lab, lock: Path) -> subprocess.Popen[str]:
    """Start a run and return once Ansible has made its first change."""
    command = [str(BIN / "cudactl"), "provision", "host", host.name, "-i", str(lab.inventory)]
    command += ["--lock", str(lock), "--yes", "-v"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "Place key" in line:
            return running
    pytest.fail(f"the run ended early: {running.communicate()}")


def test_ctrl_c_leaves_a_host_that_the_next_run_converges(
    lab: Lab, fresh_host: Callable[[str], LabHost], make_lock: Callable[[str, str], Path]
) -> None:
    host = fresh_host("debian-12")
    lock = make_lock(SMALL, "debian-12")
    running = started(host, lab, lock)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert not host.exec(["sh", "-c", "ls /run/cudactl 2>/dev/null || true"]).strip()
    provision(host, lab, lock, check=0)
    assert not plan_of(host, lab, lock)["plan"]["steps"]
