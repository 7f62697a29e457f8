"""`state`: the whole machine in one document, without a subprocess and without writing anything."""

from __future__ import annotations

import os
import time

from . import (
    TYPE_CHECKING,
    VERSION,
    engines,
    foreign_files,
    hardware,
    machine,
    ours,
    packages,
    records,
    system,
    units,
)
from .files import Root
from .vendor_files import vendor_files

if TYPE_CHECKING:
    from typing import Any, Dict


def host_state(root: Root) -> Dict[str, Any]:
    """Return the HostState document of the machine (or fixture tree) at `root`."""
    begun = time.time()
    arch, there, holds, broken = packages.installed(root)
    gpus = hardware.gpus(root)
    owners = ours.owners(root)
    return {
        "schema_version": 1,
        "probe_version": VERSION,
        "taken_at": begun,
        "euid": os.geteuid(),
        "hostname": os.uname().nodename
        if root.live
        else (root.text("/etc/hostname") or "fixture").strip(),
        "machine_id": root.line("/etc/machine-id"),
        "boot_id": root.line("/proc/sys/kernel/random/boot_id"),
        "os": system.operating_system(root),
        "machine": os.uname().machine if root.live else (root.line("/machine") or "x86_64"),
        "dpkg_arch": arch,
        "virtualization": system.virtualization(root),
        "kernel": system.kernel(root),
        "python": system.python(),
        "packages": there,
        "holds": holds,
        "broken": broken,
        "dpkg_locked": packages.locked(root),
        "dpkg_interrupted": packages.interrupted(root),
        "apt_sources": packages.sources(root),
        "apt_files": foreign_files.apt_files(root),
        "files": ours.files(root),
        "stacks": ours.stacks(root),
        "active_stack": ours.active_stack(root),
        "module": hardware.module(root),
        "vendor_files": vendor_files(root),
        "gpus": gpus,
        "device_nodes": hardware.device_nodes(root),
        "gpu_processes": hardware.gpu_processes(root),
        "disks": system.disks(root),
        "platform": machine.platform(root, gpus, there),
        "services": units.services(root),
        "alternatives": machine.alternatives(root),
        "ssh": machine.ssh(root),
        "container_runtimes": engines.runtimes(root, there),
        "cdi": engines.cdi(root),
        "container_engines": ours.container_engines(root),
        "owners": owners,
        "jobs": units.jobs(root, owners),
        "managed": foreign_files.managed(root),
        "reboot_required": root.exists("/run/reboot-required"),
        "unattended_upgrades": "unattended-upgrades" in there,
        "host_lock": ours.host_lock(root),
        "certificate": ours.certificate(root),
        "records": records.records(root),
        "duration_s": time.time() - begun,
    }
