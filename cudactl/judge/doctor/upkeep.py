"""What works now and could work better: persistence."""

from __future__ import annotations

from typing import Optional

from .exam import Exam
from .registry import POSSIBLE, RISK, Seen, finding


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
