"""The driver as it is installed, read from a tree and judged: healthy, and as people break it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.judge import judge
from cudactl.probe import driver_host
from cudactl.probe.files import Root
from tests.judge.healthy import DRIVER, NOW, fresh, leg

RUNNING, NEXT = "6.8.0-31-generic", "6.8.0-101-generic"
DKMS = "updates/dkms/nvidia.ko"
EFI = "/sys/firmware/efi/efivars"
SECURE_BOOT = f"{EFI}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
MOK = f"{EFI}/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"
LIBRARY = f"/usr/lib/x86_64-linux-gnu/libcuda.so.{DRIVER}"
VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs@x)\n"
    "GCC version:  gcc version 13.3.0\n"
)
GPU = "/sys/bus/pci/devices/0000:17:00.0"
ALL = ["agreement", "nodes", "roots", "next_kernel", "nouveau", "secure_boot"]


def module(version: str = DRIVER, *, signed: bool = True) -> bytes:
    """A kernel module, as far as it says what it is."""
    text = f"\0version={version}\0license=Dual MIT/GPL\0vermagic=6.8.0\0".encode()
    return b"\x7fELF" + text + (b"signature~Module signature appended~\n" if signed else b"")


class Tree:
    """A machine's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def at(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def put(self, path: str, content: str | bytes = "") -> None:
        place = self.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)

    def link(self, path: str, to: str) -> None:
        place = self.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(to)

    def drop(self, path: str) -> None:
        place = self.at(path)
        shutil.rmtree(place) if place.is_dir() else place.unlink()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A host with an H200, Secure Boot, and its driver right in both of its kernels."""
    tree = Tree(tmp_path)
    tree.put("/proc/sys/kernel/osrelease", RUNNING + "\n")
    tree.put("/proc/driver/nvidia/version", VERSION.format(DRIVER))
    tree.put("/proc/driver/nvidia/gpus/0000:17:00.0/information", "Device Minor: \t 0\n")
    # Real device files lead the way: /dev/null and its neighbours, of the major 1.
    tree.put("/proc/devices", "Character devices:\n  1 nvidia-frontend\n  1 nvidia-uvm\n")
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        tree.link(f"/dev/{name}", "/dev/null")
    for name, value in (("vendor", "0x10de"), ("class", "0x030200"), ("device", "0x2335")):
        tree.put(f"{GPU}/{name}", value + "\n")
    tree.put("/sys/bus/pci/drivers/nvidia/bind")
    tree.link(f"{GPU}/driver", "../../drivers/nvidia")
    for release in (RUNNING, NEXT):
        tree.put(f"/lib/modules/{release}/kernel/x")
        tree.put(f"/lib/modules/{release}/{DKMS}", module())
        tree.put(f"/lib/modules/{release}/modules.dep", "kernel/drivers/gpu/drm/nouveau.ko:\n")
        tree.put(f"/usr/src/linux-headers-{release}/Makefile")
    tree.put("/etc/modprobe.d/nvidia.conf", "blacklist nouveau\noptions nouveau modeset=0\n")
    tree.put(f"/lib/firmware/nvidia/{DRIVER}/gsp_ga10x.bin")
    tree.put(LIBRARY)
    tree.link("/usr/lib/x86_64-linux-gnu/libcuda.so.1", f"libcuda.so.{DRIVER}")
    tree.put(SECURE_BOOT, b"\6\0\0\0\1")
    return tree


def judged(tree: Tree, libcuda: str = LIBRARY) -> dict[str, tuple[str, str]]:
    """Read the tree, and judge it as a healthy machine's in all else."""
    facts = driver_host.read(Root(str(tree.folder)), ALL, libcuda)
    evidence, policy = fresh("gpu")
    for measurement in leg(evidence, "driver")["measurements"]:
        if measurement["check"] in facts:
            measurement["values"] = facts.pop(measurement["check"])
    assert not facts
    verdicts = judge(evidence, policy, "h1", NOW)["verdicts"]
    asked = {f"driver.{name}" for name in ALL}
    return {v["check"][7:]: (v["status"], v["reason"]) for v in verdicts if v["check"] in asked}


