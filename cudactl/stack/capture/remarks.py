"""What a capture says of things that a spec or a lock cannot hold.

One function a remark, so that `capture.py` and `capture_lock.py` decide and this only tells.
"""

from __future__ import annotations

from cudactl.contracts.capture import CaptureRemark
from cudactl.contracts.errors import CudactlError
from cudactl.contracts.state import HostState
from cudactl.stack.capture.packages import component_of

EXPLANATIONS = {
    "CAPTURE-ACTIVE-CUDA": "The toolkit that programs find first is not the one that packages "
    "brought. Only packages can be locked, so the spec names the newest packaged one.",
    "CAPTURE-DRIVER-FOREIGN": "A driver that no package brought cannot be locked or upgraded by "
    "apt. `preinstalled` leaves it alone.",
    "CAPTURE-DRIVER-NOT-LOADED": "The running kernel module is another one than what is installed, "
    "as after an upgrade without a reboot: until then NVML and CUDA report a mismatch.",
    "CAPTURE-FOREIGN": "Runfile installers, tarballs, pip and conda write beside dpkg. Which copy "
    "a program loads then depends on its search path. Home folders are not looked into.",
    "CAPTURE-GPU-UNKNOWN": "A PCI id that no row of the catalogue has; without the GPU, its limits "
    "are not judged.",
    "CAPTURE-HALF-INSTALLED": "A run of dpkg was interrupted or failed. Whether such a package "
    "works is not known.",
    "CAPTURE-KEY": "A repository that is not the vendor's is trusted by its own key, which a spec "
    "names as a file.",
    "CAPTURE-MIXED": "One library of a component was moved alone, by a partial upgrade or an "
    "install of one package. NVIDIA's packages allow it, since they ask for each other with >=.",
    "CAPTURE-NO-COMPONENT": "They came from the same repository and are none of driver, CUDA, "
    "cuDNN, TensorRT, NCCL, DCGM or container toolkit: keys, advice, networking.",
    "CAPTURE-NO-INDEX": "dpkg does not keep the hash of the file that a package came from. It is "
    "in the signed index of its repository, which could not be had.",
    "CAPTURE-NOT-AGAIN": "What is installed does not follow from the spec by the catalogue's rules "
    "and the index, so upgrading has to begin with another spec.",
    "CAPTURE-NOT-HELD": "Without a hold or a pin, the next apt upgrade moves single packages of "
    "the stack.",
    "CAPTURE-NOT-IN-INDEX": "The version was withdrawn, or came from elsewhere under the same "
    "name. Nobody could install this stack a second time.",
    "CAPTURE-NOT-SAYABLE": "A spec names versions by numbers; this package has none, or is of an "
    "older line that cudactl does not install.",
    "CAPTURE-OTHER-ARCH": "Foreign-architecture packages, such as 32-bit libraries for games.",
    "CAPTURE-OTHER-CUDA": "Toolkits of several minors can be installed side by side; a spec and "
    "its certificate are about one.",
    "CAPTURE-OTHER-ORIGIN": "The distribution's archive has NVIDIA packages of its own, some under "
    "the same names, with other versions. A lock takes from one repository.",
    "CAPTURE-OTHER-SOURCE": "More than one repository can offer a package of the same name; apt "
    "decides by priority and version.",
    "CAPTURE-OTHERWISE": "The difference between what is there and what the same versions mean "
    "when they are locked in the usual way: parts that are missing, moved or extra.",
    "CAPTURE-WHEEL-STACK": "Wheel stacks are unpacked from locks; the lock is their record.",
}
"""Code → what it means, for `--explain`."""


class CaptureRefused(CudactlError):
    """A machine of which no spec can be made. Exit code 3."""


def nothing(state: HostState, name: str) -> CaptureRefused:
    looked = [f"{len(state.packages)} installed packages"]
    vendor = state.vendor_files
    if vendor is not None:
        looked.append("/usr/local/cuda*, the library folders, and wheels and conda below /opt")
    seen = [f"{one.path} (of no package)" for one in (vendor.foreign if vendor else [])[:3]]
    seen += [f"the wheel stack /opt/cudactl/stacks/{one.lock}" for one in state.stacks]
    if state.module.loaded is not None:
        seen.append(f"a loaded driver {state.module.loaded}")
    also = f"; there are {', '.join(seen)}, of which no spec can be made" if seen else ""
    return CaptureRefused(
        "CAPTURE-NOTHING",
        f"{name} has no package of NVIDIA's stack (looked at: {', '.join(looked)}){also}",
        expected="a driver, CUDA, cuDNN, TensorRT, NCCL, DCGM or the container toolkit as Debian "
        "packages",
        remedy="to begin a stack: cudactl stack init --host HOST",
    )


def not_sayable(key: str, package: str, version: str) -> CaptureRemark:
    return CaptureRemark(
        code="CAPTURE-NOT-SAYABLE",
        text=f"{package} {version} is installed, and a spec cannot say it; it has no {key}",
        items=[f"{package} {version}"],
        remedy=f"choose a version of {key} by hand",
    )


def mixed(key: str, version: str, others: dict[str, str], remarks: list[CaptureRemark]) -> None:
    if others:
        remarks.append(
            CaptureRemark(
                code="CAPTURE-MIXED",
                text=f"{len(others)} of {key}'s packages are not of {version}, as the spec says",
                items=listed(others),
                remedy="packages of one component are meant to have one version; locking the spec "
                "anew makes them so",
            )
        )


def beside(state: HostState, found: dict[str, str]) -> list[CaptureRemark]:
    """Return remarks on what is there beside working packages of this architecture."""
    remarks = []
    half = {b.name: b.status for b in state.broken if component_of(b.name) is not None}
    if half:
        remarks.append(
            CaptureRemark(
                code="CAPTURE-HALF-INSTALLED",
                text="dpkg was left in the middle of these packages; spec and lock leave them out",
                items=[f"{name} ({status})" for name, status in sorted(half.items())],
                remedy="on the host: dpkg --configure -a && apt-get -f install",
            )
        )
    other_arch = {name: version for name, version in found.items() if ":" in name}
    if other_arch:
        remarks.append(
            CaptureRemark(
                code="CAPTURE-OTHER-ARCH",
                text="these packages are for another processor architecture; a spec has one",
                items=listed(other_arch),
            )
        )
    vendor = state.vendor_files
    if vendor is not None and vendor.foreign:
        more = f", and {vendor.more} more" if vendor.more else ""
        remarks.append(
            CaptureRemark(
                code="CAPTURE-FOREIGN",
                text=f"no package owns these{more}; they are listed and not locked",
                items=[
                    f"{one.path} ({one.kind}{' ' + one.version if one.version else ''})"
                    for one in vendor.foreign
                ],
                remedy="a copy can shadow what packages bring: remove what is not wanted",
            )
        )
    if state.stacks:
        remarks.append(
            CaptureRemark(
                code="CAPTURE-WHEEL-STACK",
                text="wheel stacks of cudactl are there; each has its own lock",
                items=[f"/opt/cudactl/stacks/{one.lock}" for one in state.stacks],
            )
        )
    return remarks


def listed(packages: dict[str, str]) -> list[str]:
    return [f"{name} {version}" for name, version in sorted(packages.items())]
