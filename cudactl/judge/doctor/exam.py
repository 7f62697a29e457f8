"""An examination, made easy to ask. What was not read answers as empty, never as well."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Pattern, Set, Tuple

from ..errors import JudgeError

DRIVER_PACKAGE = re.compile(
    r"^(nvidia-driver(-\d+)?(-server)?(-open)?|nvidia-open(-\d+)?|cuda-drivers(-\d+)?"
    r"|nvidia-headless(-no-dkms)?-\d+(-server)?(-open)?|nvidia-dkms-\d+(-server)?(-open)?"
    r"|nvidia-kernel-(open-)?dkms|nvidia-kernel-source-\d+(-server)?(-open)?"
    r"|libnvidia-compute(-\d+)?(-server)?|nvidia-compute-utils-\d+(-server)?"
    r"|nvidia-utils-\d+(-server)?|libcuda1|libnvidia-ml1|nvidia-driver-(bin|libs|cuda))$"
)
# What one driver release brings, at one version: metapackages may be of another.
SAME_VERSION = re.compile(
    r"^(libnvidia-(compute|cfg1|common|decode|encode|extra|fbc1|gl)(-\d+)?(-server)?"
    r"|nvidia-(dkms|utils|compute-utils|kernel-common|kernel-source)-\d+(-server)?(-open)?"
    r"|nvidia-kernel-(open-)?dkms|libcuda1|libnvidia-ml1|nvidia-driver-(bin|libs|cuda))$"
)
CONTAINERS = ("docker", "podman", "lxc", "containerd", "systemd-nspawn", "oci")
XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)")
SXID = re.compile(r"SXid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)")


def reading_name(reading: Dict[str, Any]) -> str:
    """Return what a GPU is called in NVML's readings."""
    return str(reading.get("uuid") or "GPU %s" % reading.get("index"))


def upstream(version: str) -> str:
    """Return a package version without epoch and revision: 580.95.05-0ubuntu1 → 580.95.05."""
    return re.split(r"[-+~]", version.split(":")[-1])[0]


