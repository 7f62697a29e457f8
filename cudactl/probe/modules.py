"""NVIDIA's kernel module: on disk for each kernel, built by DKMS, loaded, and who signed it.

Only the places where distributions, DKMS and NVIDIA's packages put it are looked into, and of a
module (up to 100 MB) only its section of facts and its signature are read.
"""

from __future__ import annotations

import os
import struct

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Dict, List, Optional

# Below /lib/modules/<release>/.
FOLDERS = (
    *("updates/dkms", "updates", "extra", "kernel/drivers/video", "kernel/drivers/char/drm"),
    *("nvidia", "kernel/nvidia", "updates/nvidia", "weak-updates"),
)
COMPRESSED = (".xz", ".zst", ".gz")
# Modules beside the driver's own, which say nothing of their own.
SIBLINGS = ("-uvm", "-drm", "-modeset", "-peermem", "-fs", "-vgpu-vfio")
SIGNED = b"~Module signature appended~\n"
COMMON_NAME = b"\x06\x03\x55\x04\x03"  # DER: object identifier 2.5.4.3
STRINGS = (0x0C, 0x13, 0x14, 0x16)  # UTF8String, PrintableString, TeletexString, IA5String
LARGEST_SIGNATURE = 64 * 1024
LARGEST_SECTION = 1024 * 1024
MOK_LISTS = (
    "/sys/firmware/efi/mok-variables/MokListRT",
    "/sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23",
)
SIGNING_CERTIFICATES = ("/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub")
MODPROBE_FOLDERS = (  # the last one's file of a name is the one that counts
    *("/lib/modprobe.d", "/usr/lib/modprobe.d", "/usr/local/lib/modprobe.d", "/run/modprobe.d"),
    "/etc/modprobe.d",
)
NOTHING = ("/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true", ":")
DKMS = "/var/lib/dkms"


def module_paths(root: Root, release: str) -> List[str]:
    """Return every nvidia.ko for a kernel in the usual places."""
    base = "/lib/modules/" + release
    folders = [base + "/" + folder for folder in FOLDERS]
    # Ubuntu's prebuilt ones lie in kernel/nvidia-580-open/.
    for above in (base, base + "/kernel"):
        folders += [above + "/" + name for name in root.list(above) if name[:7] == "nvidia-"]
    found = []
    for folder in folders:
        for name in root.list(folder):
            stem, separator, rest = name.partition(".ko")
            if separator and rest in ("", *COMPRESSED) and _is_driver(stem):
                found.append("%s/%s" % (folder, name))
    return found


