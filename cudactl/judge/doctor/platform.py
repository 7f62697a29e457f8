"""Where the machine is no plain host: WSL, a GPU given to a virtual machine, vGPU."""

from __future__ import annotations

from typing import Optional

from .exam import Exam
from .registry import CERTAIN, LIKELY, POSSIBLE, RISK, Seen, finding

AFTER_DRIVER = (
    *("DOCTOR-NO-DRIVER", "DOCTOR-NOT-LOADED", "DOCTOR-DEVICE-NODES", "DOCTOR-CUDA-INIT"),
    *("DOCTOR-DRIVER-LIBRARIES", "DOCTOR-VERSION-MISMATCH", "DOCTOR-NVML"),
)


@finding(
    "DOCTOR-WSL-DRIVER",
    "a Linux driver was installed inside WSL, where the driver is Windows's",
    "Under WSL the GPU's driver is the Windows one; its libcuda lies in /usr/lib/wsl/lib. Packages "
    "such as cuda, cuda-drivers or nvidia-driver-* put a second libcuda in front of it, which has "
    "no kernel module to talk to. NVIDIA's wsl-ubuntu repository holds toolkits without a driver.",
    explains=AFTER_DRIVER,
)
def wsl_driver(exam: Exam) -> Optional[Seen]:
    if not exam.wsl or not exam.driver_packages:
        return None
    names = exam.driver_packages
    return Seen(
        ["WSL", "installed: " + ", ".join(names[:6])],
        ["state.virtualization", "state.packages"],
        [
            "sudo apt-get purge " + " ".join(names),
            "use NVIDIA's wsl-ubuntu repository, and cuda-toolkit-X-Y instead of cuda",
        ],
    )


@finding(
    "DOCTOR-WSL-NO-GPU",
    "Windows gives this WSL guest no GPU: its driver's library or /dev/dxg is missing",
    "WSL 2 mounts the Windows driver's libraries to /usr/lib/wsl/lib and offers the GPU as "
    "/dev/dxg. Both are missing where Windows has no NVIDIA driver, or the guest is WSL 1.",
    explains=("DOCTOR-DRIVER-LIBRARIES",),
)
def wsl_no_gpu(exam: Exam) -> Optional[Seen]:
    if not exam.wsl:
        return None
    mounted = [one for one in exam.libraries if one["path"].startswith("/usr/lib/wsl/")]
    device = bool(exam.sign("nodes").get("wsl"))
    if mounted and device:
        return None
    seen = [] if mounted else ["no libcuda.so.1 in /usr/lib/wsl/lib"]
    seen += [] if device else ["no /dev/dxg"]
    return Seen(
        ["WSL", *seen],
        ["signs.loader.found", "signs.nodes.wsl"],
        [
            "install or update NVIDIA's driver in Windows",
            "in Windows: wsl --update, then wsl --shutdown",
            "wsl -l -v must say VERSION 2 for this distribution",
        ],
        LIKELY,
    )


@finding(
    "DOCTOR-VFIO",
    "the GPU is set aside for a virtual machine (bound to vfio-pci)",
    "A GPU bound to vfio-pci is passed through to a guest; the host's driver does not get it. "
    "That is often wanted.",
    explains=("DOCTOR-NOT-LOADED", "DOCTOR-GPU-INIT", "DOCTOR-NO-DRIVER", "DOCTOR-DEVICE-NODES"),
)
def vfio(exam: Exam) -> Optional[Seen]:
    bound = [g["address"] for g in exam.gpus if g.get("driver") == "vfio-pci"]
    if not bound:
        return None
    return Seen(
        ["%s is bound to vfio-pci" % address for address in bound],
        ["state.gpus"],
        [
            "if the host shall use it: take its id from vfio-pci's ids= in /etc/modprobe.d and the "
            "kernel command line, sudo update-initramfs -u, reboot",
            "if a guest shall use it: run doctor in the guest",
        ],
        CERTAIN,
    )


@finding(
    "DOCTOR-VGPU-LICENCE",
    "the vGPU guest has no licence, and its GPU is slowed down",
    "A vGPU guest takes a licence from a server through nvidia-gridd; without one the GPU works "
    "for a while and is then limited.",
    RISK,
    needs="root or the group adm (kernel log)",
)
def vgpu_licence(exam: Exam) -> Optional[Seen]:
    lines = exam.said(
        r"(nvidia-gridd|vGPU).*(unlicensed|failed to acquire|licen[sc]e.*(expired|error))"
    )
    if not lines:
        return None
    return Seen(
        lines[-2:],
        ["signs.log"],
        [
            "nvidia-smi -q | grep -i -A1 licen",
            "check ServerAddress or the client token in /etc/nvidia (gridd.conf, "
            "ClientConfigToken)",
            "sudo systemctl restart nvidia-gridd",
        ],
        LIKELY,
        ("the licence server cannot be reached: the daemon's own log says so",),
    )


@finding(
    "DOCTOR-VGPU-DRIVER",
    "a vGPU guest with the ordinary driver, or the daemon for licences without its driver",
    "vGPU guests need NVIDIA's guest driver (GRID), whose version the host's manager must support. "
    "The ordinary driver refuses a vGPU, since it is no physical device.",
    explains=("DOCTOR-GPU-INIT", "DOCTOR-CUDA-INIT", "DOCTOR-NVML"),
    needs="root or the group adm (kernel log)",
)
def vgpu_driver(exam: Exam) -> Optional[Seen]:
    lines = exam.said(
        r"NVRM:.*(vGPU.*(unsupported|mismatch|version)|not a supported vGPU|requires.*vGPU)"
    )
    if not lines:
        return None
    return Seen(
        lines[-2:],
        ["signs.log"],
        [
            "ask the hypervisor's owner for the guest driver that goes with its vGPU manager",
            "sudo apt-get purge " + " ".join(exam.driver_packages or ["nvidia-driver-*"]),
        ],
        POSSIBLE,
    )
