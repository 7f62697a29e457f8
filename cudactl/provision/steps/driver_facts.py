"""What the driver's steps ask of a lock and a host: version, kernels, headers, its packages.

Which packages make up NVIDIA's driver is told by their names and by the shape of their versions, so
that an installation from any of its sources is seen: NVIDIA's own repository, Ubuntu's, Debian's.
"""

from __future__ import annotations

import re

from cudactl.contracts.lock import StackLock
from cudactl.contracts.state import HostState
from cudactl.provision.steps.apt import locked_debs

_VERSION = re.compile(r"(?:[0-9]+:)?([0-9]{3}\.[0-9]+(?:\.[0-9]+)?)(?:[-+~].*)?")
"""Of a package of the driver's: "580.95.05-1ubuntu1" → "580.95.05"."""
_FAMILY = re.compile(
    r"(lib)?nvidia-.+|libcuda1(-.+)?|libnvcuvid1|libnvsdm|libnvoptix1|nvlink5(-.+)?"
    r"|xserver-xorg-video-nvidia(-.+)?|cuda-drivers(-.+)?|firmware-nvidia-.+"
)
_PREBUILT = re.compile(r"linux-(modules|objects|signatures)-nvidia-.+")
# NVIDIA's too, with versions or lives of their own: pins, tools, containers.
_OTHERS = re.compile(
    r"nvidia-(driver-pinning-.+|driver-assistant|settings|prime|xconfig|modprobe|container-.+"
    r"|cuda-.+|cudnn.*|gds.*|fs.*|docker.*|support|installer-cleanup|egl-.+)"
    r"|libnvidia-(container.*|egl-.+)|.*-pinning-.+"
)
# Packages of one flavour of the kernel module; all the rest serves both.
_OF_A_FLAVOUR = re.compile(
    r"nvidia-((dkms|kernel-source|headless|headless-no-dkms|driver)(?P<branch>-[0-9]+)?(-server)?"
    r"(?P<open>-open)?|kernel(?P<debian>-open)?-dkms|(?P<meta>open)(-[0-9]+)?)|cuda-drivers(-.+)?"
)
_IMAGE = re.compile(r"linux-image-(?![0-9]|unsigned-|extra-)(?!.*-dbg)(.+)")


def driver_version(lock: StackLock) -> str | None:
    """Return the driver that the lock brings; None where it brings none."""
    version = lock.resolved.get("driver")
    if version in (None, "none", "preinstalled") or not _driver_debs(lock):
        return None
    return version


def _driver_debs(lock: StackLock) -> list[str]:
    return [p.name for p in locked_debs(lock) if p.component == "driver"]


def built_by_dkms(lock: StackLock) -> bool:
    """Return True when the lock's kernel module is built on the host."""
    return any("dkms" in name for name in _driver_debs(lock))


def kernels(state: HostState) -> list[str]:
    """Return the releases that need a module: the running kernel's and the next boot's.

    A kernel whose modules are not on the machine is not its own: a container's host's.
    """
    following = state.kernel.next_boot or state.kernel.newest_installed
    wanted = dict.fromkeys(r for r in (state.kernel.running, following) if r is not None)
    return [release for release in wanted if release in state.kernel.installed]


def without_module(lock: StackLock, state: HostState) -> list[str]:
    """Return the kernels that have no module of the lock's version and flavour."""
    version = driver_version(lock)
    if version is None:
        return []
    there = {
        file.kernel
        for file in state.module.files
        if file.version == version and file.flavour in (None, lock.driver_flavour)
    }
    there |= _came_compressed(lock, state)
    wanted = kernels(state)
    if not built_by_dkms(lock):
        # Prebuilt modules come for the kernels that the archive has now: the next boot's.
        wanted = wanted[-1:]
    return [release for release in wanted if release not in there]


def _came_compressed(lock: StackLock, state: HostState) -> set[str]:
    """Return the kernels with a prebuilt module that is not unpacked to see its version.

    Its package says it: the series and the kernel are in the name.
    """
    locked = {p.name for p in locked_debs(lock)}
    return {
        file.kernel
        for file in state.module.files
        if file.version is None
        and any(
            _PREBUILT.fullmatch(name)
            and name.endswith(f"-{file.kernel}")
            and _same_series(name, locked)
            for name in state.packages
        )
    }


def headers_missing(lock: StackLock, state: HostState) -> list[str]:
    """Return the header packages that building the module needs and the host has not.

    Those of each kernel, and the distribution's metapackage for the kernel in use, without which
    the next kernel update would leave the driver behind.
    """
    releases = kernels(state)
    if not built_by_dkms(lock) or not releases:
        return []
    names = [f"linux-headers-{r}" for r in releases if r not in state.kernel.headers]
    for package in state.packages:
        image = _IMAGE.fullmatch(package)
        if image is not None:
            names.append(f"linux-headers-{image[1]}")
    return sorted({name for name in names if name not in state.packages})


def family(state: HostState) -> dict[str, str]:
    """Return the installed packages that make up a driver: name (":arch" where foreign) → version.

    Whoever takes a driver away removes exactly these.
    """
    return {name: version for name, version in state.packages.items() if _is_family(name, version)}


def _is_family(name: str, version: str) -> bool:
    plain = name.partition(":")[0]
    if _PREBUILT.fullmatch(plain):
        return True
    if not _FAMILY.fullmatch(plain) or _OTHERS.fullmatch(plain):
        return False
    return _VERSION.fullmatch(version) is not None


def upstream_version(version: str) -> str | None:
    """Return the driver's version in a package's: "580.95.05-1ubuntu1" → "580.95.05"."""
    found = _VERSION.fullmatch(version)
    return found[1] if found is not None else None


def leftovers(lock: StackLock, state: HostState) -> list[str]:
    """Return the driver's packages that cannot stay beside the lock's.

    Those of another version or of the other flavour: of another branch, of another source, or what
    a desktop installation has and the lock has not. What is of the same version may stay.
    """
    version = driver_version(lock)
    if version is None:
        return []
    locked = {p.name for p in locked_debs(lock)}
    prebuilt = not built_by_dkms(lock)
    found = []
    for name, there in family(state).items():
        plain = name.partition(":")[0]
        if plain in locked:
            continue
        if _PREBUILT.fullmatch(plain):
            # Prebuilt modules of the lock's own series come and go with kernels.
            if not prebuilt or not _same_series(plain, locked):
                found.append(name)
        elif upstream_version(there) != version or _other_flavour(plain, lock):
            found.append(name)
    return sorted(found)


def _same_series(name: str, locked: set[str]) -> bool:
    series = re.match(r"linux-\w+-nvidia-([0-9]+(?:-server)?(?:-open)?)", name)
    return series is not None and any(f"-nvidia-{series[1]}-" in other for other in locked)


def _other_flavour(name: str, lock: StackLock) -> bool:
    found = _OF_A_FLAVOUR.fullmatch(name)
    if found is None or lock.driver_flavour is None:
        return False
    if name == "nvidia-driver" and lock.target.os.startswith("debian"):
        return False  # Debian's metapackage takes either
    is_open = bool(found["open"] or found["debian"] or found["meta"])
    return is_open != (lock.driver_flavour == "open")
