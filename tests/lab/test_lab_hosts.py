"""Lab hosts behave like small servers: boot, users, host keys, reboots, and going away."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

from cudactl.contracts.errors import CudactlError
from cudactl.lab import hosts
from cudactl.lab.engine import connect
from cudactl.lab.hosts import HostRequest, Lab, LabHost

pytestmark = pytest.mark.lab


def ssh(
    lab: Lab, host: LabHost, command: str, user: str = "ops"
) -> subprocess.CompletedProcess[str]:
    options = ["-F", str(lab.ssh_config), "-o", "BatchMode=yes", "-l", user]
    return subprocess.run(
        ["ssh", *options, host.name, command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["t-deb12", "t-ubu"])
def test_a_host_boots_healthy_and_takes_people_in(
    lab: Lab, host_of: Callable[[LabHost], Host], name: str
) -> None:
    host = host_of(lab.host(name))
    assert host.check_output("systemctl is-system-running") == "running"
    assert host.check_output("hostname") == name
    assert host.service("ssh").is_running
    assert host.user("ops").exists
    assert host.package("python3-apt").is_installed
    assert host.check_output("python3 --version").startswith("Python 3.")


def test_each_base_is_what_it_says(lab: Lab, host_of: Callable[[LabHost], Host]) -> None:
    debian = host_of(lab.host("t-deb12")).system_info
    ubuntu = host_of(lab.host("t-ubu")).system_info
    assert (debian.distribution, debian.release.split(".")[0]) == ("debian", "12")
    assert (ubuntu.distribution, ubuntu.release) == ("ubuntu", "24.04")


def test_a_look_alike_says_so_wherever_it_is_named(lab: Lab, ubuntu_host: LabHost) -> None:
    release = ubuntu_host.exec(["cat", "/etc/os-release"])
    # Where a registry gave the real image the words must be absent, and present otherwise.
    fake = bool(ubuntu_host.look_alike)
    assert ("VARIANT_ID=cudactl-lab-look-alike" in release) is fake
    assert ("(look-alike)" in release) is fake
    assert ("look-alike" in ubuntu_host.title) is fake
    assert ("trixie" in ubuntu_host.exec(["cat", "/etc/apt/sources.list"])) is fake
    assert "look-alike" not in lab.host("t-deb12").title


def test_three_users_and_what_they_may(lab: Lab, debian_host: LabHost) -> None:
    assert ssh(lab, debian_host, "sudo -n id -un").stdout == "root\n"
    assert ssh(lab, debian_host, "id -un", "root").stdout == "root\n"
    assert ssh(lab, debian_host, "id -un", "guest").stdout == "guest\n"
    refused = ssh(lab, debian_host, "sudo -n true", "guest")
    assert refused.returncode == 1
    assert "password is required" in refused.stderr


def test_a_changed_host_key_is_refused(
    lab: Lab, fresh_host: Callable[[str], LabHost], tmp_path: Path
) -> None:
    host = fresh_host("debian-12")
    assert ssh(lab, host, "true").returncode == 0
    host.exec(["sh", "-c", "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -qA"])
    host.exec(["systemctl", "restart", "ssh"])
    hosts.up([HostRequest("debian-12", host.name)], say=print)  # must not make the new key known
    refused = ssh(lab, host, "true")
    assert refused.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in refused.stderr


def test_a_reboot_from_inside_comes_back_with_a_new_boot_id_at_the_same_address(
    lab: Lab, fresh_host: Callable[[str], LabHost]
) -> None:
    host = fresh_host("ubuntu-24.04")
    before = host.boot_id()
    machine = host.exec(["cat", "/etc/machine-id"])
    host.exec(["touch", "/run/reboot-required"])
    ssh(lab, host, "sudo systemctl reboot")
    deadline = time.monotonic() + 60
    while host.boot_id() in (None, before) and time.monotonic() < deadline:
        time.sleep(0.1)
    host.wait_until_up()
    assert host.boot_id() != before
    assert host.exec(["cat", "/etc/machine-id"]) == machine
    assert host.run(["test", "-e", "/run/reboot-required"]).returncode == 1
    assert ssh(lab, host, "true").returncode == 0


def test_a_frozen_host_takes_a_connection_and_never_answers(
    fresh_host: Callable[[str], LabHost],
) -> None:
    host = fresh_host("debian-12")
    host.pause()
    try:
        assert not host.ssh_answers(timeout_s=0.5)
        assert {h.name: h.state for h in hosts.status().hosts}[host.name] == "paused"
    finally:
        host.unpause()
    assert host.ssh_answers(timeout_s=10)


def test_up_again_changes_nothing(lab: Lab) -> None:
    def started() -> dict[str, str]:
        labels = {"label": f"cudactl.lab={lab.files.lab_id}"}
        containers = connect().containers.list(filters=labels)
        return {str(c.name): c.attrs["State"]["StartedAt"] for c in containers}

    before = started()
    said: list[str] = []
    again = hosts.up([HostRequest(h.base, h.name) for h in lab.hosts], say=said.append)
    assert again.hosts == lab.hosts
    assert again.mirror == lab.mirror
    assert started() == before
    assert said == []


def test_a_stopped_host_is_started_again(lab: Lab, fresh_host: Callable[[str], LabHost]) -> None:
    host = fresh_host("debian-12")
    connect().containers.get(host.container).stop(timeout=5)
    assert hosts.status().host(host.name).state == "exited"
    again = hosts.up([HostRequest("debian-12", host.name)], say=print).host(host.name)
    assert (again.state, again.address) == ("running", host.address)
    assert ssh(lab, again, "true").returncode == 0


def test_a_name_that_is_another_base_is_refused(lab: Lab) -> None:
    with pytest.raises(CudactlError) as refused:
        hosts.up([HostRequest("debian-12", "t-ubu")], say=print)
    assert refused.value.code == "LAB-HOST-OTHER-BASE"


def test_the_inventory_is_what_ansible_reads(lab: Lab) -> None:
    group = yaml.safe_load(lab.inventory.read_text())["lab"]
    assert {"t-deb12", "t-ubu"} <= set(group["hosts"])
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            "-i",
            str(lab.inventory),
            "t-deb12,t-ubu",
            "-m",
            "command",
            "-a",
            "id -u",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines().count("0") == 2  # become works


def test_hosts_reach_the_mirror_by_apt_and_trust_its_key(lab: Lab, ubuntu_host: LabHost) -> None:
    assert lab.mirror is not None
    key, source = "/tmp/key.asc", "/tmp/mirror.list"
    ubuntu_host.exec(["sh", "-c", f"cat > {key} <<'E'\n{lab.mirror.key_file.read_text()}\nE"])
    line = f"deb [signed-by={key}] {lab.mirror.url}/ubuntu2404/x86_64/ /"
    ubuntu_host.exec(["sh", "-c", f"echo '{line}' > {source}"])
    options = f"-o Dir::Etc::SourceList={source} -o Dir::Etc::SourceParts=/dev/null"
    lists = "-o Dir::State::Lists=/tmp/lists"
    try:
        ubuntu_host.exec(["sh", "-c", f"mkdir /tmp/lists; apt-get -qq {options} {lists} update"])
        found = ubuntu_host.exec(["sh", "-c", f"apt-cache {lists} {options} policy cuda-toolkit"])
    finally:
        ubuntu_host.exec(["rm", "-rf", key, source, "/tmp/lists"])
    assert "cuda-toolkit:" in found
