"""Ways to a host as people have them: sudo that asks, a bastion, ssh's own names, no SSH at all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
import yaml

import cudactl as package
from cudactl.lab import hosts
from cudactl.lab.hosts import HostRequest, Lab, LabHost
from tests.lab.running import BIN, SMALL, cudactl, installed

pytestmark = pytest.mark.lab
MakeLock = Callable[[str, str], Path]
SITE = "/opt/tool"
LEFT_OUT = ("mypy*", "tests", "__pycache__", "pip", "ruff*", "ansible_lint*", "hypothesis*")
SMALL_13 = SMALL.replace('cuda: "13.0"', 'cuda: "13.1"')  # the first that Debian 13 has
PROGRAMS = {"cudactl": "cudactl.cli", "ansible-playbook": "ansible.cli.playbook"}


@pytest.fixture(scope="module")
def asked(lab: Lab) -> Iterator[LabHost]:
    """A host with a login whose sudo asks for a password."""
    host = hosts.up([HostRequest("debian-12", "t-asked")], say=print).host("t-asked")
    host.exec(["useradd", "--create-home", "--shell", "/bin/bash", "alice"])
    host.exec(["sh", "-c", "echo alice:correct-horse | chpasswd"])
    host.exec(["sh", "-c", "echo 'alice ALL=(ALL) ALL' > /etc/sudoers.d/alice"])
    yield host
    hosts.down(["t-asked"])


def inventory_of(lab: Lab, host: LabHost, folder: Path, **variables: object) -> Path:
    """Write an inventory of one host with some variables changed."""
    document = yaml.safe_load(lab.inventory.read_text())
    own = {**document["lab"]["vars"], "ansible_host": host.address, **variables}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": {host.name: own}}}))
    return path


def provision(inventory: Path, lock: Path, *more: str) -> list[str]:
    arguments = ["provision", "host", "-i", str(inventory), "--lock", str(lock), "--yes", *more]
    return [str(BIN / "cudactl"), *arguments]


def typed(command: list[str], password: str) -> tuple[int | None, str]:
    """Run a command on a terminal and type a password when it asks; return status and output."""
    child = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=180)
    child.expect("sudo password:")
    child.sendline(password)
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before or ""


def test_sudo_that_asks_is_told_apart_and_answered(
    lab: Lab, asked: LabHost, make_lock: MakeLock, tmp_path: Path
) -> None:
    lock = make_lock(SMALL, "debian-12")
    inventory = inventory_of(lab, asked, tmp_path, ansible_user="alice")
    # Reading needs no root.
    cudactl("plan", "host", "-i", str(inventory), "--lock", str(lock), check=0)

    done = subprocess.run(
        provision(inventory, lock), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 4
    assert "HOST-NO-SUDO" in done.stderr
    assert "-K" in done.stderr

    status, said = typed(provision(inventory, lock, "-K"), "wrong")
    assert status == 4, said
    assert "HOST-NO-SUDO" in said
    assert "wrong" not in said
    assert "cuda-cudart-13-0" not in installed(asked), "nothing was changed"

    status, said = typed(provision(inventory, lock, "-K"), "correct-horse")
    assert status == 0, said
    assert "correct-horse" not in said
    assert "HOST-NO-SUDO" not in said, "the certificate was kept on the host, by sudo too"
    kept = json.loads(asked.exec(["cat", "/var/lib/cudactl/certificate.json"]))
    assert kept["verdict"] == "PASS"


def test_sudos_password_may_come_from_the_inventory(
    lab: Lab, asked: LabHost, make_lock: MakeLock, tmp_path: Path
) -> None:
    lock = make_lock(SMALL, "debian-12")
    inventory = inventory_of(
        lab, asked, tmp_path, ansible_user="alice", ansible_become_password="correct-horse"
    )
    asked.exec(["rm", "-f", "/etc/profile.d/cudactl-cuda.sh"])
    done = subprocess.run(provision(inventory, lock), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "correct-horse" not in done.stdout + done.stderr
    asked.exec(["test", "-s", "/etc/profile.d/cudactl-cuda.sh"])


def test_a_bastion_is_gone_through(
    lab: Lab, asked: LabHost, ubuntu_host: LabHost, make_lock: MakeLock, tmp_path: Path
) -> None:
    lock = make_lock(SMALL, "debian-12")
    through = f"-F {lab.ssh_config} -o ProxyJump={ubuntu_host.name}"
    inventory = inventory_of(
        lab, asked, tmp_path, ansible_host=asked.name, ansible_ssh_common_args=through
    )
    asked.exec(["rm", "-f", "/etc/profile.d/cudactl-cuda.sh"])
    asked.exec(["journalctl", "--rotate"])
    asked.exec(["journalctl", "--vacuum-time=1s", "-q"])
    done = subprocess.run(provision(inventory, lock), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    log = asked.exec(["journalctl", "-u", "ssh", "--no-pager", "-o", "cat"])
    came = {line.split(" from ")[1].split()[0] for line in log.splitlines() if "Accepted" in line}
    assert came == {ubuntu_host.address}


def test_names_that_only_ssh_knows_need_no_inventory(
    lab: Lab, asked: LabHost, make_lock: MakeLock
) -> None:
    lock = make_lock(SMALL, "debian-12")
    asked.exec(["rm", "-f", "/etc/profile.d/cudactl-cuda.sh"])
    way = [asked.name, f"--ssh-arg=-F{lab.ssh_config}", "--lock", str(lock)]
    done = cudactl("provision", "host", *way, "--yes", check=0)
    assert "Place what leads to it" in done.stderr
    assert "nothing to do" in cudactl("plan", "host", *way, check=0).stdout


def test_without_a_name_it_is_this_machine_and_no_ssh(
    lab: Lab, fresh_host: Callable[[str], LabHost], make_lock: MakeLock
) -> None:
    """cudactl itself runs on the host, as an ordinary login, with this machine's own packages."""
    base = {(3, 11): "debian-12", (3, 13): "debian-13"}.get(sys.version_info[:2])
    if base is None:
        pytest.skip("no lab base has this Python, so its packages would not run there")
    host = fresh_host(base)
    copy_cudactl(lab, host)
    lock = make_lock(SMALL if base == "debian-12" else SMALL_13, base)
    into(lab, host, "cat > /home/ops/stack.lock", lock.read_bytes())
    host.exec(["mv", "/usr/bin/ssh", "/usr/bin/ssh.away"])

    def local(*arguments: str) -> str:
        command = f"cd; PATH={SITE}/bin:$PATH PYTHONPATH={SITE} cudactl {' '.join(arguments)} 2>&1"
        return host.exec(["runuser", "-u", "ops", "--", "bash", "-c", command])

    local("plan host -o saved.plan")
    said = local("provision host --plan saved.plan --yes")
    assert "Certificate for localhost: PASS" in said
    assert "nothing to do" in local("provision host --yes")
    assert "PASS at level simulated" in local("gate")


def into(lab: Lab, host: LabHost, command: str, content: bytes) -> None:
    """Run a command on a host, as root, with something on its standard input."""
    way = ["ssh", "-F", str(lab.ssh_config), "-l", "root", host.name, command]
    subprocess.run(way, input=content, check=True)


def copy_cudactl(lab: Lab, host: LabHost) -> None:
    """Copy this environment's packages and this checkout's cudactl onto a host."""
    site = Path(pexpect.__file__).parent.parent
    checkout = Path(package.__file__).parent.parent
    host.exec(["mkdir", "-p", f"{SITE}/bin"])
    for folder, names in ((site, ["."]), (checkout, ["cudactl", "playbooks", "roles"])):
        pack = ["tar", "c", "-C", str(folder), *(f"--exclude={name}" for name in LEFT_OUT), *names]
        packed = subprocess.run(pack, check=True, capture_output=True).stdout
        into(lab, host, f"tar x -C {SITE}", packed)
    for name, module in PROGRAMS.items():
        script = f"#!/usr/bin/python3\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        path = f"{SITE}/bin/{name}"
        into(lab, host, f"cat > {path} && chmod 755 {path}", script.encode())
