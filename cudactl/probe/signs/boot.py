"""Kernel modules on disk and loaded, what DKMS built, what forbids loading, what signs."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import subprocess
from typing import Any, Dict, List

from ..files import Root
from ..modules import SIGNED, built_for, flavour_of, forbidden, module_paths, mok_enrolled

LARGEST_MODULE = 256 * 1024 * 1024
KEPT_LOG = 4000


def boot(root: Root) -> Dict[str, Any]:
    """Return what was said at boot, the room that one more initramfs needs, keys that are known."""
    images = [n for n in root.list("/boot") if n.startswith(("initrd.img-", "initramfs-"))]
    sizes = [os.stat(root.at("/boot/" + name)).st_size for name in images]
    return {
        "command_line": root.line("/proc/cmdline"),
        "largest_initramfs_bytes": max(sizes) if sizes else None,
        "module_key_enrolled": mok_enrolled(root),
        "lockdown": root.line("/sys/kernel/security/lockdown"),
        "reboot_for": (root.text("/run/reboot-required.pkgs") or "").split(),
    }


def modules(root: Root) -> Dict[str, Any]:
    """Return loaded modules, files per kernel, DKMS's builds, and what forbids loading."""
    loaded = []
    for line in (root.text("/proc/modules") or "").splitlines():
        name = line.split(" ", 1)[0]
        if name.startswith("nvidia") or name in ("nouveau", "nova_core", "vfio_pci"):
            loaded.append(name)
    files = {}
    for release in root.list("/lib/modules"):
        found = [dict(_about(root, path), path=path) for path in module_paths(root, release)]
        if found:
            files[release] = found
    return {
        "loaded": loaded,
        "loaded_version": root.line("/sys/module/nvidia/version"),
        "files": files,
        "dkms": _dkms(root),
        "forbidden": forbidden(root),
    }


def _about(root: Root, path: str) -> Dict[str, Any]:
    """Return a module's version, flavour and whether it is signed; None where it cannot be told."""
    unknown = {"version": None, "flavour": None, "signed": None}
    try:
        if os.stat(root.at(path)).st_size > LARGEST_MODULE:
            return unknown
        if path.endswith(".zst"):
            return _by_modinfo(path) if root.live else unknown
        opener: Any = {"xz": lzma.open, "gz": gzip.open}.get(path.rsplit(".", 1)[1], open)
        with opener(root.at(path), "rb") as stream:
            data = stream.read(LARGEST_MODULE)
    except (OSError, EOFError, lzma.LZMAError):
        return unknown
    version = re.search(rb"\0version=([0-9.]+)\0", data)
    licence = re.search(rb"\0license=([^\0]+)\0", data)
    return {
        "version": version.group(1).decode() if version else None,
        "flavour": flavour_of(licence.group(1).decode("utf-8", "replace") if licence else None),
        "signed": data.endswith(SIGNED),
    }


def _by_modinfo(path: str) -> Dict[str, Any]:
    """Ask modinfo, which can read zstd; Python learns it only in 3.14."""
    said: Dict[str, str] = {}
    try:
        done = subprocess.run(
            ["modinfo", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10
        )
        for line in done.stdout.decode("utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            said.setdefault(key.strip(), value.strip())
    except (OSError, subprocess.SubprocessError):
        pass
    licence = said.get("license")
    return {
        "version": said.get("version"),
        "flavour": flavour_of(licence),
        "signed": bool(said.get("signer") or said.get("sig_id")) if said else None,
    }


def _dkms(root: Root) -> List[Dict[str, Any]]:
    """Return DKMS's versions of NVIDIA's module: for which kernels built, and how a build failed.

    The layout is dkms's own: <name>/<version>/<release>/<arch>/ when built, <version>/build/ with
    make.log while building and after a failure.
    """
    found = []
    for name in root.list("/var/lib/dkms"):
        if not re.match(r"^nvidia(-current|-open|-\d+|-srv|-legacy\S*)*$", name):
            continue
        for version in root.list("/var/lib/dkms/" + name):
            base = "/var/lib/dkms/%s/%s" % (name, version)
            if not version[:1].isdigit():
                continue
            log = root.text(base + "/build/make.log")
            found.append(
                {
                    "name": name,
                    "version": version,
                    "built_for": built_for(root, base),
                    "failed_log": log[-KEPT_LOG:] if log is not None else None,
                    "log": base + "/build/make.log",
                }
            )
    return found
