"""The driver as this machine has it installed: what the next boot will load, and what leads to it.

The driver leg measures it; the reading of modules, keys and device files is `doctor`'s.
"""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Dict, List, Optional

from .files import Root
from .hardware import gpus, module
from .loading import LOADER, find
from .signs import boot, device
from .system import kernel

# Where the GPU Operator's driver container mounts its root (NVIDIA/gpu-operator).
CONTAINERISED = "/run/nvidia/driver"
LIBRARY = re.compile(r"^libcuda\.so\.(\d+\.\d[0-9.]*)$")
LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",  # Debian's own packages
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib64",
)
FIRMWARE = "/lib/firmware/nvidia"
OTHER_FIRMWARE = "/sys/module/firmware_class/parameters/path"
KERNEL_LINE = re.compile(
    r"(?:^|\s)(?:(?:modprobe|module_blacklist|rd\.driver)\.?(?:blacklist)?=\S*\bnouveau\b"
    r"|nouveau\.modeset=0)"
)

Facts = Dict[str, Any]


def read(root: Root, wanted: List[str], libcuda: Optional[str]) -> Dict[str, Facts]:
    """Return check → values for the checks in `wanted`.

    Args:
        root: The machine's root, or a recorded one.
        wanted: Names without "driver.": agreement, nodes, roots, next_kernel, nouveau, secure_boot.
        libcuda: Real path of the libcuda that was loaded.
    """
    # What lies on disk is read once, and only where something needs it: modules are large.
    needs_files = bool({"next_kernel", "nouveau", "secure_boot"} & set(wanted))
    disk: Facts = boot.modules(root) if needs_files else {"files": {}, "forbidden": []}
    readers: Dict[str, Callable[[], Facts]] = {
        "agreement": lambda: agreement(root, disk, libcuda),
        "nodes": lambda: nodes(root),
        "roots": lambda: roots(root),
        "next_kernel": lambda: next_kernel(root, disk),
        "nouveau": lambda: nouveau(root, disk),
        "secure_boot": lambda: secure_boot(root, disk),
    }
    return {"driver." + name: take() for name, take in readers.items() if name in wanted}


def agreement(root: Root, disk: Facts, libcuda: Optional[str]) -> Facts:
    """Return the driver's version as each of its parts tells it; None for what is not there."""
    loaded = module(root)
    nvml = find("libnvidia-ml.so.1", [LOADER]) if root.live else None
    files = disk["files"].get(kernel(root)["running"], [])
    return {
        "loaded": loaded["loaded"],
        "flavour": loaded["flavour"],
        "on_disk": [one["version"] for one in files if one["version"]],
        "libcuda": _version_in(libcuda),
        "nvml": _version_in(nvml),
        # A containerised driver sets a folder of its own.
        "firmware": None
        if root.line(OTHER_FIRMWARE)
        else [name for name in root.list(FIRMWARE) if name[:1].isdigit()],
    }


def _version_in(path: Optional[str]) -> Optional[str]:
    match = re.search(r"\.so\.(\d+\.\d[0-9.]*)$", path or "")
    return match.group(1) if match else None


def nodes(root: Root) -> Facts:
    """Return the device files, and the minors of the GPUs that the driver has."""
    found = device.nodes(root)
    minors = [gpu["minor"] for gpu in device.devices(root)["gpus"] if gpu["minor"] is not None]
    return {"files": found["files"], "majors": found["majors"], "gpu_minors": sorted(minors)}


def roots(root: Root) -> Facts:
    """Return every place that holds a driver's libcuda, with its version."""
    found = []
    for base in ("", CONTAINERISED):
        for folder in LIBRARY_FOLDERS:
            if root.link(base + folder):
                continue
            for name in root.list(base + folder):
                match = LIBRARY.match(name)
                # A link of that name leads to a library that is counted where it lies.
                if match and not os.path.islink(root.at("%s%s/%s" % (base, folder, name))):
                    found.append({"root": base or "/", "version": match.group(1)})
    return {"roots": found}


def next_kernel(root: Root, disk: Facts) -> Facts:
    """Return which kernel the next boot takes, and the NVIDIA modules on disk for it."""
    kernels = kernel(root)
    following = kernels["newest_installed"]
    return {
        "running": kernels["running"],
        "next": following,
        "headers": following in kernels["headers"] if following else None,
        "modules": disk["files"].get(following, []) if following else [],
    }


def nouveau(root: Root, disk: Facts) -> Facts:
    """Return whether nouveau runs, has a GPU, or could be loaded at the next boot."""
    following = kernel(root)["newest_installed"]
    known = root.text("/lib/modules/%s/modules.dep" % following) if following else None
    forbidding = [
        line["file"] for line in disk["forbidden"] if line["module"].rstrip(",") == "nouveau"
    ]
    if KERNEL_LINE.search(root.line("/proc/cmdline") or ""):
        forbidding.append("/proc/cmdline")
    return {
        "loaded": module(root)["nouveau"],
        "holds": [gpu["address"] for gpu in gpus(root) if gpu["driver"] == "nouveau"],
        "loadable": None if known is None else "/nouveau.ko" in known,
        "forbidden_by": forbidding,
    }


def secure_boot(root: Root, disk: Facts) -> Facts:
    """Return whether modules must be signed, and whether those on disk are, by which key."""
    kernels = kernel(root)
    about = boot.boot(root)
    return {
        "efi": bool(root.list("/sys/firmware/efi/efivars")),
        "secure_boot": kernels["secure_boot"],
        "lockdown": about["lockdown"],
        "key_enrolled": about["module_key_enrolled"],
        "loaded": module(root)["loaded"],
        "running": kernels["running"],
        "next": kernels["newest_installed"],
        "signed": {
            release: [one["signed"] for one in some] for release, some in disk["files"].items()
        },
    }
