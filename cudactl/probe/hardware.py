"""GPUs on the PCI bus, the kernel module, device nodes, and who holds them open."""

from __future__ import annotations

import os
import re

from . import TYPE_CHECKING, modules
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

NVIDIA = "0x10de"
DISPLAY_CLASSES = ("0x0300", "0x0302")  # VGA and 3D controllers
NVRM = re.compile(r"NVRM version:.*?\s(\d{3}\.\d+(?:\.\d+)*)\s")


def gpus(root: Root) -> List[Dict[str, Any]]:
    """Return PciGpu for every NVIDIA display controller."""
    found = []
    base = "/sys/bus/pci/devices"
    for address in root.list(base):
        folder = "%s/%s" % (base, address)
        if (root.text(folder + "/vendor") or "").strip() != NVIDIA:
            continue
        if not (root.text(folder + "/class") or "").startswith(DISPLAY_CLASSES):
            continue
        driver = root.link(folder + "/driver")
        found.append(
            {
                "address": address,
                "device": (root.text(folder + "/device") or "").strip().replace("0x", ""),
                "driver": os.path.basename(driver) if driver else None,
            }
        )
    return found


def module(root: Root) -> Dict[str, Any]:
    """Return ModuleState: the loaded version by /proc, and what lies on disk per kernel."""
    text = root.text("/proc/driver/nvidia/version")
    loaded: Optional[str] = None
    flavour: Optional[str] = None
    if text is not None:
        match = NVRM.search(text)
        loaded = match.group(1) if match else None
        flavour = "open" if "Open Kernel Module" in text else "proprietary"
    builds = modules.dkms(root)
    files = modules.module_files(root, builds)
    return {
        "loaded": loaded,
        "flavour": flavour,
        "on_disk": modules.on_disk(files, builds),
        "nouveau": root.exists("/sys/module/nouveau"),
        "nouveau_blocked": any(f["module"] == "nouveau" for f in modules.forbidden(root)),
        "files": files,
        "dkms": builds,
        "references": modules.references(root),
        "parameters": modules.parameters(root),
    }


def device_nodes(root: Root) -> List[str]:
    """Return the /dev/nvidia* nodes."""
    return ["/dev/" + name for name in root.list("/dev") if name.startswith("nvidia")]


def gpu_processes(root: Root) -> List[Dict[str, Any]]:
    """Return the processes that hold an NVIDIA device open; other users' only as root."""
    if not root.live or not device_nodes(root):
        return []
    found = []
    for pid in root.list("/proc"):
        if not pid.isdigit():
            continue
        for handle in root.list("/proc/%s/fd" % pid):
            if (root.link("/proc/%s/fd/%s" % (pid, handle)) or "").startswith("/dev/nvidia"):
                name = (root.text("/proc/%s/comm" % pid) or "?").strip()
                found.append({"pid": int(pid), "name": name})
                break
    return found
