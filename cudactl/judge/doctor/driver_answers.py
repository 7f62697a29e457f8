"""What the driver itself answers, where nothing below explains it. Said last."""

from __future__ import annotations

from typing import Optional

from .exam import Exam
from .registry import CERTAIN, LIKELY, POSSIBLE, Seen, finding

# cuda.h, CUresult
CUDA = {
    2: ("CUDA_ERROR_OUT_OF_MEMORY", "the GPU's or the machine's memory is full: nvidia-smi, free"),
    3: ("CUDA_ERROR_NOT_INITIALIZED", ""),
    34: ("CUDA_ERROR_STUB_LIBRARY", ""),
    100: (
        "CUDA_ERROR_NO_DEVICE",
        "CUDA_VISIBLE_DEVICES, MIG mode without instances, or a GPU that "
        "is too old for this libcuda",
    ),
    101: ("CUDA_ERROR_INVALID_DEVICE", ""),
    304: ("CUDA_ERROR_OPERATING_SYSTEM", "limits (ulimit -v), or a sandbox that denies mmap"),
    802: ("CUDA_ERROR_SYSTEM_NOT_READY", "the fabric manager, or confidential computing"),
    803: ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "another libcuda than the loaded module's: reboot"),
    804: ("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", ""),
    999: (
        "CUDA_ERROR_UNKNOWN",
        "mostly /dev/nvidia-uvm: sudo rmmod nvidia_uvm; "
        "sudo nvidia-modprobe -u -c0. Also after suspend to RAM",
    ),
}
# nvml.h, nvmlReturn_t
NVML = {
    4: ("NO_PERMISSION", "the device files may not be opened"),
    9: ("DRIVER_NOT_LOADED", "sudo modprobe nvidia"),
    12: ("LIBRARY_NOT_FOUND", "libnvidia-ml.so.1 is not installed"),
    15: ("GPU_IS_LOST", "the GPU has fallen off the bus: switch the machine off and on"),
    16: ("RESET_REQUIRED", "sudo nvidia-smi --gpu-reset, with nothing on the GPU"),
    17: ("OPERATING_SYSTEM", "a control group denies the device files"),
    18: ("LIB_RM_VERSION_MISMATCH", "reboot"),
    999: ("UNKNOWN", "look at the kernel log: sudo dmesg | grep -i nvrm"),
}


@finding(
    "DOCTOR-DRIVER-HANGS",
    "the driver does not answer: calls to it hang",
    "A call of NVML or libcuda did not come back in time. The GPU or its firmware hangs; a process "
    "that is stuck in the kernel (state D) cannot be killed, only a reboot ends it.",
    explains=("DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
)
def hangs(exam: Exam) -> Optional[Seen]:
    bad = {n: leg for n, leg in exam.legs.items() if leg.get("outcome") in ("timeout", "stuck")}
    if not bad:
        return None
    return Seen(
        ["the leg %s: %s" % (name, leg.get("detail")) for name, leg in sorted(bad.items())],
        ["legs"],
        [
            "cudactl doctor --bundle FILE.tar.gz  (keep the evidence before the reboot)",
            "sudo dmesg | grep -iE 'nvrm|xid|hung task'",
            "reboot; a machine that does not shut down wants its power cycled",
        ],
        CERTAIN,
    )


@finding(
    "DOCTOR-DRIVER-CRASHES",
    "the driver's library crashes the program that loads it",
    "The process that called NVML or libcuda died by a signal. The file is damaged, of another "
    "machine's architecture level, or clashes with another copy.",
    explains=("DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
)
def crashes(exam: Exam) -> Optional[Seen]:
    bad = {n: leg for n, leg in exam.legs.items() if leg.get("outcome") in ("crashed", "no_output")}
    if not bad:
        return None
    return Seen(
        ["the leg %s: %s" % (n, leg.get("detail") or leg["outcome"]) for n, leg in bad.items()],
        ["legs"],
        [
            "dpkg --verify " + " ".join(exam.driver_packages[:6] or ["(the driver's packages)"]),
            "sudo apt-get install --reinstall "
            + " ".join(exam.driver_packages[:6] or ["(the driver's packages)"]),
        ],
        POSSIBLE,
    )


@finding(
    "DOCTOR-NVML",
    "NVML does not start",
    "nvidia-smi fails in the same way. Where this is told by itself, nothing that was read says "
    "why: "
    "the code's meaning is all that is known.",
    explains=("DOCTOR-CUDA-INIT",),
)
def nvml(exam: Exam) -> Optional[Seen]:
    code = exam.nvml_code
    if code in (None, 0):
        return None
    name, advice = NVML.get(code or 0, ("code %d" % (code or 0), ""))
    return Seen(
        ["nvmlInit answers %d (%s)" % (code or 0, name)],
        ["health.nvml"],
        [advice] if advice else ["sudo dmesg | grep -i nvrm"],
        LIKELY if advice else POSSIBLE,
    )


@finding(
    "DOCTOR-CUDA-INIT",
    "CUDA does not start",
    "cuInit answers an error. Where this is told by itself, module, device files and libraries "
    "look "
    "right, and the code's meaning is all that is known.",
)
def cuda_init(exam: Exam) -> Optional[Seen]:
    code = exam.init_code
    if code in (None, 0) or not exam.gpus:
        return None
    name, advice = CUDA.get(code or 0, ("code %d" % (code or 0), ""))
    return Seen(
        ["cuInit answers %d (%s)" % (code or 0, name)],
        ["driver.libcuda"],
        [advice] if advice else ["sudo dmesg | grep -i nvrm", "strace -f -e openat nvidia-smi"],
        LIKELY if advice else POSSIBLE,
    )
