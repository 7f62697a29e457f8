"""The GPU itself: fallen off the bus, refusing to start, complaining by XID, a narrow slot."""

from __future__ import annotations

from typing import Dict, Optional, Tuple

from .exam import Exam
from .registry import BROKEN, CERTAIN, LIKELY, POSSIBLE, RISK, Seen, finding

LOG = "root or the group adm (kernel log)"
KEEP = "cudactl doctor --bundle FILE.tar.gz  (keep the evidence before a reset or reboot)"
# XID → what it is, what NVIDIA's catalogue says to do (docs.nvidia.com/deploy/xid-errors, copy of
# 2025-10-29; research/validate.md, section 2). Those of applications (13, 31, 43, 45) are left out.
XIDS: Dict[int, Tuple[str, str]] = {
    46: ("the GPU stopped answering", "reset the GPU"),
    48: ("a double-bit memory error", "drain, reset the GPU; look at remapped rows"),
    54: ("its auxiliary power is not connected", "check the power cables"),
    62: ("its power controller stopped", "reset the GPU"),
    63: ("a row of memory is to be remapped", "drain and reset at the next occasion"),
    64: ("a row of memory could not be remapped", "reset the GPU; if it stays, replace it"),
    74: ("an NVLink error", "follow NVIDIA's NVLink workflow; check bridges and seats"),
    92: ("many corrected memory errors", "watch it; contact support if it goes on"),
    94: ("a contained memory error", "restart the application"),
    95: ("an uncontained memory error", "reset the GPU"),
    109: ("a context switch timed out", "reset the GPU"),
    119: ("its firmware (GSP) does not answer", "reset the GPU; update the driver"),
    120: ("its firmware (GSP) failed", "reset the GPU; update the driver"),
    136: ("an NVLink alarm", "reset the GPU"),
    140: ("an unrecovered memory error", "reset the GPU"),
    143: ("it could not be initialised", "reset the GPU"),
    154: ("the driver asks for a recovery", "do what the line says"),
    156: ("a resource is being retired", "reset the GPU"),
    158: ("a fatal timeout", "reset the GPU"),
}
MILD = (63, 92, 94)


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
        unknown = [g["address"] for g in exam.pci if not g.get("known_to_driver")]
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


@finding(
    "DOCTOR-XID",
    "the driver reported a fault of the GPU (XID)",
    "XIDs are the driver's fault numbers in the kernel log. Told here are those that NVIDIA's "
    "catalogue sees in the GPU, its memory, its links or its firmware; those of applications are "
    "left to the applications.",
    BROKEN,
    explains=("DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
    needs=LOG,
)
def xid(exam: Exam) -> Optional[Seen]:
    hard = [one for one in exam.xids() if one[1] in XIDS and one[1] not in MILD]
    return _xids(hard) if hard else None


@finding(
    "DOCTOR-XID-MILD",
    "the driver reported a memory event of the GPU (XID) that can wait",
    "Row remapping (63), many corrected errors (92) and contained errors (94): the GPU goes on, "
    "and "
    "wants a reset at the next occasion.",
    RISK,
    needs=LOG,
)
def xid_mild(exam: Exam) -> Optional[Seen]:
    mild = [one for one in exam.xids() if one[1] in MILD]
    return _xids(mild) if mild else None


def _xids(found: "list[Tuple[str, int, str]]") -> Seen:
    numbers = {number: (address, line) for address, number, line in found}
    seen = ["XID %d on %s: %s" % (n, numbers[n][0], XIDS[n][0]) for n in sorted(numbers)]
    return Seen(
        [*seen, found[-1][2]],
        ["signs.log"],
        [KEEP, *("XID %d: %s" % (n, XIDS[n][1]) for n in sorted(numbers))],
        LIKELY,
        ("an application that misuses the GPU: then other applications run well on it",),
    )


@finding(
    "DOCTOR-SXID",
    "an NVSwitch reported a fault (SXID)",
    "SXIDs are the NVSwitches' fault numbers in the kernel log; fatal ones end every job on the "
    "machine's NVLink fabric.",
    explains=("DOCTOR-FABRIC-DOWN", "DOCTOR-CUDA-INIT"),
    needs=LOG,
)
def sxid(exam: Exam) -> Optional[Seen]:
    found = exam.sxids()
    if not found:
        return None
    fatal = [
        one for one in found if "fatal" in one[2].lower() and "non-fatal" not in one[2].lower()
    ]
    return Seen(
        [line for _, _, line in (fatal or found)[-3:]],
        ["signs.log"],
        [
            KEEP,
            "sudo systemctl restart nvidia-fabricmanager  (after draining the machine)",
            "if it comes again: reset all GPUs, then have the baseboard replaced",
        ],
        CERTAIN if fatal else LIKELY,
    )


@finding(
    "DOCTOR-PCIE-ERRORS",
    "the PCIe link of the GPU has errors",
    "The kernel reports AER errors of the slot or the GPU. Corrected ones cost speed, others end "
    "in "
    "XID 79: seats, risers and cables are the usual causes.",
    RISK,
    needs=LOG,
)
def pcie_errors(exam: Exam) -> Optional[Seen]:
    addresses = [g["address"] for g in exam.gpus]
    lines = [
        line
        for line in exam.said(r"PCIe Bus Error|AER:.*(error|uncorrect)")
        if any(address in line for address in addresses)
    ]
    if not lines:
        return None
    return Seen(
        ["%d lines, the last: %s" % (len(lines), lines[-1])],
        ["signs.log"],
        ["reseat the GPU and its riser; check its cables", "sudo lspci -vv -s " + addresses[0]],
        LIKELY,
    )


@finding(
    "DOCTOR-PCIE-WIDTH",
    "the GPU's PCIe link is narrower than GPU and slot allow",
    "The number of lanes does not change with load, so fewer lanes than both sides offer means a "
    "bad seat, riser or contact. (The link's speed does change, and is not judged here.)",
    RISK,
)
def pcie_width(exam: Exam) -> Optional[Seen]:
    seen = []
    for gpu in exam.pci:
        try:
            width, most = (
                int(gpu["width"]),
                min(int(gpu["width_of_gpu"]), int(gpu["width_of_slot"])),
            )
        except (TypeError, ValueError):
            continue
        if 0 < width < most:
            seen.append("%s runs with %d lanes of %d" % (gpu["address"], width, most))
    if not seen:
        return None
    return Seen(
        seen,
        ["signs.device.gpus"],
        [
            "reseat the GPU and its riser",
            "look at the slot's settings in the firmware (bifurcation)",
        ],
        POSSIBLE,
        ("the slot is wired with fewer lanes than its port says: common on desktop boards",),
    )
