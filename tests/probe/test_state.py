"""`state`: a machine in one document, quickly, without changing or starting anything."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.state import HostState
from tests.probe.conftest import Probe, interpreters

STATUS = """\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: libcublas-13-0
Status: hold ok installed
Architecture: amd64
Version: 13.1.0.3-1
Description: a text
 Version: 6.6.6 is not a version
 Package: nor a name

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-9

Package: nvidia-dkms-580-open
Status: install ok half-configured
Architecture: amd64
Version: 580.95.05-1ubuntu1

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
FILES = {
    "/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n'
    'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nVARIANT_ID=cudactl-lab-look-alike\n',
    "/etc/hostname": "gpu-01\n",
    "/etc/machine-id": "c" * 32 + "\n",
    "/proc/sys/kernel/random/boot_id": "boot-7\n",
    "/proc/sys/kernel/osrelease": "6.8.0-31-generic\n",
    "/lib/modules/6.8.0-31-generic/kernel/x": "",
    "/lib/modules/6.8.0-101-generic/kernel/x": "",
    "/lib/modules/6.8.0-200-rest/modules.dep": "",
    "/usr/src/linux-headers-6.8.0-31-generic/Makefile": "",
    "/var/lib/dpkg/status": STATUS,
    "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  "
    "580.95.05  Release Build  (dvs-builder@U22)\nGCC version:  gcc version 13.3.0\n",
    "/sys/module/nouveau/refcnt": "1",
    "/var/lib/dkms/nvidia/580.95.05/6.8.0-31-generic/x86_64/module/nvidia.ko": "",
    "/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "/sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
    "/sys/bus/pci/devices/0000:01:00.0/device": "0x2335\n",
    "/sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n",
    "/sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n",
    "/sys/bus/pci/devices/0000:01:00.1/device": "0x22be\n",
    "/sys/bus/pci/devices/0000:02:00.0/vendor": "0x8086\n",
    "/sys/bus/pci/devices/0000:02:00.0/class": "0x030000\n",
    "/sys/bus/pci/devices/0000:02:00.0/device": "0x1234\n",
    "/dev/nvidiactl": "",
    "/dev/nvidia0": "",
    "/etc/apt/sources.list": "deb http://deb.example/debian bookworm main\n",
    "/etc/apt/sources.list.d/cuda.list": "# old\n"
    "deb [arch=amd64 signed-by=/usr/share/keyrings/c.gpg] https://x.example/cuda/repos/u /\n",
    "/etc/apt/sources.list.d/cudactl-nvidia.sources": "Types: deb\nURIs: http://m.example/a/\n"
    "Suites: ./\nSigned-By: /usr/share/keyrings/cudactl-nvidia.asc\n\n"
    "Types: deb\nURIs: http://off.example/\nEnabled: no\nSuites: ./\n",
    "/etc/apt/preferences.d/cudactl-lock.pref": "x",
    "/etc/apt/preferences.d/other.pref": "x",
    "/opt/cudactl/stacks/0123456789ab/manifest.json": '{"lock": "0123456789ab00", "complete": true,'
    ' "wheels": {"a.whl": "ff"}}',
    "/opt/cudactl/stacks/ba9876543210/manifest.json": '{"complete": tr',
    "/run/cudactl/host.lock": '{"run_id": "r", "who": "u", "controller": "c", '
    '"controller_id": "b", "pid": 1, "since": 1.0, "expires": 2.0}',
    "/var/lib/cudactl/certificate.json": '{"lock_hash": "abc", "level": "linkage", '
    '"verdict": "PASS", "boot_id": "boot-7", "driver": null, "issued": 1.0, "expires": 2.0}',
    "/usr/bin/dockerd": "",
    "/etc/slurm/slurm.conf": "",
    "/run/reboot-required": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "opt/cudactl/active").symlink_to("stacks/0123456789ab")
    driver = tmp_path / "sys/bus/pci/drivers/nvidia"
    driver.mkdir(parents=True)
    (tmp_path / "sys/bus/pci/devices/0000:01:00.0/driver").symlink_to(driver)
    return tmp_path