def red(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: status for name, (status, _) in found.items() if status != "PASS"}


def test_a_healthy_host_passes(tree: Tree) -> None:
    assert red(judged(tree)) == {}


def _upgraded(tree: Tree) -> None:
    """apt brought another driver; nobody has rebooted."""
    tree.put("/proc/driver/nvidia/version", VERSION.format("580.82.07"))


def _kernel_without_module(tree: Tree) -> None:
    tree.drop(f"/lib/modules/{NEXT}/updates")


def _kernel_without_headers(tree: Tree) -> None:
    tree.drop(f"/lib/modules/{NEXT}/updates")
    tree.drop(f"/usr/src/linux-headers-{NEXT}")


def _older_module_in_next_kernel(tree: Tree) -> None:
    tree.put(f"/lib/modules/{NEXT}/{DKMS}", module("570.86.15"))


def _unsigned(tree: Tree) -> None:
    tree.put(f"/lib/modules/{NEXT}/{DKMS}", module(signed=False))


def _nouveau_drives(tree: Tree) -> None:
    tree.put("/sys/module/nouveau/refcnt", "1")
    tree.link(f"{GPU}/driver", "../../drivers/nouveau")


def _containerised(tree: Tree) -> None:
    tree.put("/run/nvidia/driver" + LIBRARY)


def _key_unknown(tree: Tree) -> None:
    tree.drop("/proc/driver/nvidia/version")
    tree.put("/var/lib/dkms/mok.pub", b"our certificate")
    tree.put(MOK, b"\6\0\0\0 somebody else's certificate")


