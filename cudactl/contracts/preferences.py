"""A lock as apt preferences: every locked package at its version, the driver's names at one origin.

One implementation for two readers: the repository role places this text on hosts, `stack export`
hands it to whoever installs by other means. The same lock always gives the same bytes.
"""

from __future__ import annotations

import fnmatch

from cudactl.contracts.lock import LockedPackage, StackLock

GENERATED = "# Written by cudactl from the lock {lock}; changes here are overwritten.\n"
# Above 1000, so that apt also goes down to the locked version when something newer is installed.
PIN_PRIORITY = 1001
# NVIDIA's driver in whichever archive's names; the toolkit and containers have names of their own.
DRIVER_FAMILY = (
    *("nvidia-driver*", "nvidia-open*", "nvidia-headless-*", "nvidia-dkms-*", "nvidia-kernel-*"),
    *("nvidia-utils*", "nvidia-compute-utils*", "nvidia-persistenced", "nvidia-firmware*"),
    *("nvidia-fabricmanager*", "nvidia-imex*", "cuda-drivers*", "xserver-xorg-video-nvidia*"),
    *("libnvidia-cfg1*", "libnvidia-common*", "libnvidia-compute*", "libnvidia-decode*"),
    *("libnvidia-encode*", "libnvidia-extra*", "libnvidia-fbc1*", "libnvidia-gl*"),
    *("libnvidia-gpucomp*", "libnvidia-nscq*", "libnvsdm*"),
    *("linux-modules-nvidia-*", "linux-objects-nvidia-*", "linux-signatures-nvidia-*"),
)
ORIGINS = {"ubuntu": "Ubuntu", "debian": "Debian"}
"""Family of distributions → Origin in its archive's Release files."""
VENDOR_ORIGIN = "NVIDIA"
"""Origin in the Release files of NVIDIA's CUDA repositories ("release o=NVIDIA,l=NVIDIA CUDA" in
what apt-cache policy prints, for ubuntu1804 and debian12 alike); its other repositories differ."""


def apt_packages(lock: StackLock) -> list[LockedPackage]:
    """Return the lock's packages that come from an apt source, in the lock's order."""
    names = {source.name for source in lock.sources if source.kind == "apt"}
    return [package for package in lock.packages if package.source in names]


def apt_preferences(lock: StackLock) -> str:
    """Return the text of a file in /etc/apt/preferences.d/; empty for a lock without apt."""
    stanzas = [
        f"Package: {p.name}\nPin: version {p.version}\nPin-Priority: {PIN_PRIORITY}\n"
        for p in apt_packages(lock)
    ]
    if not stanzas:
        return ""
    stanzas += _one_origin(lock)
    return GENERATED.format(lock=lock.short_hash) + "\n" + "\n".join(stanzas)


def _one_origin(lock: StackLock) -> list[str]:
    """Return the pins that leave the driver's names to the origin that the lock has it from.

    Without them a name that is not locked (another branch, a graphical part) may come from the
    other archive, and half a driver from each does not load. Of several stanzas for a package apt
    takes the first, so what is locked, and what the distribution must bring, stays as it is.
    """
    driver = lock.of("driver")
    if not driver:
        return []
    sources = {source.name: source for source in lock.sources}
    from_distribution = all(sources[p.source].distribution for p in driver if p.source in sources)
    distribution = ORIGINS[lock.target.os.partition("-")[0]]
    other = VENDOR_ORIGIN if from_distribution else distribution
    needed = [
        external.name
        for external in lock.external
        if any(fnmatch.fnmatchcase(external.name, pattern) for pattern in DRIVER_FAMILY)
    ]
    kept = [
        f"Package: {name}\nPin: release o={distribution}\nPin-Priority: 500\n" for name in needed
    ]
    return [
        *kept,
        f"Package: {' '.join(DRIVER_FAMILY)}\nPin: release o={other}\nPin-Priority: -1\n",
    ]
