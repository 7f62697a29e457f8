"""Locks and states that planning tests start from."""

from __future__ import annotations

import pytest

from cudactl.contracts.lock import LockedPackage, LockSource, LockTarget, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.state import HostState


def package(name: str, version: str, component: str = "cuda", **more: object) -> LockedPackage:
    values: dict[str, object] = {
        "name": name,
        "version": version,
        "arch": "amd64",
        "sha256": "ab" * 32,
        "size": 1_000_000,
        "source": "nvidia",
        "component": component,
        "filename": f"./{name}_{version}_amd64.deb",
        "why": "a test",
        "installed_bytes": 3_000_000,
    }
    return LockedPackage.model_validate({**values, **more})


@pytest.fixture
def apt_lock() -> StackLock:
    spec = StackSpec(os="ubuntu-24.04", cuda="13.0", cudnn="9")
    return StackLock(
        spec=spec,
        spec_hash="1" * 64,
        catalogue_hash="2" * 64,
        target=LockTarget(os="ubuntu-24.04", arch="x86_64", packages="apt"),
        resolved={"cuda": "13.0.2", "cudnn": "9.13.0.50", "driver": "580.95.05"},
        driver_flavour="open",
        sources=[
            LockSource(
                name="nvidia",
                kind="apt",
                url="http://mirror.invalid/ubuntu2404/x86_64/",
                vendor=False,
                fingerprint="F" * 40,
                signing_key="-----BEGIN PGP PUBLIC KEY BLOCK-----\n…\n",
            )
        ],
        packages=[
            package("cuda-cudart-13-0", "13.0.96-1"),
            package("cuda-toolkit-13-0", "13.0.2-1", top_level=True),
            package("libcudnn9-cuda-13", "9.13.0.50-1", "cudnn", top_level=True),
            package("nvidia-open-580", "580.95.05-1ubuntu1", "driver", top_level=True),
        ],
    )


@pytest.fixture
def wheel_lock() -> StackLock:
    spec = StackSpec(os="debian-12", cuda="13.0", packages="wheels")
    return StackLock(
        spec=spec,
        spec_hash="1" * 64,
        catalogue_hash="2" * 64,
        target=LockTarget(os="debian-12", arch="x86_64", packages="wheels", python="cp311"),
        resolved={"cuda": "13.0.2"},
        sources=[
            LockSource(name="pypi", kind="wheels", url="https://index.invalid/simple/", vendor=True)
        ],
        packages=[
            package(
                "nvidia-cuda-nvcc",
                "13.0.88",
                source="pypi",
                filename="nvidia_cuda_nvcc-13.0.88-py3-none-manylinux2014_x86_64.whl",
            ),
            package(
                "tensorrt-rtx-cu13-bindings",
                "1.7.1.116",
                "tensorrt_rtx",
                source="pypi",
                filename="tensorrt_rtx_cu13_bindings-1.7.1.116-cp311-none-manylinux_2_28_x86_64.whl",
            ),
        ],
    )


def bare_state(**more: object) -> HostState:
    """A freshly installed host."""
    values: dict[str, object] = {
        "probe_version": "0",
        "taken_at": 2000.0,
        "duration_s": 0.1,
        "euid": 0,
        "hostname": "h1",
        "machine_id": "m" * 32,
        "boot_id": "b",
        "os": {
            "id": "ubuntu",
            "version_id": "24.04",
            "codename": "noble",
            "pretty": "Ubuntu 24.04.3 LTS",
            "look_alike": False,
        },
        "machine": "x86_64",
        "dpkg_arch": "amd64",
        "virtualization": None,
        "kernel": {
            "running": "6.8.0-31-generic",
            "newest_installed": "6.8.0-31-generic",
            "headers": [],
            "secure_boot": None,
        },
        "python": {"version": "3.12.3", "executable": "/usr/bin/python3", "tag": "cp312"},
        "packages": {"libc6": "2.39", "build-essential": "12"},
        "holds": [],
        "broken": [],
        "dpkg_locked": False,
        "apt_sources": [],
        "files": [],
        "stacks": [],
        "active_stack": None,
        "module": {"loaded": None, "flavour": None, "on_disk": {}, "nouveau": False},
        "gpus": [],
        "device_nodes": [],
        "gpu_processes": [],
        "disks": [{"path": "/", "free_bytes": 50_000_000_000, "total_bytes": 90_000_000_000}],
        "container_engines": [],
        "owners": [],
        "reboot_required": False,
        "unattended_upgrades": False,
        "host_lock": None,
        "certificate": None,
    }
    return HostState.model_validate({**values, **more})


@pytest.fixture
def state() -> HostState:
    return bare_state()


@pytest.fixture
def debian_state() -> HostState:
    return bare_state(
        os={
            "id": "debian",
            "version_id": "12",
            "codename": "bookworm",
            "pretty": "Debian GNU/Linux 12",
            "look_alike": False,
        },
        python={"version": "3.11.2", "executable": "/usr/bin/python3", "tag": "cp311"},
    )
