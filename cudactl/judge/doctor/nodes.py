"""Device files: missing, not allowed, denied by a container's rules."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from .exam import Exam
from .registry import CERTAIN, LIKELY, Seen, finding

ANSWERS = ("DOCTOR-NVML", "DOCTOR-CUDA-INIT")


def _files(exam: Exam) -> List[Dict[str, Any]]:
    return list(exam.sign("nodes").get("files") or [])


def _made_when_needed(exam: Exam) -> bool:
    """On a host, the first program that uses the GPU has nvidia-modprobe make what is missing."""
    return bool(exam.sign("nodes").get("made_when_needed")) and not exam.in_container


@finding(
    "DOCTOR-DEVICE-NODES",
    "the module is loaded, and its device files are missing",
    "/dev/nvidiactl and /dev/nvidia0… are made by nvidia-modprobe or udev, on a host at the "
    "latest by "
    "the first program that uses the GPU, if nvidia-modprobe is there and setuid root. Without "
    "them "
    "nothing reaches the GPU; in a container they were not handed in.",
    explains=(*ANSWERS, "DOCTOR-UVM-NODE", "DOCTOR-CDI-STALE"),
)
def device_nodes(exam: Exam) -> Optional[Seen]:
    if not exam.loaded or not exam.gpus or exam.wsl or _made_when_needed(exam):
        return None
    missing = [] if "/dev/nvidiactl" in exam.node_paths else ["/dev/nvidiactl"]
    there = [p for p in exam.node_paths if re.match(r"^/dev/nvidia\d+$", p)]
    known = [g for g in exam.pci if g.get("known_to_driver")]
    few = not exam.in_container and len(there) < len(known)
    if not missing and there and not few:
        return None
    if exam.in_container:
        remedy = ["start the container with --gpus all, or --device nvidia.com/gpu=all (CDI)"]
    else:
        remedy = [
            "sudo nvidia-modprobe -c0 -u  (once per GPU: -c0, -c1, …)",
            "sudo systemctl enable --now nvidia-persistenced  (makes them at boot)",
            "ls -l /usr/bin/nvidia-modprobe  (must be setuid root: -rwsr-xr-x)",
        ]
    return Seen(
        ["driver %s is loaded" % exam.loaded]
        + ["no " + path for path in missing]
        + ["%d of %d /dev/nvidiaN are there" % (len(there), max(len(known), 1))],
        ["state.device_nodes", "state.module.loaded"],
        remedy,
    )


@finding(
    "DOCTOR-UVM-NODE",
    "/dev/nvidia-uvm is missing: nvidia-smi works, CUDA does not",
    "NVML needs only /dev/nvidiactl, CUDA also needs /dev/nvidia-uvm, which is made when the "
    "module "
    "nvidia_uvm is loaded and nvidia-modprobe ran. cuInit then answers 999 or 100.",
    explains=("DOCTOR-CUDA-INIT",),
)
def uvm_node(exam: Exam) -> Optional[Seen]:
    if not exam.loaded or not exam.gpus or exam.wsl or "/dev/nvidia-uvm" in exam.node_paths:
        return None
    if "/dev/nvidiactl" not in exam.node_paths or _made_when_needed(exam):
        return None
    loaded = "nvidia_uvm" in exam.loaded_modules
    return Seen(
        ["no /dev/nvidia-uvm", "nvidia_uvm is %sloaded" % ("" if loaded else "not ")],
        ["state.device_nodes", "signs.modules.loaded"],
        [
            "start the container with --gpus all, not with single --device arguments"
            if exam.in_container
            else "sudo nvidia-modprobe -u -c0",
            "so that it comes at boot: sudo systemctl enable --now nvidia-persistenced, and a line "
            "nvidia_uvm in /etc/modules-load.d/",
        ],
    )


@finding(
    "DOCTOR-UVM-STALE",
    "/dev/nvidia-uvm has another major number than the kernel gave out",
    "The number of nvidia-uvm is given anew at every load; a device file from before (a "
    "container's "
    "copy, a mknod in a script) leads nowhere.",
    explains=ANSWERS,
)
def uvm_stale(exam: Exam) -> Optional[Seen]:
    majors = exam.sign("nodes").get("majors") or {}
    for node in _files(exam):
        name = "nvidia-uvm" if "uvm" in node["path"] else None
        wanted = majors.get(name or "")
        if name and wanted and node["major"] is not None and node["major"] != wanted:
            return Seen(
                ["%s has major %d, /proc/devices says %d" % (node["path"], node["major"], wanted)],
                ["signs.nodes"],
                ["sudo rm %s" % node["path"], "sudo nvidia-modprobe -u -c0"],
            )
    return None


@finding(
    "DOCTOR-NODE-PERMISSION",
    "the device files may not be opened by this user",
    "NVIDIA's files are open to everybody unless NVreg_DeviceFileMode or NVreg_DeviceFileGID say "
    "otherwise, or udev changed them.",
    explains=ANSWERS,
    needs="to be run as the user whose programs fail",
)
def node_permission(exam: Exam) -> Optional[Seen]:
    closed = [
        n for n in _files(exam) if n.get("allowed") is False or n.get("open_error") == "EACCES"
    ]
    if not closed or exam.state.get("euid") == 0:
        return None
    one = closed[0]
    return Seen(
        [
            "%s: mode %s, owner %s, group %s" % (n["path"], n["mode"], n["uid"], n["gid"])
            for n in closed[:3]
        ],
        ["signs.nodes.files"],
        [
            "if a group is meant to have them: sudo usermod -aG $(stat -c %%G %s) $USER, log in "
            "anew" % one["path"],
            "otherwise: sudo chmod 0666 %s, and look for NVreg_DeviceFileMode in /etc/modprobe.d"
            % one["path"],
        ],
    )


@finding(
    "DOCTOR-CGROUP",
    "a control group denies the device files: the process is in a container or unit without them",
    "The mode of the files would allow it and the kernel says EPERM: a device controller denies "
    "it. "
    "It happens to containers after 'systemctl daemon-reload' (their rules are written anew "
    "without "
    "the GPUs), to Slurm jobs without --gres, and to units with DevicePolicy=.",
    explains=ANSWERS,
)
def cgroup(exam: Exam) -> Optional[Seen]:
    denied = [n["path"] for n in _files(exam) if n.get("open_error") == "EPERM"]
    if not denied:
        return None
    if "slurm" in (exam.state.get("owners") or []) and not exam.in_container:
        remedy = ["ask Slurm for a GPU: srun --gres=gpu:1 …"]
    else:
        remedy = [
            "restart the container",
            "so that it does not come back: use CDI (--device nvidia.com/gpu=all), or sudo "
            "nvidia-ctk "
            "system create-dev-char-symlinks --create-all on the host",
        ]
    return Seen(
        ["opening %s: EPERM" % path for path in denied],
        ["signs.nodes.files"],
        remedy,
        CERTAIN if exam.in_container else LIKELY,
    )
