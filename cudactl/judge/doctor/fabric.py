"""NVSwitch machines: the fabric manager must run, at exactly the driver's version."""

from __future__ import annotations

from typing import Dict, Optional

from .exam import Exam, upstream
from .registry import CERTAIN, LIKELY, RISK, Seen, finding

NOT_READY = 802  # CUDA_ERROR_SYSTEM_NOT_READY


def _managers(exam: Exam) -> Dict[str, str]:
    names = exam.names(r"(nvidia-fabricmanager(-\d+)?|cuda-drivers-fabricmanager(-\d+)?)")
    return {n: exam.packages[n] for n in sorted(names) if n.startswith("nvidia-fabricmanager")}


def _wanted(exam: Exam) -> bool:
    """NVSwitches are there, or CUDA waits for a fabric."""
    switches = exam.sign("device").get("nvswitches") or 0
    own = bool(exam.loaded) and not exam.in_container and exam.read("processes")
    return own and (switches > 0 or exam.init_code == NOT_READY)


@finding(
    "DOCTOR-FABRIC-MISSING",
    "the machine has NVSwitches and no fabric manager: CUDA does not start",
    "On HGX machines the NVLink fabric must be set up by nvidia-fabricmanager before CUDA starts; "
    "until then cuInit answers 802 (system not yet initialised), while nvidia-smi looks well.",
    explains=("DOCTOR-FABRIC-DOWN", "DOCTOR-CUDA-INIT"),
)
def missing(exam: Exam) -> Optional[Seen]:
    if not _wanted(exam) or _managers(exam) or "fabric_manager" in exam.running_daemons:
        return None
    switches = exam.sign("device").get("nvswitches") or 0
    branch = str(exam.loaded).split(".")[0]
    return Seen(
        ["%d NVSwitches" % switches, "no package nvidia-fabricmanager"]
        + (["cuInit answers 802"] if exam.init_code == NOT_READY else []),
        ["signs.device.nvswitches", "state.packages", "driver.libcuda"],
        [
            "sudo apt-get install nvidia-fabricmanager=%s-*  (Ubuntu's archive: "
            "nvidia-fabricmanager-%s)" % (exam.loaded, branch),
            "sudo systemctl enable --now nvidia-fabricmanager",
        ],
        CERTAIN if switches else LIKELY,
        () if switches else ("confidential computing: 802 until the GPUs are set ready",),
    )


@finding(
    "DOCTOR-FABRIC-VERSION",
    "the fabric manager is of another version than the driver, and refuses to start",
    "nvidia-fabricmanager must be exactly the driver's version, to the last number.",
    explains=("DOCTOR-FABRIC-DOWN", "DOCTOR-CUDA-INIT"),
)
def version(exam: Exam) -> Optional[Seen]:
    wrong = {n: v for n, v in _managers(exam).items() if upstream(v) != exam.loaded}
    if not _wanted(exam) or not wrong:
        return None
    name = next(iter(wrong))
    return Seen(
        ["%s is %s, the driver %s" % (name, upstream(wrong[name]), exam.loaded)],
        ["state.packages", "state.module.loaded"],
        [
            "sudo apt-get install %s=%s-*" % (name, exam.loaded),
            "sudo systemctl restart nvidia-fabricmanager",
            "so that they move together: sudo apt-mark hold %s and the driver" % name,
        ],
    )


@finding(
    "DOCTOR-FABRIC-DOWN",
    "the fabric manager does not run: CUDA waits for it (802)",
    "nvidia-fabricmanager is installed at the right version and no such process runs.",
    explains=("DOCTOR-CUDA-INIT",),
)
def down(exam: Exam) -> Optional[Seen]:
    if not _wanted(exam) or not _managers(exam) or "fabric_manager" in exam.running_daemons:
        return None
    return Seen(
        ["no process nv-fabricmanager"]
        + (["cuInit answers 802"] if exam.init_code == NOT_READY else []),
        ["signs.processes.running", "driver.libcuda"],
        [
            "sudo systemctl enable --now nvidia-fabricmanager",
            "systemctl status nvidia-fabricmanager; sudo tail /var/log/fabricmanager.log",
        ],
    )


@finding(
    "DOCTOR-MIG",
    "some GPUs are still cut into MIG instances",
    "MIG outlives the job that made it. A program sees only one instance, or none, and a GPU "
    "without "
    "instances in MIG mode shows no device at all.",
    RISK,
)
def mig(exam: Exam) -> Optional[Seen]:
    instances = exam.sign("device").get("mig_instances") or {}
    if not instances or "gpu-operator" in (exam.state.get("owners") or []):
        return None
    whole = len(exam.gpus) - len(instances)
    return Seen(
        ["%s: %d instances" % (gpu, count) for gpu, count in sorted(instances.items())]
        + (["%d GPUs are whole" % whole] if whole > 0 else []),
        ["signs.device.mig_instances"],
        [
            "nvidia-smi mig -lgi  (which there are)",
            "with nothing on them: sudo nvidia-smi mig -dci; sudo nvidia-smi mig -dgi; "
            "sudo nvidia-smi -mig 0",
        ],
        LIKELY,
        ("they are wanted: then name one with CUDA_VISIBLE_DEVICES=MIG-…",),
    )
