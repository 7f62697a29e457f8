"""The machine itself: full file systems, a wrong clock."""

from __future__ import annotations

import time
from typing import Dict, Optional

from .exam import Exam
from .registry import CERTAIN, LIKELY, RISK, Seen, finding

MIB = 1024 * 1024
# Less than this share free is what imbue's host checks call full (research/validate.md, 1.7); on
# large disks a share says little, so the room that a driver's packages take counts as well.
SHARE = 0.05
ROOM_BYTES = 1024 * MIB
AFTER_FULL = (
    *("DOCTOR-DKMS-FAILED", "DOCTOR-DPKG-HALF", "DOCTOR-DPKG-INTERRUPTED", "DOCTOR-NO-MODULE"),
    *("DOCTOR-NEXT-KERNEL",),
)


@finding(
    "DOCTOR-BOOT-FULL",
    "/boot has no room for another initramfs: kernel and driver updates fail half-way",
    "update-initramfs writes a new file beside the old one. Where the free room on /boot is less "
    "than the largest one that lies there, the next update fails and leaves packages "
    "half-configured; the driver's module then never gets into the initramfs.",
    RISK,
    explains=AFTER_FULL,
)
def boot_full(exam: Exam) -> Optional[Seen]:
    needed = exam.sign("boot").get("largest_initramfs_bytes")
    disk = _disk(exam, "/boot")
    if disk is None or not needed or disk["free_bytes"] >= needed:
        return None
    return Seen(
        [
            "/boot has %d MiB free, its largest initramfs takes %d MiB"
            % (disk["free_bytes"] // MIB, needed // MIB)
        ],
        ["state.disks", "signs.boot.largest_initramfs_bytes"],
        [
            "sudo apt-get autoremove --purge  (removes kernels that are no longer needed)",
            "sudo dpkg --configure -a",
            "sudo update-initramfs -u -k all",
        ],
    )


@finding(
    "DOCTOR-DISK-FULL",
    "the file system that packages are unpacked to is full",
    "dpkg, DKMS and apt write to / and /var. Less than 5 % and less than 1 GiB free is full: "
    "a driver alone needs about that.",
    RISK,
    explains=AFTER_FULL,
)
def disk_full(exam: Exam) -> Optional[Seen]:
    seen = []
    for path in ("/var", "/"):
        disk = _disk(exam, path)
        if disk is None or not disk["total_bytes"]:
            continue
        if disk["free_bytes"] < min(SHARE * disk["total_bytes"], ROOM_BYTES):
            seen.append(
                "%s has %d MiB free of %d MiB"
                % (path, disk["free_bytes"] // MIB, disk["total_bytes"] // MIB)
            )
    if not seen and not exam.said(r"No space left"):
        return None
    return Seen(
        seen or exam.said(r"No space left")[-1:],
        ["state.disks", "signs.log"],
        [
            "sudo apt-get clean",
            "sudo journalctl --vacuum-size=200M",
            "sudo du -xh --max-depth=2 /var | sort -h | tail",
            "sudo dpkg --configure -a",
        ],
        CERTAIN if seen else LIKELY,
    )


def _disk(exam: Exam, path: str) -> Optional[Dict[str, int]]:
    return next((d for d in exam.state.get("disks") or [] if d["path"] == path), None)


@finding(
    "DOCTOR-CLOCK",
    "the clock is wrong: signatures and TLS certificates are not valid yet",
    "The clock says a time before one that has surely passed (the last write of dpkg, or of the "
    "time daemon). apt then refuses Release files as not valid yet, and TLS fails.",
)
def clock(exam: Exam) -> Optional[Seen]:
    said = exam.sign("clock")
    passed = said.get("surely_passed") or {}
    now, known = said.get("now"), passed.get("time")
    asked = exam.sign("clock").get("controller_now")
    if now and known and now < known - 300:
        seen = "the clock says %s; %s was written at %s" % (
            _stamp(now),
            passed.get("path"),
            _stamp(known),
        )
    elif now and asked and abs(now - asked) > 300:
        seen = "the clock says %s, the controller's says %s" % (_stamp(now), _stamp(asked))
    else:
        return None
    seen_too = ["nothing keeps the clock right"] if said.get("synchronised") is False else []
    return Seen(
        [seen, *seen_too],
        ["signs.clock"],
        ["sudo timedatectl set-ntp true", "timedatectl status"],
        CERTAIN,
    )


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
