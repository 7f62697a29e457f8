"""The driver on a lab host with a simulated kernel: install, change, fail, reload, reboot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.lab.hosts import Lab, LabHost
from tests.lab.kernel import GCC_SAID, SimulatedKernel, give_kernel
from tests.lab.running import installed, plan_of, provision

pytestmark = pytest.mark.lab
DRIVER = """\
os: {{os}}
driver: {{{{branch: "{branch}", flavour: {flavour}}}}}
mirror: {{{{url: "{{url}}", key: "{{key}}"}}}}
"""


def driver(branch: str, flavour: str = "open") -> str:
    return DRIVER.format(branch=branch, flavour=flavour)


def steps_of(plan: dict[str, Any]) -> list[str]:
    return [s["id"] for s in plan["plan"]["steps"]]


@pytest.fixture
def machine(fresh_host: Callable[[str], LabHost], tmp_path: Path) -> SimulatedKernel:
    return give_kernel(fresh_host("ubuntu-24.04"), tmp_path / "archive")


def names_of(plan: dict[str, Any]) -> set[str]:
    return {c["name"] for s in plan["plan"]["steps"] for c in s["changes"]}


def test_a_build_that_fails_is_a_failure_and_a_reboot_is_decided_by_state(
    machine: SimulatedKernel, lab: Lab, make_lock: Callable[[str, str], Path]
) -> None:
    host, quick = machine.host, ("--no-certify",)
    lock = make_lock(driver("580.95.05"), "ubuntu-24.04")
    machine.start_display()

    # A bare host: headers come along, and the module does not build.
    plan = plan_of(host, lab, lock)
    assert steps_of(plan)[-1] == "reboot.boot"
    headers = {f"linux-headers-{machine.release}", "linux-headers-lab"}
    assert {*headers, f"nvidia for {machine.release}"} <= names_of(plan)
    machine.builds_fail(True)
    failed = provision(host, lab, lock, *quick, check=3)
    assert "DKMS-FAILED" in failed.stderr
    assert GCC_SAID in failed.stderr
    assert not machine.loaded()
    machine.builds_fail(False)

    # It goes on from what is there; a display is in the way of a reload, and nobody may reboot.
    said = provision(host, lab, lock, "--reboot", "never", *quick, check=0)
    assert "DRIVER-NEEDS-REBOOT" in said.stdout
    assert not machine.loaded()

    # By state, not by memory: the same lock, now with a reboot.
    plan = plan_of(host, lab, lock)
    assert steps_of(plan) == ["reboot.boot"]
    boot = host.boot_id()
    provision(host, lab, lock, *quick, check=0)
    assert host.boot_id() != boot
    assert "Open Kernel Module for x86_64  580.95.05" in machine.loaded()
    assert host.exec(["systemctl", "is-active", "nvidia-persistenced"]).strip() == "active"
    assert not plan_of(host, lab, lock)["plan"]["steps"]
    assert not host.exec(["sh", "-c", "ls /run/cudactl"]).strip(), "the claim after it is dropped"
    kept = host.exec(["sh", "-c", f"ls /var/lib/cudactl/before-reboot/{boot}"]).split()
    assert {"state.json", "dpkg.log", "services.txt"} <= set(kept)


@pytest.mark.soak
def test_drivers_are_exchanged_without_a_reboot(
    machine: SimulatedKernel, lab: Lab, make_lock: Callable[[str, str], Path]
) -> None:
    host, quick = machine.host, ("--no-certify",)
    boot = host.boot_id()

    first = make_lock(driver("580.95.05"), "ubuntu-24.04")
    provision(host, lab, first, "--check", *quick, check=0)
    provision(host, lab, first, *quick, check=0)
    assert "Open Kernel Module for x86_64  580.95.05" in machine.loaded()

    # An upgrade to another branch, whose packages have other names.
    second = make_lock(driver("590.48.01"), "ubuntu-24.04")
    provision(host, lab, second, *quick, check=0)
    have = installed(host)
    assert have["libnvidia-compute"] == "590.48.01-1ubuntu1"
    assert not [n for n in have if n.endswith(("-580", "-580-open"))], "the old branch went"
    assert "590.48.01" in machine.loaded()

    # A downgrade, and the other flavour.
    third = make_lock(driver("580.159.04", "proprietary"), "ubuntu-24.04")
    provision(host, lab, third, *quick, check=0)
    assert "UNIX Kernel Module for x86_64  580.159.04" in machine.loaded()
    assert "nvidia-dkms-open" not in installed(host)
    assert not plan_of(host, lab, third)["plan"]["steps"]
    assert host.boot_id() == boot