# name: (what is broken, check, part of the reason, other checks that are rightly red)
BROKEN: dict[str, tuple[Callable[[Tree], object], str, str, set[str]]] = {
    "reboot pending": (_upgraded, "agreement", "their module lies on disk: reboot", set()),
    "no module is loaded": (
        lambda t: t.drop("/proc/driver/nvidia/version"),
        "agreement",
        "no NVIDIA kernel module is loaded",
        {"secure_boot"},
    ),
    "firmware of another driver": (
        lambda t: t.at(f"/lib/firmware/nvidia/{DRIVER}").rename(
            t.at("/lib/firmware/nvidia/570.86.15")
        ),
        "agreement",
        "firmware is of another driver",
        set(),
    ),
    "uvm's file is missing": (
        lambda t: t.drop("/dev/nvidia-uvm"),
        "nodes",
        "/dev/nvidia-uvm is missing",
        set(),
    ),
    "a GPU's file is missing": (
        lambda t: t.drop("/dev/nvidia0"),
        "nodes",
        "/dev/nvidia0 is missing",
        set(),
    ),
    "a plain file in /dev": (
        lambda t: t.put("/dev/nvidiactl"),
        "nodes",
        "/dev/nvidiactl is no device file",
        set(),
    ),
    "uvm got another major": (
        lambda t: t.put("/proc/devices", "  1 nvidia-frontend\n510 nvidia-uvm\n"),
        "nodes",
        "has the major 1, and the driver's is 510",
        set(),
    ),
    "a GPU that the driver did not take": (
        lambda t: t.drop("/proc/driver/nvidia/gpus"),
        "nodes",
        "a GPU is on the bus that the driver has no device file for",
        set(),
    ),
    "a driver container on a host with a driver": (
        _containerised,
        "roots",
        "a containerised driver lies beside the host's",
        set(),
    ),
    "leftovers of an older driver": (
        lambda t: t.put("/usr/lib/x86_64-linux-gnu/libcuda.so.570.86.15"),
        "roots",
        "files of several drivers",
        set(),
    ),
    "no module for the next kernel": (
        _kernel_without_module,
        "next_kernel",
        f"no NVIDIA module for {NEXT}, which boots next",
        {"secure_boot"},
    ),
    "no headers for the next kernel": (
        _kernel_without_headers,
        "next_kernel",
        "its headers are missing",
        {"secure_boot"},
    ),
    "an older module in the next kernel": (
        _older_module_in_next_kernel,
        "next_kernel",
        "its module is another driver's",
        set(),
    ),
    "nouveau drives the GPU": (_nouveau_drives, "nouveau", "nouveau drives it", set()),
    "nothing forbids nouveau": (
        lambda t: t.drop("/etc/modprobe.d/nvidia.conf"),
        "nouveau",
        "nothing forbids it",
        set(),
    ),
    "an unsigned module under Secure Boot": (
        _unsigned,
        "secure_boot",
        "is not signed: it will not load",
        set(),
    ),
    "a key that the firmware does not know": (
        _key_unknown,
        "secure_boot",
        "the firmware was not told of the key",
        {"agreement"},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_named(tree: Tree, name: str) -> None:
    damage, check, says, others = BROKEN[name]
    damage(tree)
    found = judged(tree)
    assert found[check][0] == "FAIL", found
    assert says in found[check][1]
    assert set(red(found)) == {check, *others}


@pytest.mark.parametrize(
    "line", ["modprobe.blacklist=nouveau", "quiet nouveau.modeset=0", "rd.driver.blacklist=nouveau"]
)
def test_the_kernels_command_line_forbids_nouveau_too(tree: Tree, line: str) -> None:
    tree.drop("/etc/modprobe.d/nvidia.conf")
    tree.put("/proc/cmdline", f"root=/dev/sda1 {line}\n")
    assert judged(tree)["nouveau"] == ("PASS", "by /proc/cmdline")


def test_a_kernel_without_nouveau_needs_nothing_forbidden(tree: Tree) -> None:
    tree.drop("/etc/modprobe.d/nvidia.conf")
    tree.put(f"/lib/modules/{NEXT}/modules.dep", "kernel/drivers/gpu/drm/i915.ko:\n")
    assert judged(tree)["nouveau"][0] == "PASS"


@pytest.mark.parametrize("state", [b"\6\0\0\0\0", None])
def test_without_secure_boot_nothing_need_be_signed(tree: Tree, state: bytes | None) -> None:
    _unsigned(tree)
    tree.drop(EFI)
    if state is not None:
        tree.put(SECURE_BOOT, state)
    assert judged(tree)["secure_boot"][0] == "PASS"


def test_a_key_that_the_firmware_knows_is_enough(tree: Tree) -> None:
    _key_unknown(tree)
    tree.put(MOK, b"\6\0\0\0 head our certificate tail")
    assert judged(tree)["secure_boot"][0] == "PASS"


def test_ubuntus_prebuilt_modules_count(tree: Tree) -> None:
    tree.drop(f"/lib/modules/{NEXT}/updates")
    tree.put(f"/lib/modules/{NEXT}/kernel/nvidia-580-open/nvidia.ko", module())
    assert red(judged(tree)) == {}


def test_a_machine_without_kernels_is_a_container(tree: Tree) -> None:
    tree.drop("/lib/modules")
    found = judged(tree)
    assert found["next_kernel"][0] == "NO_REFERENCE"
    assert "its host's matter" in found["next_kernel"][1]


def test_a_containerised_driver_alone_is_one_driver(tree: Tree) -> None:
    tree.drop(LIBRARY)
    tree.drop("/usr/lib/x86_64-linux-gnu/libcuda.so.1")
    tree.put("/run/nvidia/driver" + LIBRARY)
    tree.put("/sys/module/firmware_class/parameters/path", "/run/nvidia/driver/lib/firmware\n")
    tree.drop("/lib/firmware")
    assert red(judged(tree, "/run/nvidia/driver" + LIBRARY)) == {}


def test_only_what_is_asked_for_is_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prolog has no time for kernel modules, which are large."""

    def never(root: Any) -> Any:
        raise AssertionError("modules were read")

    monkeypatch.setattr(driver_host.boot, "modules", never)
    found = driver_host.read(Root(str(tree.folder)), ["agreement", "nodes", "roots"], LIBRARY)
    assert sorted(found) == ["driver.agreement", "driver.nodes", "driver.roots"]
    assert found["driver.agreement"]["on_disk"] == []