@pytest.fixture
def state(tree: Path, probe: Probe) -> HostState:
    return HostState.model_validate(probe("state", "--root", str(tree)))


def test_identity_and_kernels(state: HostState) -> None:
    assert (state.hostname, state.machine_id, state.boot_id) == ("gpu-01", "c" * 32, "boot-7")
    assert (state.os.name, state.os.look_alike) == ("ubuntu-24.04", True)
    assert state.kernel.running == "6.8.0-31-generic"
    # The newest by number, not by letter, and only one that has a kernel.
    assert state.kernel.newest_installed == "6.8.0-101-generic"
    assert state.kernel.headers == ["6.8.0-31-generic"]
    assert state.kernel.secure_boot is None


def test_packages_holds_and_broken_ones(state: HostState) -> None:
    assert state.packages == {
        "dpkg": "1.21.22",
        "libcublas-13-0": "13.1.0.3-1",
        "libc6:i386": "2.36-9",
    }
    assert state.holds == ["libcublas-13-0"]
    assert [b.name for b in state.broken] == ["nvidia-dkms-580-open"]
    assert state.dpkg_arch == "amd64"


def test_sources_that_name_the_vendor_and_ours(state: HostState) -> None:
    found = {Path(s.file).name: s for s in state.apt_sources}
    assert set(found) == {"cuda.list", "cudactl-nvidia.sources"}
    assert found["cuda.list"].signed_by == "/usr/share/keyrings/c.gpg"
    assert found["cuda.list"].uris == ["https://x.example/cuda/repos/u"]
    assert found["cudactl-nvidia.sources"].ours
    assert found["cudactl-nvidia.sources"].uris == ["http://m.example/a/"]


def test_gpus_module_and_device_nodes(state: HostState) -> None:
    assert [(g.address, g.device, g.driver) for g in state.gpus] == [
        ("0000:01:00.0", "2335", "nvidia")
    ]
    assert (state.module.loaded, state.module.flavour) == ("580.95.05", "open")
    assert state.module.on_disk == {"6.8.0-31-generic": "580.95.05"}
    assert state.module.nouveau
    assert state.device_nodes == ["/dev/nvidia0", "/dev/nvidiactl"]


def test_what_is_ours(state: HostState) -> None:
    assert [f.path for f in state.files] == [
        "/etc/apt/sources.list.d/cudactl-nvidia.sources",
        "/etc/apt/preferences.d/cudactl-lock.pref",
    ]
    assert {s.lock: s.complete for s in state.stacks} == {
        "0123456789ab": True,
        "ba9876543210": False,
    }
    assert state.active_stack == "0123456789ab"
    assert state.host_lock is not None
    assert state.host_lock.controller == "c"
    assert state.certificate is not None
    assert state.certificate.lock == "abc"
    assert state.reboot_required


def test_who_else_is_there(state: HostState) -> None:
    assert (state.owners, state.container_engines) == (["slurm"], ["docker"])


def test_proprietary_module(tree: Path, probe: Probe) -> None:
    (tree / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Mar 23 01:30:18 UTC 2024\n"
    )
    module = probe("state", "--root", str(tree))["module"]
    assert (module["loaded"], module["flavour"]) == ("535.161.08", "proprietary")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"Ubuntu 24.04.3 LTS"', "Ubuntu 24.04.3 LTS"),
        ("'Debian'", "Debian"),
        ("plain", "plain"),
        (r'"a \"quoted\" \$name"', 'a "quoted" $name'),
        ('"cut', '"cut'),
        ("", "ubuntu"),
    ],
)
def test_names_are_read_as_a_shell_reads_them(
    tree: Path, probe: Probe, written: str, read: str
) -> None:
    """os-release(5): values are quoted as in a shell, or not at all."""
    line = f"PRETTY_NAME={written}\n" if written else ""
    (tree / "etc/os-release").write_text(f"ID=ubuntu\nVERSION_ID=24.04\n{line}")
    assert probe("state", "--root", str(tree))["os"]["pretty"] == read


