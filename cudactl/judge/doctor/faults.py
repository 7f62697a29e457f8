"""What the GPUs and NVSwitches report of themselves: memory, recovery, heat, XIDs, SXIDs, PCIe."""

from __future__ import annotations

from typing import Dict, Optional, Tuple

from .exam import Exam, reading_name
from .hardware import KEEP, LOG
from .registry import BROKEN, CERTAIN, LIKELY, POSSIBLE, RISK, Seen, finding

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
# nvml.h, NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
RECOVERY = {
    1: ("a reset of the GPU", "with nothing on it: sudo nvidia-smi --gpu-reset -i GPU"),
    2: ("a reboot of the machine", "reboot"),
    3: ("draining its peers", "end every job that uses NVLink between the GPUs"),
    4: ("draining and a reset", "end every job on it, then: sudo nvidia-smi --gpu-reset -i GPU"),
    5: ("a recovery of IMEX", "sudo systemctl restart nvidia-imex"),
}
# nvml.h, clocks event reasons: slowdown by hardware, by heat, by power brake
HELD_DOWN = {
    0x8: "slowdown by hardware",
    0x20: "heat",
    0x40: "heat (hardware)",
    0x80: "power brake",
}


@finding(
    "DOCTOR-REMAP-FAILED",
    "the GPU's memory has a fault that could not be mapped away: it wants to be replaced",
    "From Ampere on, a faulty row of memory is replaced by a spare one; where none is left, the "
    "driver says so. NVIDIA's advice is to replace the GPU.",
    explains=("DOCTOR-RECOVERY", "DOCTOR-REMAP-PENDING", "DOCTOR-XID", "DOCTOR-XID-MILD"),
)
def remap_failed(exam: Exam) -> Optional[Seen]:
    bad = [reading_name(one) for one in exam.readings if one.get("remap_failure")]
    if not bad:
        return None
    return Seen(
        ["%s: row remapping failed" % one for one in bad],
        ["health.gpus"],
        [KEEP, "nvidia-smi -q -d ROW_REMAPPER", "take it out of use; have it replaced"],
    )


@finding(
    "DOCTOR-RECOVERY",
    "the driver itself asks for a recovery of the GPU",
    "From driver 565 on NVML says what a GPU needs to get well: a reset, a reboot, or to be "
    "drained "
    "first. What led to it stands in the kernel log as an XID.",
    explains=("DOCTOR-XID", "DOCTOR-XID-MILD", "DOCTOR-REMAP-PENDING", "DOCTOR-CUDA-INIT"),
)
def recovery(exam: Exam) -> Optional[Seen]:
    asked = [(reading_name(one), one.get("recovery_action")) for one in exam.readings]
    asked = [(name, action) for name, action in asked if action in RECOVERY]
    if not asked:
        return None
    actions = sorted({int(str(action)) for _, action in asked})
    return Seen(
        ["%s asks for %s" % (name, RECOVERY[int(str(action))][0]) for name, action in asked],
        ["health.gpus"],
        [KEEP, *(RECOVERY[action][1] for action in actions)],
    )


@finding(
    "DOCTOR-REMAP-PENDING",
    "rows of the GPU's memory are to be mapped away, which waits for a reset",
    "The GPU goes on with the faulty row set aside; the spare one is used after the next reset.",
    RISK,
    explains=("DOCTOR-XID-MILD",),
)
def remap_pending(exam: Exam) -> Optional[Seen]:
    bad = [one for one in exam.readings if one.get("remap_pending") or one.get("retired_pending")]
    if not bad:
        return None
    return Seen(
        ["%s: a repair of its memory is pending" % reading_name(one) for one in bad],
        ["health.gpus"],
        ["at the next occasion, with nothing on it: sudo nvidia-smi --gpu-reset -i GPU"],
    )


@finding(
    "DOCTOR-THROTTLED",
    "the GPU holds its clocks down, because of heat or power",
    "Asked at this moment only: the driver reports a slowdown by hardware, by temperature or by "
    "the "
    "power brake. A power cap alone is normal under load and not told here.",
    RISK,
)
def throttled(exam: Exam) -> Optional[Seen]:
    seen = []
    for one in exam.readings:
        mask = one.get("reasons")
        if isinstance(mask, int):
            why = [text for bit, text in HELD_DOWN.items() if mask & bit]
            seen += ["%s: %s" % (reading_name(one), ", ".join(why))] if why else []
    if not seen:
        return None
    return Seen(
        seen,
        ["health.gpus"],
        [
            "nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER",
            "heat: fans, air flow, dust; power brake: power supplies and cables",
        ],
        LIKELY,
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
