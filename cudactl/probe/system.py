"""Operating system, kernels, interpreter, room: what every plan asks first."""

from __future__ import annotations

import os
import re
import sys

from . import TYPE_CHECKING
from .boot_loader import initramfs, next_boot, release_key
from .files import Root
from .modules import mok_enrolled

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

LOOK_ALIKE = "cudactl-lab-look-alike"
EFI_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def os_release(root: Root) -> Dict[str, str]:
    """Return os-release as a dictionary."""
    text = root.text("/etc/os-release") or root.text("/usr/lib/os-release") or ""
    values = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and key.isidentifier():
            values[key] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    """Return a value of os-release without the shell's quotes (os-release(5))."""
    quote = value[:1]
    if quote in ("'", '"') and len(value) > 1 and value.endswith(quote):
        value = value[1:-1]
    return value if quote == "'" else re.sub(r"\\(.)", r"\1", value)


def operating_system(root: Root) -> Dict[str, Any]:
    """Return OsState."""
    values = os_release(root)
    return {
        "id": values.get("ID", "unknown"),
        "version_id": values.get("VERSION_ID", "unknown"),
        "codename": values.get("VERSION_CODENAME"),
        "pretty": values.get("PRETTY_NAME", values.get("ID", "unknown")),
        "look_alike": values.get("VARIANT_ID") == LOOK_ALIKE,
    }


def kernel(root: Root) -> Dict[str, Any]:
    """Return KernelState; releases are compared number by number, as the boot menu does."""
    running = os.uname().release if root.live else (root.text("/proc/sys/kernel/osrelease") or "")
    releases = [r for r in root.list("/lib/modules") if root.exists("/lib/modules/%s/kernel" % r)]
    headers = [
        name[len("linux-headers-") :]
        for name in root.list("/usr/src")
        if name.startswith("linux-headers-")
    ]
    images, largest = initramfs(root)
    return {
        "running": running.strip(),
        "newest_installed": max(releases, key=release_key) if releases else None,
        "installed": sorted(releases, key=release_key),
        "booted_at": _booted_at(root),
        "headers": headers,
        "secure_boot": secure_boot(root),
        "next_boot": next_boot(root),
        "mok_enrolled": mok_enrolled(root),
        "initramfs": images,
        "largest_initramfs_bytes": largest,
    }


def _booted_at(root: Root) -> Optional[float]:
    for line in (root.text("/proc/stat") or "").splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "btime" and words[1][:18].isdigit():
            return float(words[1][:18])
    return None


def secure_boot(root: Root) -> Optional[bool]:
    """Return Secure Boot's state; None without EFI or where the variable cannot be read."""
    try:
        with open(root.at(EFI_SECURE_BOOT), "rb") as stream:
            data = stream.read(5)
    except OSError:
        return None
    return data[4] == 1 if len(data) == 5 else None


def python() -> Dict[str, str]:
    """Return PythonState of the interpreter that runs this."""
    return {
        "version": sys.version.split()[0],
        "executable": sys.executable or "",
        "tag": "cp%d%d" % sys.version_info[:2],
    }


def virtualization(root: Root) -> Optional[str]:
    """Return the container or hypervisor that cheap signs tell of."""
    osrelease = (root.text("/proc/sys/kernel/osrelease") or "").lower()
    if "microsoft" in osrelease or root.exists("/proc/sys/fs/binfmt_misc/WSLInterop"):
        return "wsl"
    if root.exists("/.dockerenv"):
        return "docker"
    if root.exists("/run/.containerenv"):
        return "podman"
    container = (root.text("/run/systemd/container") or "").strip()
    if container:
        return container
    vendor = (root.text("/sys/class/dmi/id/sys_vendor") or "").strip()
    if vendor in ("QEMU", "VMware, Inc.", "Xen", "Microsoft Corporation", "innotek GmbH"):
        return vendor
    return None


def disks(root: Root) -> List[Dict[str, Any]]:
    """Return DiskState for the places that a stack is written to."""
    found = []
    for path in ("/", "/boot", "/var", "/opt"):
        try:
            room = os.statvfs(root.at(path))
        except OSError:
            continue
        found.append(
            {
                "path": path,
                "free_bytes": room.f_bavail * room.f_frsize,
                "total_bytes": room.f_blocks * room.f_frsize,
            }
        )
    return found
