"""What sort of machine it is: its maker, DGX OS, a vGPU guest, NVSwitches, MIG, alternatives."""

from __future__ import annotations

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

PCI = "/sys/bus/pci/devices"
NVIDIA, BRIDGE = "0x10de", "0x0680"  # an NVSwitch is a bridge of no other kind
# The first device id of the generation whose NVLink switches no longer show on the PCI bus.
BLACKWELL = 0x2900
# In the vital product data of the network functions that lead to those switches.
SWITCH_MANAGEMENT = b"SW_MNG"
VENDOR_CAPABILITY = 0x09
VGPU = b"VF"
CAPABILITIES = "/proc/driver/nvidia/capabilities"
ALTERNATIVES = ("cuda", "nvidia", "glx")


def platform(root: Root, gpus: List[Dict[str, Any]], packages: Dict[str, str]) -> Dict[str, Any]:
    """Return Platform."""
    return {
        "vendor": root.line("/sys/class/dmi/id/sys_vendor"),
        "product": root.line("/sys/class/dmi/id/product_name"),
        "dgx_os": _dgx_os(root),
        "vgpu_guest": _vgpu_guest(root, gpus, packages),
        "nvswitches": switches(root),
        "nvlink5": _nvlink5(root, gpus),
        "mig_instances": _mig_instances(root),
        # Kubernetes makes the folder also where the driver is the host's own.
        "driver_container": bool(root.list("/run/nvidia/driver")),
    }


def switches(root: Root) -> int:
    """Return how many NVSwitches show on the PCI bus."""
    return sum(
        root.line("%s/%s/vendor" % (PCI, address)) == NVIDIA
        for address in root.list(PCI)
        if (root.line("%s/%s/class" % (PCI, address)) or "").startswith(BRIDGE)
    )


def _dgx_os(root: Root) -> Optional[str]:
    """Return DGX OS's version: the last update's, or the one that was installed first."""
    text = root.text("/etc/dgx-release")
    if text is None:
        return None
    found: Dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found[key.strip()] = value.strip().strip("\"'")
    return found.get("DGX_OTA_VERSION") or found.get("DGX_SWBUILD_VERSION") or "unknown"


def _vgpu_guest(root: Root, gpus: List[Dict[str, Any]], packages: Dict[str, str]) -> Optional[bool]:
    """Return whether a GPU is a virtual one; None where there is none or it cannot be told."""
    if any(name.startswith("nvidia-linux-grid") for name in packages):
        return True
    for address in root.list("/proc/driver/nvidia/gpus"):
        text = root.text("/proc/driver/nvidia/gpus/%s/information" % address) or ""
        model = next((line for line in text.splitlines() if line.startswith("Model:")), "")
        # A vGPU's model ends in its profile: "NVIDIA A40-48Q".
        profile = model.strip().rpartition("-")[2]
        if profile[:-1].isdigit() and profile[-1:] in ("A", "B", "C", "Q"):
            return True
    said = [_virtual(root, gpu["address"]) for gpu in gpus]
    if any(said):
        return True
    return None if None in said or not said else False


def _virtual(root: Root, address: str) -> Optional[bool]:
    """Return whether a GPU's vendor capability carries the sign of a vGPU (NVIDIA/go-nvlib)."""
    try:
        with open(root.at("%s/%s/config" % (PCI, address)), "rb") as stream:
            config = stream.read(256)
    except OSError:
        return None
    if len(config) < 256:  # only root may read past the first 64 bytes
        return None
    at, seen = config[0x34], set()
    while at >= 0x40 and at + 5 <= len(config) and at not in seen:
        seen.add(at)
        if config[at] == VENDOR_CAPABILITY:
            return config[at + 3 : at + 5] == VGPU
        at = config[at + 1]
    return False


def _nvlink5(root: Root, gpus: List[Dict[str, Any]]) -> bool:
    """Return whether a network function manages NVLink switches, on the generations that have it.

    Vital product data is slow to read, so other machines' is not.
    """
    try:
        if not any(int(gpu["device"], 16) >= BLACKWELL for gpu in gpus):
            return False
    except ValueError:
        return False
    for name in root.list("/sys/class/infiniband"):
        try:
            with open(root.at("/sys/class/infiniband/%s/device/vpd" % name), "rb") as stream:
                if SWITCH_MANAGEMENT in stream.read(4096):
                    return True
        except OSError:
            continue
    return False


def _mig_instances(root: Root) -> Optional[int]:
    if not root.exists("/proc/driver/nvidia"):
        return None
    return sum(
        name.startswith("gi") and name[2:].isdigit()
        for gpu in root.list(CAPABILITIES)
        if gpu.startswith("gpu")
        for name in root.list("%s/%s/mig" % (CAPABILITIES, gpu))
    )


def alternatives(root: Root) -> Dict[str, str]:
    """Return NVIDIA's alternatives and where each leads."""
    found = {}
    for name in root.list("/etc/alternatives"):
        if name.startswith(ALTERNATIVES):
            target = root.link("/etc/alternatives/" + name)
            if target:
                found[name] = target
    return found


def ssh(root: Root) -> Dict[str, Any]:
    """Return SshState."""
    main = "/etc/ssh/sshd_config"
    folder = main + ".d"
    text = (root.text(main) or "").lower()
    others = ["%s/%s" % (folder, n) for n in root.list(folder) if not n.startswith("cudactl-")]
    assigned = [
        line.partition("=")[2].strip().strip("\"'")
        for line in (root.text("/etc/environment") or "").splitlines()
        if line.replace("export ", "").strip().startswith("PATH=")
    ]
    return {
        "drop_ins": any(
            line.startswith("include ") and folder in line for line in text.splitlines()
        ),
        "set_env": [
            path
            for path in (main, *others)
            if any(
                line.strip().lower().startswith("setenv")
                for line in (root.text(path) or "").splitlines()
            )
        ],
        "path": assigned[-1] if assigned else None,
    }
