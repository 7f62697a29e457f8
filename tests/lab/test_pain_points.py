"""What people who provision GPU hosts complain about most, each on a host, by its number.

The list is research/provision.md's, end of its section 2, as far as it concerns hosts. Elsewhere:
6 (upgrade without draining by hand) test_rollout.py; 7 (Signed-By) test_sources.py; 9 (the engine's
configuration overwritten) and 15 (several CUDA versions) test_environment.py; 13 (exit 0 though it
failed) test_driver.py. 11 and 12 are of images and of the catalogue.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cudactl.lab import hosts
from cudactl.lab.hosts import HostRequest, Lab, LabHost
from cudactl.lab.mirror import Mirror
from cudactl.lab.serve import serving
from cudactl.stack.bundle.repository import Deb, write_deb
from cudactl.stack.lock.file import read_lock
from tests.lab.kernel import SimulatedKernel, give_kernel
from tests.lab.running import SMALL, cudactl, installed, plan_of, provision

pytestmark = pytest.mark.lab
Lock = Callable[[str, str], Path]
DRIVER = """\
os: {{os}}
driver: {{{{branch: "{branch}", flavour: {flavour}}}}}
{more}mirror: {{{{url: "{{url}}", key: "{{key}}"}}}}
"""
TOOLS = """\
os: {{os}}
driver: {{{{branch: none}}}}
container_toolkit: "{version}"
mirror: {{{{url: "{{url}}", key: "{{key}}"}}}}
"""
VERSIONS = ("1.19", "1.20")
PCI = "/sys/bus/pci/devices"
LIBRARY = "libnvidia-compute-580"


def driver(branch: str = "580.95.05", flavour: str = "open", more: str = "") -> str:
    return DRIVER.format(branch=branch, flavour=flavour, more=more)


def shell(host: LabHost, script: str) -> str:
    return host.exec(["sh", "-c", f"set -e; {script}"])


def refusals(plan: dict[str, Any]) -> dict[str, str]:
    return {f["code"]: f["found"] for f in plan["plan"]["findings"] if f["refuses"]}


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedKernel]:
    """An Ubuntu host with a kernel and a GPU."""
    host = hosts.up([HostRequest("ubuntu-24.04", "t-pains")], say=print).host("t-pains")
    yield give_kernel(host, tmp_path_factory.mktemp("archive") / "debs")
    hosts.down(["t-pains"])


@pytest.fixture(scope="module")
def lock(make_lock: Lock) -> Path:
    return make_lock(driver(), "ubuntu-24.04")


@pytest.fixture(scope="module")
def driven(machine: SimulatedKernel, lab: Lab, lock: Path) -> SimulatedKernel:
    """The host with its driver, while somebody else's apt has the lock: pain 15."""
    holder = (
        "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); "
        "fcntl.lockf(f, fcntl.LOCK_EX); open('/run/held', 'w'); time.sleep(12)"
    )
    start = f'setsid -f python3 -c "{holder}" >/dev/null 2>&1'
    shell(machine.host, f"{start}; until [ -e /run/held ]; do sleep 0.1; done")
    provision(machine.host, lab, lock, "--no-certify", check=0)
    return machine


def test_15_an_apt_lock_at_first_boot_is_waited_for(driven: SimulatedKernel) -> None:
    assert "580.95.05" in driven.loaded()


def test_01_a_library_that_was_upgraded_alone_is_seen_and_put_back(
    driven: SimulatedKernel, lab: Lab, lock: Path, tmp_path: Path
) -> None:
    host = driven.host
    held = host.exec(["apt-mark", "showhold"]).split()
    assert set(held) == {p.name for p in read_lock(lock).packages}
    write_deb(Deb(LIBRARY, "580.159.04-1ubuntu1", "amd64"), tmp_path)
    (deb,) = tmp_path.glob("*.deb")
    text = base64.b64encode(deb.read_bytes()).decode()
    shell(host, f"echo {text} | base64 -d > /tmp/forced.deb")
    shell(host, "dpkg --force-hold --force-depends -i /tmp/forced.deb >/dev/null")

    plan = plan_of(host, lab, lock)["plan"]
    changes = {c["name"]: c for s in plan["steps"] for c in s["changes"] if c["kind"] == "package"}
    assert set(changes) == {LIBRARY}
    assert changes[LIBRARY]["before"].startswith("580.159")
    provision(host, lab, lock, "--no-certify", check=0)
    assert installed(host)[LIBRARY].startswith("580.95.05")
    assert not plan_of(host, lab, lock)["plan"]["steps"]


def test_02_the_next_kernel_has_its_module_before_it_is_booted(
    driven: SimulatedKernel, lab: Lab, lock: Path
) -> None:
    host, kernel = driven.host, "99.1.0-lab"
    entry = f"menuentry \\'new\\' {{\\n linux /boot/vmlinuz-{kernel} root=/dev/vda\\n}}\\n"
    shell(
        host,
        f"mkdir -p /lib/modules/{kernel}/kernel /usr/src/linux-headers-{kernel} /boot/grub; "
        f"touch /usr/src/linux-headers-{kernel}/Makefile /boot/vmlinuz-{kernel}; "
        f"ln -sfn /usr/src/linux-headers-{kernel} /lib/modules/{kernel}/build; "
        f"printf '%b' \"{entry}\" > /boot/grub/grub.cfg",
    )
    plan = plan_of(host, lab, lock)["plan"]
    names = {c["name"] for s in plan["steps"] for c in s["changes"]}
    assert f"nvidia for {kernel}" in names
    provision(host, lab, lock, "--no-certify", "--reboot", "never", check=0)
    host.exec(["test", "-e", f"/lib/modules/{kernel}/updates/dkms/nvidia.ko"])
    assert not plan_of(host, lab, lock)["plan"]["steps"]
    shell(host, f"rm -r /boot/grub /boot/vmlinuz-{kernel} /lib/modules/{kernel}")


