"""A healthy GPU host as a tree of files, and how to examine it; the reds alter it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cudactl.probe.examination import examination
from cudactl.probe.files import Root

DRIVER = "580.95.05"
KERNEL = "6.8.0-31-generic"
GPU = "0000:17:00.0"
LIB = "/usr/lib/x86_64-linux-gnu"
CUDA = "/usr/local/cuda-13.0"
HOME_LIB = f"{CUDA}/targets/x86_64-linux/lib"
SIGNED = b"~Module signature appended~\n"
DRIVER_PACKAGES = (
    *("nvidia-open-580", "nvidia-dkms-580-open", "nvidia-kernel-common-580"),
    *("libnvidia-compute-580", "nvidia-utils-580"),
)
CDI_FILE = "/etc/cdi/nvidia.yaml"
REPOSITORY = "https://developer.example/compute/cuda/repos/ubuntu2404/x86_64/"


@dataclass(frozen=True)
class Link:
    """A symbolic link in a tree."""

    target: str


Tree = dict[str, Any]


def module(version: str = DRIVER, licence: str = "Dual MIT/GPL", signed: bool = True) -> bytes:
    """A kernel module, as far as anybody reads it."""
    text = f"\0license={licence}\0version={version}\0".encode()
    return b"\x7fELF" + text + (SIGNED if signed else b"")


def loaded(version: str = DRIVER, flavour: str = "Open ") -> str:
    """/proc/driver/nvidia/version."""
    return (
        f"NVRM version: NVIDIA UNIX {flavour}Kernel Module for x86_64  {version}  Release Build\n"
        "GCC version:  gcc version 13.3.0\n"
    )


def status(packages: dict[str, str], **more: str) -> str:
    """dpkg's status file; `more`: package name (with _) → further lines or another status."""
    stanzas = ["Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22.6"]
    for name, version in packages.items():
        said = more.get(name.replace("-", "_").replace(".", "_"), "install ok installed")
        words, _, rest = said.partition("\n")
        stanzas.append(
            f"Package: {name}\nStatus: {words}\nArchitecture: amd64\nVersion: {version}"
            + (f"\n{rest}" if rest else "")
        )
    return "\n\n".join(stanzas) + "\n"


def packages() -> dict[str, str]:
    """What is installed."""
    return {
        **dict.fromkeys(DRIVER_PACKAGES, f"{DRIVER}-0ubuntu1"),
        "nvidia-fabricmanager": f"{DRIVER}-1",
        "nvidia-container-toolkit": "1.18.0-1",
        "cuda-toolkit-13-0": "13.0.2-1",
        "libc6": "2.39-0ubuntu8",
    }


def legs(init: int = 0, nvml: int = 0, **reading: Any) -> dict[str, Any]:
    """What the driver answered; `reading`: what of a GPU's counters is not as it should be."""
    counters = {
        "index": 0,
        "uuid": "GPU-c0dac711-0000-4000-8000-000000000001",
        "handle_code": 0,
        "recovery_action": 0,
        "remap_pending": 0,
        "remap_failure": 0,
        "retired_pending": 0,
        "reasons": 0x4,
        **reading,
    }

    def leg(name: str, check: str, code: int) -> dict[str, Any]:
        return {
            "leg": name,
            "outcome": "ran",
            "detail": "",
            "measurements": [{"check": check, "values": {"init_code": code}, "error": None}],
        }

    health = leg("health", "health.nvml", nvml)
    gpus = {"check": "health.gpus", "values": {"gpus": [counters]}, "error": None}
    health["measurements"].append(gpus)
    return {"legs": [health, leg("driver", "driver.libcuda", init)]}


def cdi(version: str = DRIVER) -> str:
    """A CDI specification as nvidia-ctk writes it."""
    return f"""---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  mounts:
  - containerPath: {LIB}/libcuda.so.{version}
    hostPath: {LIB}/libcuda.so.{version}
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
kind: nvidia.com/gpu
"""


