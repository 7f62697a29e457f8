"""The driver as it is installed: versions, device files, the next kernel, nouveau, Secure Boot."""

from __future__ import annotations

from typing import Any

from tests.judge.healthy import DRIVER, add_leg, value
from tests.judge.red import Change, Evidence, Red, drop, put, unmeasured

RUNNING, NEXT = "6.8.0-31-generic", "6.8.0-101-generic"
OLDER = "580.82.07"
BY = "/usr/lib/modprobe.d/nvidia-kernel-common.conf"


def _node(path: str, major: int, minor: int) -> dict[str, Any]:
    return {
        "path": path,
        "mode": "0666",
        "uid": 0,
        "gid": 0,
        "major": major,
        "minor": minor,
        "allowed": True,
        "open_error": None,
    }


def _module(version: str | None = DRIVER) -> dict[str, Any]:
    return {"path": "nvidia.ko", "version": version, "flavour": "open", "signed": True}


def machine(evidence: Evidence, *, gpu: bool) -> None:
    """A host whose driver is one version throughout; without a GPU nothing of it is loaded."""
    nodes = [
        _node("/dev/nvidia0", 195, 0),
        _node("/dev/nvidiactl", 195, 255),
        _node("/dev/nvidia-uvm", 510, 0),
    ]
    measured = {
        "driver.agreement": {
            "loaded": DRIVER if gpu else None,
            "flavour": "open" if gpu else None,
            "on_disk": [DRIVER] if gpu else [],
            "libcuda": DRIVER,
            "nvml": DRIVER,
            "firmware": [DRIVER] if gpu else [],
        },
        "driver.nodes": {
            "files": nodes if gpu else [],
            "majors": {"nvidia-frontend": 195, "nvidia-uvm": 510} if gpu else {},
            "gpu_minors": ["0"] if gpu else [],
        },
        "driver.roots": {"roots": [{"root": "/", "version": DRIVER}]},
        "driver.next_kernel": {
            "running": RUNNING,
            "next": NEXT if gpu else None,
            "headers": True if gpu else None,
            "modules": [_module()] if gpu else [],
        },
        "driver.nouveau": {
            "loaded": False,
            "holds": [],
            "loadable": True if gpu else None,
            "forbidden_by": [BY] if gpu else [],
        },
        "driver.secure_boot": {
            "efi": gpu,
            "secure_boot": True if gpu else None,
            "lockdown": None,
            "key_enrolled": None,
            "loaded": DRIVER if gpu else None,
            "running": RUNNING,
            "next": NEXT if gpu else None,
            "signed": {RUNNING: [True], NEXT: [True]} if gpu else {},
        },
    }
    add_leg(evidence, "driver", measured)


def _file(path: str, **values: object) -> Change:
    def change(evidence: Evidence) -> None:
        files = value(evidence, "driver.nodes")["files"]
        next(one for one in files if one["path"] == path).update(values)

    return change


def _without_file(path: str) -> Change:
    def change(evidence: Evidence) -> None:
        values = value(evidence, "driver.nodes")
        values["files"] = [one for one in values["files"] if one["path"] != path]

    return change


def _red(check: str, name: str, change: Change, says: str, status: str = "FAIL") -> Red:
    return Red(f"driver.{check}", name, "gpu", change, says, status)