def module_files(root: Root, builds: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return ModuleFile for every nvidia.ko in the usual places, kernel by kernel.

    Args:
        root: The machine.
        builds: What DKMS has, for modules that are too large to unpack.
    """
    return [
        dict(
            _by_dkms(root, release, builds) if path.endswith(COMPRESSED) else _about(root, path),
            kernel=release,
            path=path,
        )
        for release in root.list("/lib/modules")
        for path in module_paths(root, release)
    ]


def _is_driver(stem: str) -> bool:
    """Return whether a module is the driver itself: nvidia, nvidia-current, nvidia-tesla-535 …"""
    if not stem.startswith("nvidia") or stem.endswith(SIBLINGS):
        return False
    return stem == "nvidia" or stem.startswith(("nvidia-current", "nvidia-tesla", "nvidia-legacy"))


def _by_dkms(root: Root, release: str, builds: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Return what DKMS built for a kernel: unpacking 100 MB for each kernel would cost seconds."""
    for build in builds:
        if build["kernel"] == release and _is_driver(build["module"]):
            source = "/usr/src/%s-%s" % (build["module"], build["version"])
            flavour = _source_flavour(root, source)
            return {"version": build["version"], "flavour": flavour, "signer": None}
    return {"version": None, "flavour": None, "signer": None}


def _about(root: Root, path: str) -> Dict[str, Any]:
    said: Dict[str, str] = {}
    signer = None
    try:
        with open(root.at(path), "rb") as stream:
            said = _module_facts(stream)
            signer = _signer(stream)
    except OSError:
        pass
    flavour = flavour_of(said.get("license"))
    return {"version": said.get("version"), "flavour": flavour, "signer": signer}


def flavour_of(licence: Optional[str]) -> Optional[str]:
    """Return the flavour that a module's licence tells."""
    if not licence:
        return None
    return "open" if licence == "Dual MIT/GPL" else "proprietary"


def _source_flavour(root: Root, folder: str) -> Optional[str]:
    """Return the flavour by the licence in the source that DKMS builds."""
    for name in ("nv.c", "nv-frontend.c"):
        for below in ("nvidia", "kernel-open/nvidia", "kernel/nvidia"):
            text = root.text("%s/%s/%s" % (folder, below, name)) or ""
            _, found, rest = text.partition('MODULE_LICENSE("')
            if found:
                return flavour_of(rest.partition('"')[0])
    return None


def _module_facts(stream: BinaryIO) -> Dict[str, str]:
    """Return the facts of a module's .modinfo section (elf(5), 64 bits, little-endian)."""
    try:
        head = stream.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            return {}
        offset = struct.unpack_from("<Q", head, 40)[0]
        size, count, names_at = struct.unpack_from("<HHH", head, 58)
        stream.seek(offset)
        table = stream.read(size * min(count, 4096))
        sections = [struct.unpack_from("<IIQQQQ", table, size * i) for i in range(count)]
        stream.seek(sections[names_at][4])
        names = stream.read(min(sections[names_at][5], LARGEST_SECTION))
        for section in sections:
            if names[section[0] : section[0] + 9] == b".modinfo\0":
                stream.seek(section[4])
                text = stream.read(min(section[5], LARGEST_SECTION)).decode("utf-8", "replace")
                pairs = [line.partition("=") for line in text.split("\0") if "=" in line]
                return {key: value for key, _, value in reversed(pairs)}
    except (struct.error, IndexError, ValueError, OverflowError):
        pass  # cut off, or no module at all
    return {}


def _signer(stream: BinaryIO) -> Optional[str]:
    """Return the common name in a module's signature.

    The kernel's layout (scripts/sign-file.c): PKCS#7, twelve bytes that end in its length, and a
    magic text. The signature carries no certificate, so its only name is the issuer's.
    """
    size = stream.seek(0, os.SEEK_END)
    if size < len(SIGNED) + 12:
        return None
    stream.seek(size - len(SIGNED) - 12)
    tail = stream.read()
    length = int.from_bytes(tail[8:12], "big")
    if tail[12:] != SIGNED or not 0 < length <= min(LARGEST_SIGNATURE, size - len(tail)):
        return None
    stream.seek(size - len(tail) - length)
    _, found, rest = stream.read(length).partition(COMMON_NAME)
    if found and len(rest) > 2 and rest[0] in STRINGS and rest[1] < 0x80:
        name = rest[2 : 2 + rest[1]].decode("utf-8", "replace")
        return name if name.isprintable() and name else "a key without a name"
    return "a key without a name"


def dkms(root: Root) -> List[Dict[str, Any]]:
    """Return DkmsBuild for each NVIDIA module, version and kernel, as dkms(8) lays its tree out."""
    found = []
    for module in root.list(DKMS):
        if not module.startswith(("nvidia", "gdrdrv")):
            continue
        tree = "%s/%s" % (DKMS, module)
        installed = [root.link("%s/%s" % (tree, n)) for n in root.list(tree) if n[:7] == "kernel-"]
        for version in root.list(tree):
            if version[:1] not in "123456789" or root.link("%s/%s" % (tree, version)):
                continue
            base = "%s/%s" % (tree, version)
            status = _statuses(root, base, [i for i in installed if i])
            for kernel in sorted(status, key=str):
                found.append(
                    {
                        "module": module,
                        "version": version,
                        "kernel": kernel,
                        "status": status[kernel],
                    }
                )
    return found


def built_for(root: Root, base: str) -> List[str]:
    """Return the releases that a version's tree has modules for, as <release>/<architecture>."""
    return [
        release
        for release in root.list(base)
        if release[:1].isdigit()
        and any(
            root.exists("%s/%s/%s/module" % (base, release, arch))
            for arch in root.list("%s/%s" % (base, release))
        )
    ]


def _statuses(root: Root, base: str, installed: List[str]) -> Dict[Optional[str], str]:
    """Return kernel → status of one version; a source that is built for none has no kernel."""
    found: Dict[Optional[str], str] = {}
    for release in built_for(root, base):
        path = "/%s/%s/" % (os.path.basename(base), release)
        there = any(path in "/" + link for link in installed)
        found[release] = "installed" if there else "built"
    # It is cleared away after a build that went well.
    log = root.text(base + "/build/make.log")
    if log is not None:
        words = log[:400].split()
        kernel = words[words.index("kernel") + 1 :][:1] if "kernel" in words else []
        if kernel and kernel[0] not in found:
            found[kernel[0]] = "failed"
        elif not kernel and not found:
            found[None] = "failed"
    return found or {None: "added"}


def on_disk(files: List[Dict[str, Any]], builds: List[Dict[str, Any]]) -> Dict[str, str]:
    """Return kernel → version, by the module's file first and DKMS's record second."""
    found = {
        build["kernel"]: build["version"]
        for build in builds
        if build["kernel"]
        and build["status"] in ("built", "installed")
        # gdrdrv and nvidia-fs have versions of their own.
        and _is_driver(build["module"])
    }
    found.update({one["kernel"]: one["version"] for one in files if one["version"]})
    return found


def references(root: Root) -> Dict[str, int]:
    """Return loaded NVIDIA module → how many users it has."""
    found = {}
    for line in (root.text("/proc/modules") or "").splitlines():
        words = line.split()
        if len(words) > 2 and words[0].startswith(("nvidia", "gdrdrv")) and words[2].isdigit():
            found[words[0]] = int(words[2])
    return found


def parameters(root: Root) -> Dict[str, str]:
    """Return the loaded module's parameters."""
    found = {}
    for line in (root.text("/proc/driver/nvidia/params") or "").splitlines():
        name, separator, value = line.partition(":")
        if separator:
            found[name.strip()] = value.strip().strip('"')
    return found


def forbidden(root: Root) -> List[Dict[str, str]]:
    """Return the lines of modprobe's configuration that keep nouveau or NVIDIA's from loading."""
    files: Dict[str, str] = {}
    for folder in MODPROBE_FOLDERS:
        files.update({n: "%s/%s" % (folder, n) for n in root.list(folder) if n.endswith(".conf")})
    found = []
    for path in files.values():
        for line in (root.text(path) or "").replace("\\\n", " ").splitlines():
            words = [*line.split(), "", ""]
            module = words[1].rstrip(",")
            if module != "nouveau" and not module.startswith("nvidia"):
                continue
            if (
                words[0] == "blacklist"
                or (words[0] == "install" and words[2] in NOTHING)
                or (words[0] == "alias" and words[2] == "off")
            ):
                found.append({"file": path, "module": module, "line": line.strip()})
    return found


def mok_enrolled(root: Root) -> Optional[bool]:
    """Return whether the key that DKMS signs with is one that the firmware was told of."""
    paths = list(SIGNING_CERTIFICATES)
    for line in (root.text("/etc/dkms/framework.conf") or "").splitlines():
        name, _, value = line.strip().partition("=")
        value = value.strip("\"'")
        if name == "mok_certificate" and value.startswith("/"):
            paths.insert(0, os.path.normpath(value))
    mine = next((c for c in (_content(root, path) for path in paths) if c), None)
    if mine is None:
        return None
    lists = [known for known in (_content(root, path) for path in MOK_LISTS) if known]
    return any(mine in known for known in lists) if lists else None


def _content(root: Root, path: str) -> Optional[bytes]:
    try:
        with open(root.at(path), "rb") as stream:
            return stream.read(1024 * 1024)
    except OSError:
        return None
