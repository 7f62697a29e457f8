"""What works now and could work better: persistence, security updates that are held back."""

from __future__ import annotations

from typing import Optional

from .exam import Exam
from .registry import CERTAIN, POSSIBLE, RISK, Seen, finding


@finding(
    "DOCTOR-PERSISTENCE",
    "persistence is off: the driver is started and torn down with every program",
    "Without nvidia-persistenced the first program after a pause waits for the GPU to start "
    "(seconds "
    "each), and error counters of the pause are lost. On a desktop the display server keeps it on.",
    RISK,
)
def persistence(exam: Exam) -> Optional[Seen]:
    if not exam.loaded or not exam.own_kernel or not exam.models or not exam.read("processes"):
        return None
    if any("GeForce" in model for model in exam.models):
        return None
    daemon = "persistenced" in exam.running_daemons
    if daemon or exam.sign("device").get("persistence_pid_file"):
        return None
    if "nvidia_drm" in exam.loaded_modules and exam.state.get("gpu_processes"):
        return None  # somebody keeps the GPUs open all the time
    return Seen(
        ["no process nvidia-persistenced"],
        ["signs.processes.running"],
        ["sudo systemctl enable --now nvidia-persistenced"],
        POSSIBLE,
        ("somebody switched it on with nvidia-smi -pm 1: nvidia-smi -q -d PERFORMANCE says so",),
    )


@finding(
    "DOCTOR-WITHHELD",
    "holds keep security updates of NVIDIA's packages back",
    "A lock's packages are held at their versions, also against security updates, since one of "
    "them upgraded alone breaks the rest. The distribution's security suite has newer versions of "
    "some: a newer lock takes them in together. Seen in apt's lists, as they were last read.",
    RISK,
)
def withheld(exam: Exam) -> Optional[Seen]:
    found = exam.sign("packaging").get("withheld") or []
    if not found:
        return None
    lines = [
        "%s is held at %s, a security suite has %s" % (o["name"], o["installed"], o["offered"])
        for o in found[:6]
    ]
    if len(found) > len(lines):
        lines.append("and %d more" % (len(found) - len(lines)))
    return Seen(
        lines,
        ["signs.packaging.withheld"],
        [
            "cudactl stack outdated, cudactl stack lock, and provision the new lock",
            "what they mend: apt-get changelog %s" % found[0]["name"],
        ],
        CERTAIN,
    )
