"""No module is loaded, and why: what forbids it, what failed to build it, what rejects it."""

from __future__ import annotations

import re
from typing import List, Optional

from .exam import Exam
from .registry import CERTAIN, LIKELY, POSSIBLE, RISK, Seen, finding

FOLLOWS = (
    *("DOCTOR-NOT-LOADED", "DOCTOR-DEVICE-NODES", "DOCTOR-UVM-NODE", "DOCTOR-GPU-INIT"),
    *("DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
)
LOG = "root or the group adm (kernel log)"
FAILURES = (
    (r"Kernel configuration is invalid|include/generated/autoconf.h", "the headers are incomplete"),
    (r"No space left on device", "the disk was full"),
    (
        r"unrecognized command-line option|compiler.*differs|cc: not found|gcc.*not found",
        "the compiler is not the one that the kernel was built with, or none is there",
    ),
    (
        r"implicit declaration|has no member named|incompatible pointer|too (many|few) arguments",
        "this driver is older than the kernel and does not know its interfaces",
    ),
)


@finding(
    "DOCTOR-NO-DRIVER",
    "there is an NVIDIA GPU, and no driver is installed",
    "Neither a package of the driver nor a module on disk nor a loaded one was found.",
    explains=(*FOLLOWS, "DOCTOR-DRIVER-LIBRARIES", "DOCTOR-NO-MODULE"),
)
def no_driver(exam: Exam) -> Optional[Seen]:
    if not exam.own_kernel or exam.loaded or exam.driver_packages or exam.driver_files:
        return None
    if exam.on_disk(exam.running) or exam.dkms or _foreign(exam):
        return None
    return Seen(
        ["%d GPU, no driver package, no module" % len(exam.gpus)],
        ["state.gpus", "state.packages", "signs.modules"],
        [
            "cudactl stack init  (then: cudactl stack lock, cudactl provision host)",
            "or by hand: sudo apt-get install nvidia-open  (from NVIDIA's repository)",
        ],
    )


def _foreign(exam: Exam) -> bool:
    files = (exam.state.get("vendor_files") or {}).get("foreign") or []
    return any(one["kind"] == "driver" for one in files)


@finding(
    "DOCTOR-NOUVEAU",
    "nouveau holds the GPU, so NVIDIA's module cannot",
    "The free driver nouveau was loaded first, mostly from the initramfs. NVIDIA's packages deny "
    "it, "
    "which takes effect only in a new initramfs and after a reboot.",
    explains=(*FOLLOWS, "DOCTOR-NO-MODULE"),
)
def nouveau(exam: Exam) -> Optional[Seen]:
    if not exam.nouveau or exam.loaded or not exam.driver_packages:
        return None
    denied = [
        f for f in exam.sign("modules").get("forbidden") or [] if f["module"].startswith("nouveau")
    ]
    seen = ["nouveau is loaded"]
    seen += ["%s is bound to nouveau" % g["address"] for g in exam.gpus if g["driver"] == "nouveau"]
    if denied:
        seen.append("it is denied in %s: the initramfs is older than that" % denied[0]["file"])
    remedy = (
        []
        if denied
        else [
            "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' | "
            "sudo tee /etc/modprobe.d/cudactl-nouveau.conf"
        ]
    )
    return Seen(
        seen,
        ["state.module.nouveau", "state.gpus", "signs.modules.forbidden"],
        [*remedy, "sudo update-initramfs -u -k all", "reboot"],
    )


@finding(
    "DOCTOR-SECURE-BOOT",
    "Secure Boot rejects the module: its key is not one that the firmware knows",
    "With Secure Boot on, the kernel loads only modules that a known key has signed. DKMS signs "
    "with "
    "a key of its own, which somebody must enrol once, at the console during a reboot (MOK).",
    explains=FOLLOWS,
    needs=LOG,
)
def secure_boot(exam: Exam) -> Optional[Seen]:
    lines = exam.said(
        r"Loading of (unsigned )?module.*rejected|unsigned module loading is restricted"
        r"|Key was rejected by service|PKCS#7 signature not signed with a trusted key"
    )
    on = exam.kernel.get("secure_boot") is True
    if exam.loaded or not exam.own_kernel or not (on or lines):
        return None
    files = (exam.sign("modules").get("files") or {}).get(exam.running) or []
    unsigned = [f["path"] for f in files if f.get("signed") is False]
    enrolled = exam.sign("boot").get("module_key_enrolled")
    if not lines and not unsigned and enrolled is not False:
        return None
    seen = ["Secure Boot is on"] if on else []
    seen += ["%s is not signed" % path for path in unsigned[:1]]
    seen += ["the key that DKMS signs with is not enrolled"] if enrolled is False else []
    return Seen(
        seen + lines[-1:],
        ["state.kernel.secure_boot", "signs.modules.files", "signs.boot", "signs.log"],
        [
            "sudo mokutil --import /var/lib/shim-signed/mok/MOK.der  (Debian: "
            "/var/lib/dkms/mok.pub)",
            "reboot, and choose 'Enroll MOK' at the console",
            "or use modules that the distribution signed: sudo apt-get install "
            "linux-modules-nvidia-BRANCH-generic  (Ubuntu)",
            "or switch Secure Boot off in the firmware",
        ],
        CERTAIN if lines else LIKELY,
    )


@finding(
    "DOCTOR-FORBIDDEN",
    "a configuration file or the kernel command line forbids NVIDIA's module",
    "modprobe obeys 'blacklist nvidia', 'install nvidia /bin/false' and 'alias nvidia off' in "
    "modprobe.d; the kernel obeys module_blacklist= and modprobe.blacklist= of its command line. "
    "Tools that switch laptops' GPUs leave such files.",
    explains=FOLLOWS,
)
def forbidden(exam: Exam) -> Optional[Seen]:
    if not exam.own_kernel or exam.loaded:
        return None
    lines = [
        f
        for f in exam.sign("modules").get("forbidden") or []
        if re.match(r"^nvidia([-_](current|drm|uvm|modeset))?$", f["module"])
    ]
    said = str(exam.sign("boot").get("command_line") or "")
    words = [
        w
        for w in said.split()
        if re.match(r"^(module_blacklist|modprobe\.blacklist)=(.*,)?nvidia", w)
    ]
    if not lines and not words:
        return None
    return Seen(
        ["%s: %s" % (f["file"], f["line"]) for f in lines[:3]] + words,
        ["signs.modules.forbidden", "signs.boot.command_line"],
        [
            *(
                "sudo rm %s  (dpkg -S %s says whose it is)" % (f["file"], f["file"])
                for f in lines[:1]
            ),
            *("take %s from GRUB_CMDLINE_LINUX, sudo update-grub" % w for w in words),
            "sudo update-initramfs -u",
            "sudo modprobe nvidia",
        ],
    )


@finding(
    "DOCTOR-HEADERS",
    "the headers of the running kernel are missing, so DKMS could not build the module",
    "DKMS compiles NVIDIA's module for every kernel and needs that kernel's headers. A kernel that "
    "was updated without them has no module.",
    explains=(*FOLLOWS, "DOCTOR-DKMS-FAILED", "DOCTOR-NO-MODULE", "DOCTOR-DPKG-HALF"),
)
def headers(exam: Exam) -> Optional[Seen]:
    if not _unbuilt(exam) or exam.running in (exam.kernel.get("headers") or []):
        return None
    return Seen(
        [
            "DKMS holds nvidia %s, not built for %s" % (_dkms_versions(exam), exam.running),
            "no /usr/src/linux-headers-%s" % exam.running,
        ],
        ["signs.modules.dkms", "state.kernel.headers"],
        [
            "sudo apt-get install linux-headers-%s" % exam.running,
            "sudo dkms autoinstall -k %s" % exam.running,
            "sudo modprobe nvidia",
            "so that it does not come back: install linux-headers-generic (Debian: -amd64) too",
        ],
    )


def _unbuilt(exam: Exam) -> bool:
    """DKMS has the module's sources, and no module is there for the running kernel."""
    return bool(
        exam.own_kernel and not exam.loaded and exam.dkms and not exam.on_disk(exam.running)
    )


def _dkms_versions(exam: Exam) -> str:
    return ", ".join(sorted({str(one["version"]) for one in exam.dkms}))


@finding(
    "DOCTOR-DKMS-FAILED",
    "DKMS could not compile the module for the running kernel",
    "The last lines of DKMS's make.log say why: mostly a kernel newer than the driver, or a "
    "compiler "
    "that differs from the kernel's.",
    explains=(*FOLLOWS, "DOCTOR-NO-MODULE", "DOCTOR-DPKG-HALF"),
)
def dkms_failed(exam: Exam) -> Optional[Seen]:
    failed = [one for one in exam.dkms if one.get("failed_log")]
    if not _unbuilt(exam) or not failed:
        return None
    log = str(failed[-1]["failed_log"])
    errors = [
        line.strip() for line in log.splitlines() if re.search(r"\berror\b|\*\*\*", line, re.I)
    ]
    last = (errors or log.strip().splitlines() or ["empty"])[-1]
    reasons = [why for pattern, why in FAILURES if re.search(pattern, log, re.IGNORECASE)]
    return Seen(
        ["%s: %s" % (failed[-1]["log"], last[:300]), *reasons[:1]],
        ["signs.modules.dkms"],
        [
            "sudo dkms build nvidia/%s -k %s  (shows it again)"
            % (failed[-1]["version"], exam.running),
            "install a driver that knows this kernel, or boot the kernel before",
            "sudo dpkg --configure -a",
        ],
        CERTAIN if reasons else LIKELY,
    )


@finding(
    "DOCTOR-NO-MODULE",
    "the driver is installed, and there is no module for the running kernel",
    "Ubuntu's prebuilt modules come with linux-modules-nvidia-…, one package per kernel; others "
    "are "
    "built by DKMS. Neither is there for the kernel that runs.",
    explains=FOLLOWS,
)
def no_module(exam: Exam) -> Optional[Seen]:
    if not exam.own_kernel or exam.loaded or exam.on_disk(exam.running):
        return None
    if not exam.driver_packages and not exam.dkms:
        return None
    others = sorted(exam.sign("modules").get("files") or {})
    seen = ["no NVIDIA module in /lib/modules/%s" % exam.running]
    seen += ["there is one for " + ", ".join(others[:4])] if others else []
    branch = _branch(exam)
    return Seen(
        seen,
        ["signs.modules.files", "state.packages"],
        [
            "sudo apt-get install linux-modules-nvidia-%s-generic  (Ubuntu's prebuilt ones)"
            % branch,
            "or sudo apt-get install nvidia-dkms-%s linux-headers-%s" % (branch, exam.running),
            "or boot the kernel that has one" if others else "sudo modprobe nvidia",
        ],
        CERTAIN,
    )


def _branch(exam: Exam) -> str:
    versions: List[str] = sorted(exam.driver_versions) or ["BRANCH"]
    return versions[-1].split(".")[0]


@finding(
    "DOCTOR-NOT-LOADED",
    "the module is there for the running kernel, and is not loaded",
    "Nothing that was read says why: no denial, no nouveau, no rejected signature. Loading it by "
    "hand "
    "says more.",
    explains=("DOCTOR-DEVICE-NODES", "DOCTOR-NVML", "DOCTOR-CUDA-INIT", "DOCTOR-UVM-NODE"),
)
def not_loaded(exam: Exam) -> Optional[Seen]:
    there = exam.on_disk(exam.running)
    if not exam.own_kernel or exam.loaded or not there:
        return None
    return Seen(
        ["%s is there" % next(iter(there)), "nvidia is not in /proc/modules"],
        ["signs.modules", "state.module"],
        ["sudo modprobe nvidia", "sudo dmesg | tail -30"],
        POSSIBLE,
        ("a device that was hidden at boot (switcheroo, a laptop's saving of power)",),
    )


@finding(
    "DOCTOR-NEXT-KERNEL",
    "after the next reboot there will be no module: the newest kernel has none",
    "A newer kernel is installed, and neither DKMS nor a package brought NVIDIA's module for it. "
    "The "
    "machine works until it is rebooted.",
    RISK,
)
def next_kernel(exam: Exam) -> Optional[Seen]:
    newest = str(exam.kernel.get("newest_installed") or "")
    if not exam.own_kernel or not exam.loaded or newest in ("", exam.running):
        return None
    if not exam.on_disk(exam.running) or exam.on_disk(newest):
        return None
    headers_there = newest in (exam.kernel.get("headers") or [])
    remedy = [] if headers_there else ["sudo apt-get install linux-headers-" + newest]
    build = (
        "sudo dkms autoinstall -k " + newest
        if exam.dkms
        else "sudo apt-get install linux-modules-nvidia-%s-generic" % _branch(exam)
    )
    return Seen(
        ["running %s, newest installed %s" % (exam.running, newest), "no module for " + newest]
        + ([] if headers_there else ["no headers for it either"]),
        ["state.kernel", "signs.modules.files", "signs.modules.dkms"],
        [*remedy, build, "do this before the next reboot"],
    )