class Exam:
    """One examination document."""

    def __init__(self, document: Dict[str, Any]) -> None:
        if not isinstance(document, dict) or document.get("schema_version") != 1:
            raise JudgeError("this is no examination of a version that this doctor reads")
        for key in ("state", "signs"):
            if not isinstance(document.get(key), dict):
                raise JudgeError("the examination holds no %s" % key)
        self.taken_at = float(document.get("taken_at") or 0.0)
        self.state: Dict[str, Any] = document["state"]
        self.signs: Dict[str, Any] = document["signs"]
        self.packages: Dict[str, str] = self.state.get("packages") or {}
        self.kernel: Dict[str, Any] = self.state.get("kernel") or {}
        self.module: Dict[str, Any] = self.state.get("module") or {}
        self.gpus: List[Dict[str, Any]] = self.state.get("gpus") or []
        self.lines: List[str] = self.sign("log").get("lines") or []
        self.environment: Dict[str, str] = self.sign("environment")
        self._values: Dict[str, Dict[str, Any]] = {}
        self.legs: Dict[str, Dict[str, Any]] = {}
        for leg in document.get("legs") or []:
            self.legs[str(leg.get("leg"))] = leg
            for one in leg.get("measurements") or []:
                self._values[str(one.get("check"))] = one.get("values") or {}

    def sign(self, name: str) -> Dict[str, Any]:
        """Return one group of signs; empty where it was not read."""
        found = self.signs.get(name)
        return found if isinstance(found, dict) else {}

    def read(self, name: str) -> bool:
        """Return whether a group of signs was read: only then does absence mean something."""
        return bool(self.sign(name))

    def value(self, check: str, key: str) -> Any:  # noqa: ANN401 - whatever was measured
        """Return what a leg measured, or None."""
        return self._values.get(check, {}).get(key)

    @property
    def readings(self) -> List[Dict[str, Any]]:
        """What NVML says of each GPU's counters; empty where it was not asked."""
        listed = self.value("health.gpus", "gpus")
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    @property
    def init_code(self) -> Optional[int]:
        """What cuInit answered; None where it was not asked."""
        code = self.value("driver.libcuda", "init_code")
        return code if isinstance(code, int) else None

    @property
    def nvml_code(self) -> Optional[int]:
        """What nvmlInit answered; None where it was not asked."""
        code = self.value("health.nvml", "init_code")
        return code if isinstance(code, int) else None

    @property
    def running(self) -> str:
        """The running kernel's release."""
        return str(self.kernel.get("running") or "")

    @property
    def loaded(self) -> Optional[str]:
        """Version of the loaded module."""
        return self.module.get("loaded") or self.sign("modules").get("loaded_version")

    @property
    def in_container(self) -> bool:
        """The machine is a container: its kernel and modules are somebody else's."""
        return self.state.get("virtualization") in CONTAINERS

    @property
    def wsl(self) -> bool:
        """The machine is a guest of Windows."""
        return self.state.get("virtualization") == "wsl"

    @property
    def own_kernel(self) -> bool:
        """The machine has a GPU and a kernel of its own, so that a module belongs on it."""
        own = bool(self.gpus) and not self.in_container and not self.wsl
        return own and self.read("modules")

    @property
    def loaded_modules(self) -> List[str]:
        """Modules of interest that are loaded."""
        return list(self.sign("modules").get("loaded") or [])

    @property
    def nouveau(self) -> bool:
        """True when nouveau is loaded."""
        return bool(self.module.get("nouveau")) or "nouveau" in self.loaded_modules

    def on_disk(self, release: str) -> Dict[str, Optional[str]]:
        """Return path → version of the modules that lie on disk for a kernel."""
        files = self.sign("modules").get("files") or {}
        found = {str(one["path"]): one.get("version") for one in files.get(release) or []}
        if not found:
            for build in self.dkms:
                if release in (build.get("built_for") or []):
                    found["dkms %s/%s" % (build["name"], build["version"])] = build["version"]
        return found

    @property
    def dkms(self) -> List[Dict[str, Any]]:
        """DKMS's versions of NVIDIA's module."""
        return list(self.sign("modules").get("dkms") or [])

    @property
    def driver_packages(self) -> List[str]:
        """Installed packages that bring (part of) the driver."""
        return sorted(name for name in self.packages if DRIVER_PACKAGE.match(name))

    @property
    def driver_versions(self) -> Dict[str, List[str]]:
        """Upstream version → installed packages that must all be of one version."""
        found: Dict[str, List[str]] = {}
        for name, version in self.packages.items():
            if SAME_VERSION.match(name.split(":")[0]) and name not in self.transitional:
                found.setdefault(upstream(version), []).append(name)
        return found

    @property
    def transitional(self) -> Dict[str, str]:
        """Installed packages that only stand for another → what dpkg says of them."""
        listed = self.sign("packaging").get("transitional") or []
        return {str(one["name"]): str(one["description"]) for one in listed}

    @property
    def node_paths(self) -> List[str]:
        """NVIDIA's device files."""
        return list(self.state.get("device_nodes") or [])

    @property
    def models(self) -> List[str]:
        """What the driver calls the GPUs."""
        return [str(g["model"]) for g in self.pci if g.get("model")]

    @property
    def pci(self) -> List[Dict[str, Any]]:
        """GPUs with what PCI and the driver say of each."""
        return list(self.sign("device").get("gpus") or [])

    @property
    def running_daemons(self) -> Dict[str, int]:
        """Daemons that run."""
        return self.sign("processes").get("running") or {}

    @property
    def libraries(self) -> List[Dict[str, Any]]:
        """Libraries in the order in which the loader finds them."""
        return list(self.sign("loader").get("found") or [])

    def first(self, soname: str) -> Optional[Dict[str, Any]]:
        """Return the copy of a library that a program would get."""
        return next((one for one in self.libraries if one["soname"] == soname), None)

    @property
    def driver_files(self) -> List[Dict[str, str]]:
        """libcuda and NVML on disk, with the version in their name, of the machine itself."""
        files = self.sign("loader").get("driver_files") or []
        return [f for f in files if "/compat" not in f["path"] and "/stubs" not in f["path"]]

    def said(self, pattern: str) -> List[str]:
        """Return the kernel log's lines that match."""
        wanted: Pattern[str] = re.compile(pattern, re.IGNORECASE)
        return [line for line in self.lines if wanted.search(line)]

    def xids(self) -> List[Tuple[str, int, str]]:
        """Return (PCI address, XID, line) in the order in which they came."""
        # "… recovery action changed from … to 0x0 (None)" takes an earlier one back.
        lines = [line for line in self.lines if "to 0x0 (None)" not in line]
        found = [(XID.search(line), line) for line in lines]
        return [(m.group(1), int(m.group(2)), line) for m, line in found if m]

    def sxids(self) -> List[Tuple[str, int, str]]:
        """Return (PCI address, SXID, line): what the NVSwitches said."""
        found = [(SXID.search(line), line) for line in self.lines]
        return [(m.group(1), int(m.group(2)), line) for m, line in found if m]

    def names(self, pattern: str) -> Set[str]:
        """Return the installed packages whose whole name matches."""
        return {name for name in self.packages if re.match("^(?:%s)$" % pattern, name)}
