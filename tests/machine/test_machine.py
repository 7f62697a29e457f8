"""What only a kernel of its own shows: a module built, signed off and loaded, nouveau out of the
initramfs, a real reboot, and power that fails in the middle of dpkg.

Long (an emulated machine is ten times slower): `make soak`, before a release and after a change to
the driver, reboot or packages roles.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cudactl.lab.mirror import Mirror
from cudactl.lab.serve import serving
from tests.lab.running import cudactl
from tests.machine.vm import Machine

pytestmark = [pytest.mark.soak, pytest.mark.timeout(5400)]
BIN = Path(sys.executable).parent
SPEC = """\
os: debian-12
driver: {{branch: "{branch}", flavour: open}}
cuda: "13.0"
mirror: {{url: "{url}", key: "{key}"}}
"""


def own_address() -> str:
    """Return an address of this machine that the guest reaches through its user network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.1", 9))
        return str(asking.getsockname()[0])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine.make(tmp_path_factory.mktemp("machine"))
    made.start()
    made.run("update-grub && apt-get update")
    yield made
    made.cut_power()


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Locks of two branches, from a mirror that the machine reaches."""
    folder = tmp_path_factory.mktemp("locks")
    mirror = Mirror.build(folder / "mirror", repositories=("debian12",))
    with serving(mirror.root, own_address()) as server:
        made = {}
        for branch in ("580", "590"):
            spec, lock = folder / f"{branch}.yaml", folder / f"{branch}.lock"
            spec.write_text(SPEC.format(branch=branch, url=server.url, key=mirror.key_file))
            cudactl("stack", "lock", str(spec), "-o", str(lock), check=0)
            made[branch] = lock
        yield made


def arguments(machine: Machine, lock: Path) -> list[str]:
    inventory = machine.inventory(machine.folder / "inventory.ini")
    return ["host", "machine", "-i", str(inventory), "--lock", str(lock)]


def plan(machine: Machine, lock: Path) -> dict[str, Any]:
    done = cudactl("plan", *arguments(machine, lock), "--json")
    (row,) = json.loads(done.stdout)
    assert row["error"] is None, row["error"]
    found: dict[str, Any] = row["plan"]
    return found


def provision(machine: Machine, lock: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Provision, and play the firmware: when the guest reboots, boot what its loader would."""
    rebooted: list[str] = []

    def firmware() -> None:
        process = machine._process
        assert process is not None
        process.wait()
        if not over.is_set():
            rebooted.append("yes")
            machine.start()

    over = threading.Event()
    watching = threading.Thread(target=firmware, daemon=True)
    watching.start()
    try:
        return cudactl("provision", *arguments(machine, lock), "--yes", "--no-certify", *more)
    finally:
        over.set()


def loaded(machine: Machine) -> str:
    return machine.run("cat /sys/module/nvidia/version 2>/dev/null || echo none").stdout.strip()


def test_a_driver_is_built_for_the_kernel_and_loads_after_a_real_reboot(
    machine: Machine, locks: dict[str, Path]
) -> None:
    assert "nouveau" in machine.run("lsinitramfs /boot/initrd.img-$(uname -r)").stdout
    before = machine.run("cat /proc/sys/kernel/random/boot_id").stdout
    done = provision(machine, locks["580"], "--reboot", "always")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.run("cat /proc/sys/kernel/random/boot_id").stdout != before
    assert not plan(machine, locks["580"])["steps"]
    status = machine.run("dkms status").stdout
    assert "580." in status
    assert "installed" in status
    machine.run("modprobe nvidia")
    assert loaded(machine).startswith("580.")
    # nouveau is still in the list of modules to take, and kept from loading there too.
    inside = machine.run(
        "mkdir -p /tmp/i && cd /tmp/i && unmkinitramfs /boot/initrd.img-$(uname -r) . && "
        "cat $(find . -name 'cudactl-nouveau.conf')"
    ).stdout
    assert "blacklist nouveau" in inside
    assert "nouveau" not in machine.run("cut -d' ' -f1 /proc/modules").stdout


def test_another_branch_replaces_it_and_is_what_loads(
    machine: Machine, locks: dict[str, Path]
) -> None:
    done = provision(machine, locks["590"], "--reboot", "always")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not plan(machine, locks["590"])["steps"]
    machine.run("modprobe nvidia")
    assert loaded(machine).startswith("590.")
    assert "580." not in machine.run("dkms status").stdout


def test_power_that_fails_anywhere_leaves_a_machine_that_the_next_run_converges(
    machine: Machine, locks: dict[str, Path]
) -> None:
    chance = random.Random(20261125)
    wanted, other = locks["580"], locks["590"]
    for number in range(6):
        command = [str(BIN / "cudactl"), "provision", *arguments(machine, wanted)]
        command += ["--yes", "--no-certify", "--reboot", "never"]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(15, 180))
        ended = running.poll()
        machine.cut_power()
        running.kill()
        running.wait()
        machine.start()
        done = provision(machine, wanted, "--reboot", "never")
        assert done.returncode == 0, f"cut {number} ({ended=}): {done.stdout}{done.stderr}"
        assert not machine.run("dpkg --audit").stdout
        steps = [s["id"] for s in plan(machine, wanted)["steps"]]
        assert not steps, f"cut {number}: {steps}"
        wanted, other = other, wanted