RED: list[Red] = [
    _red(
        "agreement",
        "libraries were upgraded, the module was not reloaded",
        put("driver.agreement", loaded=OLDER),
        "their module lies on disk: reboot",
    ),
    _red(
        "agreement",
        "a library of another driver comes first",
        put("driver.agreement", libcuda="570.86.15"),
        "the libraries are of another driver than the loaded module",
    ),
    _red(
        "agreement",
        "NVML is another driver's",
        put("driver.agreement", nvml=OLDER),
        "NVML is of another driver",
    ),
    _red(
        "agreement",
        "another module lies on disk",
        put("driver.agreement", on_disk=["590.44.01"]),
        "the next load brings it",
    ),
    _red(
        "agreement",
        "the firmware of its version is missing",
        put("driver.agreement", firmware=[OLDER]),
        "the GPU's firmware is of another driver",
    ),
    _red(
        "agreement",
        "no module is loaded",
        put("driver.agreement", loaded=None),
        "no NVIDIA kernel module is loaded",
    ),
    _red(
        "agreement",
        "no library was found",
        put("driver.agreement", libcuda=None),
        "libcuda was not measured",
        "ERROR",
    ),
    _red(
        "nodes",
        "the memory driver's file is missing",
        _without_file("/dev/nvidia-uvm"),
        "/dev/nvidia-uvm is missing; nvidia-modprobe",
    ),
    _red("nodes", "a GPU's file is missing", _without_file("/dev/nvidia0"), "/dev/nvidia0 is miss"),
    _red(
        "nodes",
        "a file leads elsewhere since the module was loaded again",
        _file("/dev/nvidia-uvm", major=511),
        "/dev/nvidia-uvm has the major 511, and the driver's is 510",
    ),
    _red(
        "nodes",
        "a GPU's file leads elsewhere",
        _file("/dev/nvidia0", major=194),
        "/dev/nvidia0 has the major 194, and the driver's is 195",
    ),
    _red(
        "nodes",
        "a plain file lies there",
        _file("/dev/nvidiactl", major=None),
        "/dev/nvidiactl is no device file",
    ),
    _red(
        "nodes",
        "closed to whoever asks",
        _file("/dev/nvidia0", allowed=False, mode="0600"),
        "may not be opened (mode 0600)",
    ),
    _red(
        "nodes",
        "the cgroup forbids it",
        _file("/dev/nvidiactl", open_error="EPERM"),
        "/dev/nvidiactl does not open: EPERM",
    ),
    _red(
        "nodes",
        "the driver has fewer GPUs than the bus",
        put("driver.nodes", gpu_minors=[]),
        "a GPU is on the bus that the driver has no device file for",
    ),
    _red(
        "roots",
        "a containerised driver beside the host's",
        lambda e: value(e, "driver.roots")["roots"].append(
            {"root": "/run/nvidia/driver", "version": DRIVER}
        ),
        "a containerised driver lies beside the host's own",
    ),
    _red(
        "roots",
        "files of an older driver were left behind",
        lambda e: value(e, "driver.roots")["roots"].append({"root": "/", "version": "570.86.15"}),
        "files of several drivers lie in one place",
    ),
    _red(
        "roots",
        "none in the usual places",
        put("driver.roots", roots=[]),
        "in none of the usual places",
        "NO_REFERENCE",
    ),
    _red(
        "next_kernel",
        "no module was built for it",
        put("driver.next_kernel", modules=[], headers=False),
        f"there is no NVIDIA module for {NEXT}, which boots next; its headers are missing",
    ),
    _red(
        "next_kernel",
        "no module although its headers are there",
        put("driver.next_kernel", modules=[]),
        f"there is no NVIDIA module for {NEXT}, which boots next",
    ),
    _red(
        "next_kernel",
        "its module is another driver's",
        put("driver.next_kernel", modules=[_module(OLDER), _module()]),
        f"{NEXT} boots next, and its module is another driver's",
    ),
    _red(
        "next_kernel",
        "nobody can read its module",
        put("driver.next_kernel", modules=[_module(None)]),
        "could not be read",
        "ERROR",
    ),
    _red(
        "next_kernel",
        "a container, which boots nothing",
        put("driver.next_kernel", next=None, modules=[]),
        "no kernel is installed here",
        "NO_REFERENCE",
    ),
    _red(
        "nouveau",
        "it holds a GPU",
        put("driver.nouveau", loaded=True, holds=["0000:17:00.0"]),
        "nouveau drives it",
    ),
    _red("nouveau", "it is loaded", put("driver.nouveau", loaded=True), "nouveau is loaded"),
    _red(
        "nouveau",
        "nothing forbids it",
        put("driver.nouveau", forbidden_by=[]),
        "it may take the GPU at the next boot",
    ),
    _red(
        "nouveau",
        "nothing forbids it, and no kernel is here",
        put("driver.nouveau", forbidden_by=[], loadable=None),
        "no kernel is installed here",
        "NO_REFERENCE",
    ),
    _red(
        "secure_boot",
        "the next kernel's module is not signed",
        put("driver.secure_boot", signed={RUNNING: [True], NEXT: [False]}),
        f"the module for {NEXT} is not signed",
    ),
    _red(
        "secure_boot",
        "the firmware does not know the key",
        put("driver.secure_boot", loaded=None, key_enrolled=False),
        "the firmware was not told of the key",
    ),
    _red(
        "secure_boot",
        "nobody can tell whether it knows the key",
        put("driver.secure_boot", loaded=None),
        "knows the key of the modules could not be read",
        "ERROR",
    ),
    _red(
        "secure_boot",
        "its state cannot be read",
        put("driver.secure_boot", secure_boot=None),
        "whether Secure Boot is on could not be read",
        "ERROR",
    ),
    _red(
        "secure_boot",
        "the module cannot be read",
        put("driver.secure_boot", signed={RUNNING: [True], NEXT: [None]}),
        f"the module for {NEXT} is signed could not be read",
        "ERROR",
    ),
    _red(
        "secure_boot",
        "no module is there to be signed",
        put("driver.secure_boot", signed={}),
        "is signed could not be read",
        "ERROR",
    ),
    _red("secure_boot", "nothing is known", drop("driver.secure_boot", "efi"), "efi was", "ERROR"),
    _red(
        "nodes",
        "not measured",
        unmeasured("driver.nodes"),
        "measured no driver.nodes",
        "ERROR",
    ),
]
