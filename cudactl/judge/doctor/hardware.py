"""The GPU itself: fallen off the bus, refusing to start, complaining by XID, a narrow slot."""

from __future__ import annotations

from typing import Optional

from .exam import Exam, reading_name
from .registry import CERTAIN, LIKELY, Seen, finding

LOG = "root or the group adm (kernel log)"
KEEP = "cudactl doctor --bundle FILE.tar.gz  (keep the evidence before a reset or reboot)"
GPU_IS_LOST = 15  # nvml.h


@finding(
    "DOCTOR-GPU-OFF-BUS",
    "the GPU has fallen off the PCI bus",
    "The device is still listed and no longer answers: its configuration space reads as all ones, "
    "or the driver reported XID 79. Causes are power, heat, the slot or riser, or the GPU; a reset "
    "of the GPU cannot bring it back, a power cycle of the machine can.",
    explains=(
        *("DOCTOR-GPU-INIT", "DOCTOR-XID", "DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
        *("DOCTOR-DEVICE-NODES", "DOCTOR-DRIVER-HANGS", "DOCTOR-PCIE-ERRORS"),
    ),
    needs=LOG,
)
def off_bus(exam: Exam) -> Optional[Seen]:
    gone = [g["address"] for g in exam.pci if g.get("answers") is False]
    gone += [reading_name(one) for one in exam.readings if one.get("handle_code") == GPU_IS_LOST]
    lines = [line for _, xid, line in exam.xids() if xid == 79]
    lines += exam.said(r"NVRM:.*fallen off the bus")
    if not gone and not lines:
        return None
    return Seen(
        ["%s does not answer on the PCI bus" % address for address in gone]
        + list(dict.fromkeys(lines))[-2:],
        ["signs.device.gpus", "signs.log"],
        [
            KEEP,
            "drain the machine; switch it off and on (a warm reboot may not be enough)",
            "if it happens again: check power cables, temperature and seat, then replace the GPU",
        ],
        CERTAIN,
        ("a driver fault: then the device would still answer on the bus",) if gone else (),
    )


@finding(
    "DOCTOR-OPEN-REQUIRED",
    "this GPU works only with NVIDIA's open kernel modules, and the proprietary ones are loaded",
    "Blackwell and Grace Hopper need the open kernel modules; the proprietary module says so in "
    "the "
    "kernel log and ignores the GPU.",
    explains=(
        *("DOCTOR-GPU-INIT", "DOCTOR-NVML", "DOCTOR-CUDA-INIT", "DOCTOR-DEVICE-NODES"),
        "DOCTOR-NOT-LOADED",
    ),
    needs=LOG,
)
def open_required(exam: Exam) -> Optional[Seen]:
    lines = exam.said(r"requires use of the NVIDIA open kernel modules")
    if not lines:
        return None
    branch = (exam.loaded or "").split(".")[0] or "BRANCH"
    return Seen(
        lines[-2:],
        ["signs.log", "state.module.flavour"],
        [
            "sudo apt-get install nvidia-open  (NVIDIA's repository)",
            "sudo apt-get install nvidia-driver-%s-open  (Ubuntu's archive)" % branch,
            "reboot",
        ],
    )


@finding(
    "DOCTOR-OPEN-UNSUPPORTED",
    "this GPU is too old for the open kernel modules",
    "The open modules need a GPU with a GSP: Turing and newer. Maxwell, Pascal and Volta need the "
    "proprietary modules of a branch up to 580.",
    explains=(
        *("DOCTOR-GPU-INIT", "DOCTOR-NVML", "DOCTOR-CUDA-INIT", "DOCTOR-DEVICE-NODES"),
        "DOCTOR-NOT-LOADED",
    ),
    needs=LOG,
)
def open_unsupported(exam: Exam) -> Optional[Seen]:
    lines = exam.said(
        r"is not supported by open|does not include the required GPU System Processor"
    )
    if not lines:
        return None
    return Seen(
        lines[-2:],
        ["signs.log", "state.module.flavour"],
        ["sudo apt-get install nvidia-driver-580  (proprietary modules)", "reboot"],
    )


@finding(
    "DOCTOR-GPU-LEGACY",
    "this GPU is too old for the installed driver branch",
    "NVIDIA's branches drop old GPUs: from 590 on Maxwell, Pascal and Volta are ignored. The "
    "kernel "
    "log names the last branch that drives the GPU.",
    explains=(
        *("DOCTOR-GPU-INIT", "DOCTOR-NVML", "DOCTOR-CUDA-INIT", "DOCTOR-DEVICE-NODES"),
        "DOCTOR-NOT-LOADED",
    ),
    needs=LOG,
)
def legacy(exam: Exam) -> Optional[Seen]:
    lines = exam.said(r"Legacy drivers|driver will ignore\s+this GPU")
    if not lines:
        return None
    return Seen(
        lines[-2:],
        ["signs.log"],
        [
            "install the branch that the log names, and hold it: sudo apt-get install "
            "nvidia-driver-580; sudo apt-mark hold nvidia-driver-580",
            "reboot",
        ],
    )


@finding(
    "DOCTOR-BAR",
    "the firmware gave the GPU no room in the address space (BAR)",
    "Large GPUs need memory above 4 GB mapped by the firmware; without it the module refuses: "
    "'PCI I/O region assigned to your NVIDIA device is invalid'.",
    explains=(
        *("DOCTOR-GPU-INIT", "DOCTOR-NVML", "DOCTOR-CUDA-INIT", "DOCTOR-DEVICE-NODES"),
        "DOCTOR-NOT-LOADED",
    ),
    needs=LOG,
)
def bar(exam: Exam) -> Optional[Seen]:
    lines = exam.said(r"PCI I/O region assigned to your NVIDIA device is invalid|BAR\d is 0M @ 0x0")
    if not lines:
        return None
    return Seen(
        lines[-2:],
        ["signs.log"],
        [
            "in the firmware: switch on 'Above 4G decoding' (and Resizable BAR), or in a virtual "
            "machine a UEFI firmware with a large MMIO window",
            "or boot with pci=realloc",
        ],
        LIKELY,
    )


@finding(
    "DOCTOR-GSP-FIRMWARE",
    "the driver's GPU firmware (GSP) is missing on disk",
    "The module loads gsp_*.bin from /lib/firmware/nvidia/<version>/; a firmware package of "
    "another "
    "version, or none, leaves the GPU dead.",
    explains=("DOCTOR-GPU-INIT", "DOCTOR-NVML", "DOCTOR-CUDA-INIT", "DOCTOR-DEVICE-NODES"),
    needs=LOG,
)
def gsp_firmware(exam: Exam) -> Optional[Seen]:
    lines = exam.said(
        r"(failed to load|No firmware image found|Direct firmware load).*(gsp|GspRm)?"
    )
    lines = [line for line in lines if "gsp" in line.lower()]
    if not lines:
        return None
    version = exam.loaded or "VERSION"
    return Seen(
        lines[-2:],
        ["signs.log"],
        [
            "ls /lib/firmware/nvidia/%s/" % version,
            "sudo apt-get install --reinstall %s"
            % " ".join(
                sorted(exam.names(r"nvidia-firmware-.*|nvidia-kernel-common-.*"))
                or ["the firmware package of driver " + version]
            ),
            "reboot",
        ],
    )


@finding(
    "DOCTOR-GPU-INIT",
    "the GPU is on the PCI bus, and the driver could not start it",
    "The driver's list of GPUs is shorter than PCI's, or the kernel log says RmInitAdapter failed. "
    "It may be the GPU, its power, its firmware, or a module that does not suit it.",
    explains=("DOCTOR-NVML", "DOCTOR-CUDA-INIT", "DOCTOR-DEVICE-NODES"),
    needs=LOG,
)
def gpu_init(exam: Exam) -> Optional[Seen]:
    unknown = []
    if exam.loaded and exam.sign("device").get("driver_has_list") and not exam.in_container:
        unknown = [
            g["address"]
            for g in exam.pci
            if not g.get("known_to_driver") and not g.get("virtual_function")
        ]
    lines = exam.said(r"rm_?init_?adapter failed")
    if not unknown and not lines:
        return None
    return Seen(
        ["%s is on the PCI bus and not in the driver's list" % one for one in unknown] + lines[-2:],
        ["signs.device.gpus", "signs.log"],
        [
            KEEP,
            "sudo dmesg | grep -i nvrm  (what it said before it failed)",
            "reboot; if it stays, switch the machine off and on",
            "if it stays: exchange the GPU with one that works, to tell the slot from the GPU",
        ],
        LIKELY,
        ("a module of the wrong flavour: the kernel log would say so",),
    )
