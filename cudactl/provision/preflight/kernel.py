"""Does the kernel fit: the flavour that was wished, headers, signatures under Secure Boot?"""

from __future__ import annotations

import re

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.driver_step import installs_driver
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.driver_facts import built_by_dkms

# "6.8.0-31-generic", "6.1.0-31-cloud-amd64", "6.8.0-1015-aws", "6.1.0-0.deb11.13-amd64".
RELEASE = re.compile(
    r"^\d+(?:\.\d+)+(?:\+deb\d+)?(?:-[\d.]+(?:deb\d+(?:\.\d+)*)?)?-(?P<flavour>[a-z].*)$"
)
EXACT = re.compile(r"^\d+\.\d+")
PREBUILT = re.compile(r"^linux-(?:modules|objects|signatures)-nvidia-")


def flavour_of(release: str) -> str | None:
    """Return the flavour of a kernel's release: "generic", "aws", "cloud-amd64"."""
    match = RELEASE.match(release)
    return match["flavour"] if match else None


def kernel_findings(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse kernels that the lock's modules are not for, or that will not load them."""
    findings: list[Finding] = []
    # A kernel without its modules on the machine is not its own: a container's host's.
    if state.kernel.running in state.kernel.installed:
        findings += _wished(lock, state)
        if installs_driver(lock) and built_by_dkms(lock):
            findings += _not_packaged(state)
    if installs_driver(lock):
        findings += _secure_boot(lock, state)
    return findings


def _wished(lock: StackLock, state: HostState) -> list[Finding]:
    """Hold the spec's `kernel` against the running one and the next boot's."""
    wish = lock.target.kernel
    if wish is None:
        return []
    kernels = {"the running kernel is": state.kernel.running}
    following = state.kernel.next_boot or state.kernel.newest_installed
    if following and following != state.kernel.running:
        kernels["the next boot takes"] = following
    findings = []
    for words, release in kernels.items():
        # Ubuntu's "generic-hwe-24.04" is a series of the flavour "generic".
        flavour = re.sub(r"-hwe-[\d.]+(-edge)?$", "", wish)
        fits = release == wish if EXACT.match(wish) else flavour_of(release) == flavour
        if not fits:
            findings.append(
                refuse(
                    "PREFLIGHT-KERNEL",
                    f"{words} {release}",
                    f"{wish}, the `kernel` that the lock's modules are for",
                    "boot such a kernel, or lock a spec with this host's `kernel` ("
                    f"{flavour_of(release) or release})",
                )
            )
    return findings


def _not_packaged(state: HostState) -> list[Finding]:
    """Refuse a kernel that somebody built: no archive has headers or modules for it."""
    running = state.kernel.running
    images = (f"linux-image-{running}", f"linux-image-unsigned-{running}")
    if any(name in state.packages for name in images) or running in state.kernel.headers:
        return []
    return [
        refuse(
            "PREFLIGHT-KERNEL-FOREIGN",
            f"no package brought the running kernel {running}, and its headers are not installed",
            "a kernel of the distribution, or one whose headers lie in "
            f"/usr/src/linux-headers-{running}",
            "boot the distribution's kernel, or install the headers that belong to yours",
        )
    ]


def _secure_boot(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse modules built here under Secure Boot while no firmware knows the key."""
    if not state.kernel.secure_boot:
        return []
    names = [package.name for package in lock.of("driver")]
    if any(PREBUILT.match(name) for name in names) or not built_by_dkms(lock):
        return []
    built = [name for name in names if "dkms" in name]
    if state.kernel.mok_enrolled:
        return [
            remark(
                "SECURE-BOOT-OWN-KEY",
                "Secure Boot is on; the module is signed with this machine's own enrolled key",
            )
        ]
    known = "no key that DKMS signs with is enrolled in the firmware"
    if state.kernel.mok_enrolled is None:
        known = "whether the firmware knows a key that DKMS signs with cannot be told"
    return [
        refuse(
            "PREFLIGHT-SECURE-BOOT",
            f"Secure Boot is on, {', '.join(built)} is built on the host, and {known}",
            "action required: a module with a signature that this firmware accepts; without one "
            "the driver does not load after the reboot",
            "choose signed modules (spec: `driver: {source: distro}` and `kernel`, where the "
            "archive has them), or enrol the key: mokutil --import "
            "/var/lib/shim-signed/mok/MOK.der (Debian: /var/lib/dkms/mok.pub), reboot, and "
            "confirm at the console",
        )
    ]