def test_03_nvswitches_without_their_manager_are_refused_and_the_lock_brings_it(
    driven: SimulatedKernel, lab: Lab, lock: Path, make_lock: Lock
) -> None:
    switch = f"{PCI}/0000:07:00.0"
    shell(
        driven.host,
        f"mkdir {switch}; echo 0x10de > {switch}/vendor; echo 0x068000 > {switch}/class; "
        f"echo 0x22a3 > {switch}/device",
    )
    try:
        refused = refusals(plan_of(driven.host, lab, lock, check=3))
        assert "PREFLIGHT-FABRIC-NOT-LOCKED" in refused
        whole = make_lock(driver(more="gpus: [H200 SXM]\n"), "ubuntu-24.04")
        fabric = [p for p in read_lock(whole).packages if "fabricmanager" in p.name]
        assert fabric, "the lock of an NVSwitch part brings the fabric manager"
        assert {p.version.split("-")[0] for p in fabric} == {"580.95.05"}
        plan = plan_of(driven.host, lab, whole)["plan"]
        services = {c["name"] for s in plan["steps"] for c in s["changes"]}
        assert "nvidia-fabricmanager.service" in services
    finally:
        shell(driven.host, f"rm -r {switch}")


@pytest.mark.parametrize(
    ("device", "flavour"), [("0x2901", "proprietary"), ("0x1db5", "open")], ids=["B200", "V100"]
)
def test_04_a_flavour_that_the_gpu_cannot_run_is_refused(
    driven: SimulatedKernel, lab: Lab, make_lock: Lock, device: str, flavour: str
) -> None:
    wanted = make_lock(driver(flavour=flavour), "ubuntu-24.04")
    file = f"{PCI}/0000:17:00.0/device"
    shell(driven.host, f"echo {device} > {file}")
    try:
        refused = refusals(plan_of(driven.host, lab, wanted, check=3))
        assert "PREFLIGHT-GPU-FLAVOUR" in refused
    finally:
        shell(driven.host, f"echo 0x2335 > {file}")


def test_08_a_toolkit_that_the_driver_is_too_old_for_is_refused(
    driven: SimulatedKernel, lab: Lab, make_lock: Lock
) -> None:
    wish = SMALL.replace("branch: none", "branch: preinstalled")
    wanted = make_lock(wish, "ubuntu-24.04")
    file = "/proc/driver/nvidia/version"
    old = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.129.03  Release Build"
    shell(driven.host, f"cp {file} /run/version; echo '{old}' > {file}")
    try:
        refused = refusals(plan_of(driven.host, lab, wanted, check=3))
        assert "535.129.03" in refused["PREFLIGHT-DRIVER-TOO-OLD"]
    finally:
        shell(driven.host, f"cp /run/version {file}")


def test_05_a_version_that_left_the_archive_is_named_and_changes_nothing(
    lab: Lab, fresh_host: Callable[[str], LabHost], tmp_path: Path
) -> None:
    mirror = Mirror.build(tmp_path / "mirror", repositories=("debian12",))
    assert lab.gateway is not None
    served = tmp_path / "served"
    served.symlink_to(mirror.root)
    host = fresh_host("debian-12")
    with serving(served, lab.gateway) as server:
        spec, pinned = tmp_path / "stack.yaml", tmp_path / "stack.lock"
        spec.write_text(SMALL.format(os="debian-12", url=server.url, key=mirror.key_file))
        cudactl("stack", "lock", str(spec), "-o", str(pinned), check=0)
        (cudnn,) = [p for p in read_lock(pinned).packages if p.name == "libcudnn9-cuda-13"]
        without = mirror.expired_pin(cudnn.name, cudnn.version, into=tmp_path / "later")
        served.unlink()
        served.symlink_to(without.root)
        before = installed(host)
        done = provision(host, lab, pinned, check=3)
        assert cudnn.name in done.stderr
        assert installed(host) == before


def test_10_holds_do_not_stand_in_the_way_of_the_next_lock_nor_of_the_one_before(
    lab: Lab, fresh_host: Callable[[str], LabHost], make_lock: Lock
) -> None:
    host, name = fresh_host("debian-12"), "nvidia-container-toolkit"
    locks = {version: make_lock(TOOLS.format(version=version), "debian-12") for version in VERSIONS}
    for version in (*VERSIONS, VERSIONS[0]):
        provision(host, lab, locks[version], "--no-certify", check=0)
        assert installed(host)[name].startswith(version)
        held = set(host.exec(["apt-mark", "showhold"]).split())
        assert held == {p.name for p in read_lock(locks[version]).packages}


def test_14_a_bundle_alone_provisions_a_host(
    lab: Lab, fresh_host: Callable[[str], LabHost], make_lock: Lock, tmp_path: Path
) -> None:
    online = make_lock(SMALL, "debian-12")
    host = fresh_host("debian-12")
    assert lab.gateway is not None
    with serving(tmp_path, lab.gateway) as server:
        url = f"http://{server.address}:{server.port}/bundle"
        out = tmp_path / "bundle"
        cudactl("stack", "bundle", str(online), "-o", str(out), "--url", url, check=0)
        (offline,) = (out / "locks").glob("*.lock")
        assert read_lock(offline).hash == read_lock(online).hash
        provision(host, lab, offline, check=0)
    assert not plan_of(host, lab, offline)["plan"]["steps"]