def test_an_empty_machine_has_an_honest_document(tmp_path: Path, probe: Probe) -> None:
    state = HostState.model_validate(probe("state", "--root", str(tmp_path)))
    assert state.packages == {}
    assert state.dpkg_locked is None
    assert state.module.loaded is None
    assert state.certificate is None


def test_garbage_in_our_own_files_is_no_claim(tree: Path, probe: Probe) -> None:
    (tree / "run/cudactl/host.lock").write_text("[" * 100_000)
    (tree / "var/lib/cudactl/certificate.json").write_bytes(b"\xff\x00{}")
    document = probe("state", "--root", str(tree))
    assert document["host_lock"] is None
    assert document["certificate"] is None


@pytest.mark.parametrize("version", sorted(interpreters()))
def test_this_machine_under_every_interpreter_it_has(version: str, probe: Probe) -> None:
    state = HostState.model_validate(probe("state", python=interpreters()[version]))
    assert state.python.version.startswith(version + ".")


def test_this_machines_packages_are_dpkgs(probe: Probe) -> None:
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${binary:Package} ${Version}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    native = probe("state")["dpkg_arch"]
    said = {}
    for line in asked.stdout.splitlines():
        status, name, version = line.split()
        if status == "installed":
            said[name.removesuffix(":" + native)] = version
    assert probe("state")["packages"] == said


def test_dpkgs_lock_is_seen(tree: Path, probe: Probe) -> None:
    lock = tree / "var/lib/dpkg/lock-frontend"
    lock.write_text("")
    (tree / "proc/locks").write_text("")
    assert probe("state", "--root", str(tree))["dpkg_locked"] is False
    inode = lock.stat().st_ino
    (tree / "proc/locks").write_text(f"1: POSIX  ADVISORY  WRITE 812 fe:00:{inode} 0 EOF\n")
    assert probe("state", "--root", str(tree))["dpkg_locked"] is True


def test_it_is_quick(probe: Probe) -> None:
    """The bar is 0.5 s on a host without a GPU; the best of three, for a busy machine."""
    times = []
    for _ in range(3):
        begun = time.monotonic()
        probe("state")
        times.append(time.monotonic() - begun)
    assert min(times) < 0.5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], "PROBE-VERB"),
        (["sing"], "PROBE-VERB"),
        (["state", "--root"], "PROBE-ROOT"),
        (["state", "--root", "/no/such/folder"], "PROBE-ROOT"),
    ],
)
def test_a_wrong_call_is_one_error_document(arguments: list[str], code: str, probe: Probe) -> None:
    error: dict[str, Any] = probe(*arguments, code=2)["error"]
    assert error["code"] == code


def test_what_dpkg_did_since_it_wrote_its_status_out_counts(tree: Path, probe: Probe) -> None:
    updates = tree / "var/lib/dpkg/updates"
    updates.mkdir()
    half = "Package: libcublas-13-0\nStatus: install ok half-installed\nArchitecture: amd64\n"
    (updates / "0000").write_text(half + "Version: 13.1.0.3-1\n")
    (updates / "0001").write_text(half.replace("half-installed", "unpacked") + "Version: 14\n")
    (updates / "tmp.i").write_text("half a")
    found = HostState.model_validate(probe("state", "--root", str(tree)))
    assert found.dpkg_interrupted
    assert "libcublas-13-0" not in found.packages
    assert ("libcublas-13-0", "install ok unpacked") in [(b.name, b.status) for b in found.broken]


def test_a_settled_dpkg_is_called_so(state: HostState) -> None:
    assert not state.dpkg_interrupted
