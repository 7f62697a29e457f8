"""GPUs as PCI and as the driver see them, and the device files that lead to them."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import Any, Dict, List, Optional

from ..files import Root
from ..machine import switches

NVIDIA = "0x10de"
NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
# Where it may, the driver's library has it load the module and make the files.
MODPROBE = "/usr/bin/nvidia-modprobe"
INFORMATION = "/proc/driver/nvidia/gpus"


def devices(root: Root) -> Dict[str, Any]:
    """Return per GPU what PCI says and whether the driver has it; NVSwitches; MIG instances."""
    seen = root.list(INFORMATION)
    gpus: List[Dict[str, Any]] = []
    for address in root.list("/sys/bus/pci/devices"):
        folder = "/sys/bus/pci/devices/" + address
        if root.line(folder + "/vendor") != NVIDIA:
            continue
        kind = root.line(folder + "/class") or ""
        if not kind.startswith(("0x0300", "0x0302")):
            continue
        text = root.text("%s/%s/information" % (INFORMATION, address)) or ""
        gpus.append(
            {
                "address": address,
                "answers": _answers(root, folder),
                "known_to_driver": address in seen,
                # A part of another GPU, handed to a virtual machine: no driver here has it.
                "virtual_function": root.link(folder + "/physfn") is not None,
                "model": _field(text, "Model"),
                "minor": _field(text, "Device Minor"),
                "width": root.line(folder + "/current_link_width"),
                "width_of_gpu": root.line(folder + "/max_link_width"),
                "width_of_slot": _slot(root, folder),
            }
        )
    return {
        "gpus": gpus,
        "nvswitches": switches(root),
        "driver_has_list": root.exists(INFORMATION),
        "mig_instances": _instances(root),
        "persistence_pid_file": root.exists("/run/nvidia-persistenced/nvidia-persistenced.pid"),
    }


def _field(text: str, name: str) -> Optional[str]:
    match = re.search(r"^%s:\s*(.+?)\s*$" % re.escape(name), text, re.MULTILINE)
    return match.group(1) if match else None


def _answers(root: Root, folder: str) -> Optional[bool]:
    """Return whether the device's configuration space can be read; all ones means it is gone."""
    try:
        with open(root.at(folder + "/config"), "rb") as stream:
            head = stream.read(4)
    except OSError:
        return None
    return head != b"\xff\xff\xff\xff" if len(head) == 4 else None


def _slot(root: Root, folder: str) -> Optional[str]:
    """Return the width that the port above the GPU offers."""
    real = os.path.realpath(root.at(folder))
    port = os.path.join(os.path.dirname(real), "max_link_width")
    try:
        with open(port, encoding="ascii", errors="replace") as stream:
            return stream.read().strip() or None
    except OSError:
        return None


def _instances(root: Root) -> Dict[str, int]:
    """Return GPU → number of MIG instances that were made on it."""
    found = {}
    base = "/proc/driver/nvidia/capabilities"
    for name in root.list(base):
        made = [n for n in root.list("%s/%s/mig" % (base, name)) if re.match(r"^gi\d+$", n)]
        if name.startswith("gpu") and made:
            found[name] = len(made)
    return found


def nodes(root: Root) -> Dict[str, Any]:
    """Return the device files with who may open them, and the majors that the kernel gave out."""
    majors = {}
    for line in (root.text("/proc/devices") or "").splitlines():
        parts = line.split()
        if len(parts) == 2 and parts[1].startswith("nvidia"):
            majors[parts[1]] = int(parts[0])
    names = [n for n in root.list("/dev") if n in NODES or re.match(r"^nvidia\d+$", n)]
    return {
        "majors": majors,
        "files": [_node(root, "/dev/" + name) for name in names],
        "wsl": root.exists("/dev/dxg"),
        "missing_char_links": _char_links(root, names),
        "made_when_needed": _setuid(root, MODPROBE),
        "groups": sorted(os.getgroups()) if root.live else [],
    }


def _node(root: Root, path: str) -> Dict[str, Any]:
    about = os.stat(root.at(path))
    device = stat.S_ISCHR(about.st_mode)
    # Opened are only those that start nothing by being opened.
    tried = os.path.basename(path) in ("nvidiactl", "nvidia-uvm")
    return {
        "path": path,
        "mode": "%04o" % stat.S_IMODE(about.st_mode),
        "uid": about.st_uid,
        "gid": about.st_gid,
        "major": os.major(about.st_rdev) if device else None,
        "minor": os.minor(about.st_rdev) if device else None,
        "allowed": os.access(root.at(path), os.R_OK | os.W_OK),
        "open_error": _open_error(root.at(path)) if tried else None,
    }


def _setuid(root: Root, path: str) -> bool:
    try:
        return bool(os.stat(root.at(path)).st_mode & stat.S_ISUID)
    except OSError:
        return False


def _open_error(path: str) -> Optional[str]:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return None


def _char_links(root: Root, names: List[str]) -> List[str]:
    """Return the device files without a link in /dev/char, by which systemd finds them again."""
    missing = []
    for name in names:
        about = os.stat(root.at("/dev/" + name))
        if stat.S_ISCHR(about.st_mode):
            link = "/dev/char/%d:%d" % (os.major(about.st_rdev), os.minor(about.st_rdev))
            if not root.exists(link):
                missing.append(link)
    return missing