def healthy() -> Tree:
    """An HGX host with Ubuntu 24.04: driver by DKMS, toolkit, docker, all as it should be."""
    real = f"/sys/devices/pci0000:00/0000:16:01.0/{GPU}"
    return {
        "/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n',
        "/etc/hostname": "gpu-01\n",
        "/etc/machine-id": "c" * 32 + "\n",
        "/proc/sys/kernel/osrelease": KERNEL + "\n",
        "/proc/sys/kernel/random/boot_id": "boot-1\n",
        "/proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda2 ro quiet\n",
        "/proc/modules": "nvidia_uvm 1 2 - Live\nnvidia_drm 1 2 - Live\nnvidia 1 2 - Live\n",
        "/proc/devices": "Character devices:\n195 nvidia\n509 nvidia-uvm\n",
        "/proc/driver/nvidia/version": loaded(),
        f"/proc/driver/nvidia/gpus/{GPU}/information": "Model: \t NVIDIA H200\nIRQ: 1\n"
        "GPU UUID: \t GPU-c0dac711-0000-4000-8000-000000000001\nDevice Minor: \t 0\n",
        "/proc/812/comm": "nvidia-persiste\n",
        "/proc/813/comm": "nv-fabricmanage\n",
        "/proc/814/comm": "python3\n",
        "/proc/814/maps": f"7f00-7f01 r-xp 0 08:02 1 {LIB}/libcuda.so.{DRIVER}\n",
        f"/sys/bus/pci/devices/{GPU}": Link(f"../../../devices/pci0000:00/0000:16:01.0/{GPU}"),
        "/sys/devices/pci0000:00/0000:16:01.0/max_link_width": "16\n",
        f"{real}/vendor": "0x10de\n",
        f"{real}/class": "0x030200\n",
        f"{real}/device": "0x2335\n",
        f"{real}/config": b"\xde\x10\x35\x23" + b"\0" * 60,
        f"{real}/current_link_width": "16\n",
        f"{real}/max_link_width": "16\n",
        f"{real}/driver": Link("/sys/bus/pci/drivers/nvidia"),
        "/sys/bus/pci/devices/0000:81:00.0/vendor": "0x10de\n",
        "/sys/bus/pci/devices/0000:81:00.0/class": "0x068000\n",
        "/sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        "/dev/nvidiactl": "",
        "/dev/nvidia0": "",
        "/dev/nvidia-uvm": "",
        "/dev/nvidia-uvm-tools": "",
        "/dev/kmsg": "6,1,1,-;Linux version 6.8.0\n"
        f"6,2,9,-;NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  {DRIVER}\n",
        f"/lib/modules/{KERNEL}/kernel/x": "",
        f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko": module(),
        f"/usr/src/linux-headers-{KERNEL}/Makefile": "",
        f"/var/lib/dkms/nvidia/{DRIVER}/{KERNEL}/x86_64/module/nvidia.ko": "",
        f"/var/lib/dkms/nvidia/{DRIVER}/source": Link(f"/usr/src/nvidia-{DRIVER}"),
        "/etc/modprobe.d/nvidia-graphics-drivers.conf": "blacklist nouveau\n",
        "/boot/initrd.img-" + KERNEL: b"x" * 4096,
        "/var/lib/dpkg/status": status(packages()),
        "/var/lib/dpkg/info/cuda-cudart-13-0.list": f"{HOME_LIB}/libcudart.so.13.0.96\n",
        "/etc/apt/sources.list.d/cuda-ubuntu2404-x86_64.list": "deb "
        f"[signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] {REPOSITORY} /\n",
        "/etc/ld.so.conf.d/zz_cuda-13.conf": HOME_LIB + "\n",
        f"{LIB}/libcuda.so.1": Link(f"libcuda.so.{DRIVER}"),
        f"{LIB}/libcuda.so.{DRIVER}": "x",
        f"{LIB}/libnvidia-ml.so.1": Link(f"libnvidia-ml.so.{DRIVER}"),
        f"{LIB}/libnvidia-ml.so.{DRIVER}": "x",
        f"{LIB}/libcudnn.so.9": Link("libcudnn.so.9.13.0"),
        f"{LIB}/libcudnn.so.9.13.0": "x",
        f"{LIB}/libcudnn_ops.so.9": Link("libcudnn_ops.so.9.13.0"),
        f"{LIB}/libcudnn_ops.so.9.13.0": "x",
        f"{LIB}/libnvinfer.so.10.13.3": "x",
        f"{LIB}/libnvinfer_plugin.so.10.13.3": "x",
        f"{HOME_LIB}/libcudart.so.13": Link("libcudart.so.13.0.96"),
        f"{HOME_LIB}/libcudart.so.13.0.96": "x",
        f"{CUDA}/version.json": '{"cuda": {"version": "13.0.2"}}',
        "/usr/local/cuda": Link("cuda-13.0"),
        f"{CUDA}/bin/nvcc": "x",
        "/usr/bin/dockerd": "x",
        "/usr/bin/nvidia-ctk": "x",
        "/usr/bin/nvidia-container-runtime": "x",
        "/etc/docker/daemon.json": json.dumps(
            {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}
        ),
        "/etc/nvidia-container-runtime/config.toml": '[nvidia-container-runtime]\nmode = "auto"\n',
        CDI_FILE: cdi(),
        "/environ": f"PATH={CUDA}/bin:/usr/bin\nHOME=/root\n",
        "/synchronised": "yes",
        "/legs.json": json.dumps(legs()),
    }


def write(tree: Tree, folder: Path) -> Path:
    """Write a tree below `folder`."""
    for name, content in tree.items():
        path = folder / name.lstrip("/")
        if isinstance(content, Link):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(content.target)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    return folder


def examine(tree: Tree, folder: Path) -> dict[str, Any]:
    """Return the Examination document of a tree; the disks of the machine at hand are left out."""
    document = examination(Root(str(write(tree, folder))))
    document["state"]["disks"] = [
        {"path": path, "free_bytes": 50 << 30, "total_bytes": 100 << 30}
        for path in ("/", "/boot", "/var", "/opt")
    ]
    return document
