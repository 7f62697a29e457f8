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


def told(plan: dict[str, Any]) -> set[str]:
    return {f["code"] for f in plan["plan"]["findings"]}


@pytest.fixture
def machine(fresh_host: Callable[[str], LabHost], tmp_path: Path) -> SimulatedKernel:
    return give_kernel(fresh_host("ubuntu-24.04"), tmp_path / "archive")


def test_a_driver_is_installed_changed_and_taken_into_use_by_state(
    machine: SimulatedKernel, lab: Lab, make_lock: Callable[[str, str], Path]
) -> None:
    host, quick = machine.host, ("--no-certify",)

    # A bare host: headers, a DKMS build and a clean initramfs, then in use without a reboot.
    first = make_lock(driver("580.95.05"), "ubuntu-24.04")
    plan = plan_of(host, lab, first)
    assert steps_of(plan)[-1] == "reboot.reload"
    names = {c["name"] for s in plan["plan"]["steps"] for c in s["changes"]}
    headers = {f"linux-headers-{machine.release}", "linux-headers-lab"}
    assert {*headers, f"nvidia for {machine.release}"} <= names
    provision(host, lab, first, *quick, check=0)
    assert "Open Kernel Module for x86_64  580.95.05" in machine.loaded()
    assert host.exec(["systemctl", "is-active", "nvidia-persistenced"]).strip() == "active"
    assert not plan_of(host, lab, first)["plan"]["steps"]

    # Another branch while a display has the module and nobody may reboot.
    machine.start_display()
    second = make_lock(driver("590.48.01"), "ubuntu-24.04")
    said = provision(host, lab, second, "--reboot", "never", *quick, check=0)
    assert "DRIVER-NEEDS-REBOOT" in said.stdout
    have = installed(host)
    assert have["libnvidia-compute"] == "590.48.01-1ubuntu1"
    assert not [n for n in have if n.endswith(("-580", "-580-open"))], "the old branch went"
    assert "580.95.05" in machine.loaded(), "and is in use until somebody reboots"

    # By state, not by memory: the same lock, now with a reboot.
    plan = plan_of(host, lab, second)
    assert steps_of(plan) == ["reboot.boot"]
    boot = host.boot_id()
    provision(host, lab, second, "--check", *quick, check=0)
    assert host.boot_id() == boot, "check mode boots nothing"
    provision(host, lab, second, *quick, check=0)
    assert host.boot_id() != boot
    assert "590.48.01" in machine.loaded()
    assert not plan_of(host, lab, second)["plan"]["steps"]
    assert not host.exec(["sh", "-c", "ls /run/cudactl"]).strip(), "the claim after it is dropped"
    kept = host.exec(["sh", "-c", f"ls /var/lib/cudactl/before-reboot/{boot}"]).split()
    assert {"state.json", "dpkg.log", "nvidia-version.txt"} <= set(kept)

    # A downgrade to the other flavour whose module does not build is a failure, and goes on.
    third = make_lock(driver("580.159.04", "proprietary"), "ubuntu-24.04")
    machine.builds_fail(True)
    failed = provision(host, lab, third, *quick, check=3)
    assert "DKMS-FAILED" in failed.stderr
    assert GCC_SAID in failed.stderr
    assert "590.48.01" in machine.loaded()
    machine.builds_fail(False)
    provision(host, lab, third, *quick, check=0)
    assert "UNIX Kernel Module for x86_64  580.159.04" in machine.loaded()
    assert "nvidia-dkms-open" not in installed(host)
    assert not plan_of(host, lab, third)["plan"]["steps"]
