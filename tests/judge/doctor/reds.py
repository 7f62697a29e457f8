"""One fault per red: how it shows on a machine, and what doctor must say first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.judge.doctor.machines import (
    CDI_FILE,
    CUDA,
    DRIVER,
    GPU,
    KERNEL,
    LIB,
    REPOSITORY,
    Link,
    Tree,
    cdi,
    healthy,
    legs,
    module,
    packages,
    status,
)

Change = Callable[[Any], object]
NEWER = "580.105.08"
NEW_KERNEL = "6.8.0-40-generic"


@dataclass(frozen=True)
class Red:
    """One injected fault."""

    code: str
    name: str
    change: Change
    says: str
    severity: str = "broken"
    then: Change = field(default=lambda document: None)
    """What cannot be put into a tree of files: changed in the examination itself."""
    explains: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    base: Callable[[], Tree] = healthy

    def __str__(self) -> str:
        return f"{self.code}: {self.name}"


def gone(tree: Tree, *starts: str) -> None:
    """Remove everything whose path starts with one of these."""
    for path in [p for p in tree if p.startswith(starts)]:
        del tree[path]


def unloaded(tree: Tree) -> None:
    """The module is not loaded, and what follows from that."""
    gone(tree, "/proc/driver/nvidia", "/dev/nvidia", "/legs.json")
    tree["/proc/modules"] = "ext4 1 2 - Live\n"
    tree[f"/sys/devices/pci0000:00/0000:16:01.0/{GPU}/driver"] = Link("/x/none")


def on_log(*lines: str) -> Change:
    def change(tree: Tree) -> None:
        tree["/dev/kmsg"] += "".join(f"4,{n + 9},9{n},-;{line}\n" for n, line in enumerate(lines))

    return change


def together(*changes: Change) -> Change:
    def change(tree: Tree) -> None:
        for one in changes:
            one(tree)

    return change


def without_module(tree: Tree) -> None:
    """Nothing on disk for the running kernel."""
    unloaded(tree)
    gone(tree, f"/lib/modules/{KERNEL}/updates", f"/var/lib/dkms/nvidia/{DRIVER}/{KERNEL}")


def installed(change: dict[str, str | None], **more: str) -> Change:
    """Change what dpkg has: name → version, or None to remove."""

    def apply(tree: Tree) -> None:
        there: dict[str, str | None] = {**packages(), **change}
        tree["/var/lib/dpkg/status"] = status({k: v for k, v in there.items() if v}, **more)

    return apply


def environment(**values: str) -> Change:
    def change(tree: Tree) -> None:
        tree["/environ"] += "".join(f"{k}={v}\n" for k, v in values.items())

    return change


def answers(init: int = 0, nvml: int = 0) -> Change:
    return lambda tree: tree.update({"/legs.json": json.dumps(legs(init, nvml))})


def reading(**values: Any) -> Change:
    return lambda tree: tree.update({"/legs.json": json.dumps(legs(**values))})


def put(path: str, content: Any) -> Change:
    return lambda tree: tree.update({path: content})


def drop(*starts: str) -> Change:
    return lambda tree: gone(tree, *starts)


def upgraded_on_disk(tree: Tree) -> None:
    """Everything of the driver on disk is newer than the loaded module."""
    gone(tree, f"{LIB}/libcuda", f"{LIB}/libnvidia-ml", f"/var/lib/dkms/nvidia/{DRIVER}")
    for name in ("libcuda", "libnvidia-ml"):
        tree[f"{LIB}/{name}.so.1"] = Link(f"{name}.so.{NEWER}")
        tree[f"{LIB}/{name}.so.{NEWER}"] = "x"
    tree[f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko"] = module(NEWER)
    tree[f"/var/lib/dkms/nvidia/{NEWER}/{KERNEL}/x86_64/module/nvidia.ko"] = ""
    versions = {n: f"{NEWER}-0ubuntu1" for n, v in packages().items() if v.startswith(DRIVER)}
    installed({**versions, "nvidia-fabricmanager": f"{DRIVER}-1"})(tree)
    tree[CDI_FILE] = cdi(DRIVER).replace(f"libcuda.so.{DRIVER}", "libcuda.so")
    tree[f"{LIB}/libcuda.so"] = "x"
    answers(803, 18)(tree)


def container() -> Tree:
    """A container with a GPU handed in."""
    tree = healthy()
    gone(tree, "/lib/modules", "/var/lib/dkms", "/usr/bin/", "/etc/docker", "/etc/cdi", "/boot")
    gone(tree, "/proc/812", "/proc/813", "/usr/src", "/etc/modprobe.d", "/etc/nvidia")
    installed({name: None for name in packages() if name != "libc6"})(tree)
    tree["/.dockerenv"] = ""
    return tree


def wsl() -> Tree:
    """A guest of Windows, with a GPU."""
    return {
        "/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\n',
        "/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n",
        "/dev/dxg": "",
        "/dev/kmsg": "",
        "/usr/lib/wsl/lib/libcuda.so.1": "x",
        "/var/lib/dpkg/status": status({"libc6": "2.39"}),
        "/environ": "PATH=/usr/bin\n",
    }


def runfile() -> Tree:
    """The driver came by NVIDIA's installer, nothing of it is a package."""
    tree = healthy()
    installed({n: None for n, v in packages().items() if v.startswith(DRIVER)})(tree)
    tree["/usr/bin/nvidia-uninstall"] = "x"
    gone(tree, "/sys/bus/pci/devices/0000:81")
    return tree


def history(command: str, name: str, old: str, new: str) -> Change:
    text = (
        f"\nStart-Date: 2026-11-20  06:11:02\nCommandline: {command}\n"
        f"Upgrade: {name}:amd64 ({old}, {new}), tzdata:amd64 (1, 2)\nEnd-Date: 2026-11-20\n"
    )
    return put("/var/log/apt/history.log", text)


def dkms_log(text: str) -> Change:
    return put(f"/var/lib/dkms/nvidia/{DRIVER}/build/make.log", text)


def node(path: str, **values: Any) -> Change:
    def change(document: Any) -> None:
        for one in document["signs"]["nodes"]["files"]:
            if one["path"] == path:
                one.update(values)

    return change


def sign(group: str, **values: Any) -> Change:
    return lambda document: document["signs"][group].update(values)


def disk(path: str, free: int) -> Change:
    def change(document: Any) -> None:
        for one in document["state"]["disks"]:
            if one["path"] == path:
                one["free_bytes"] = free

    return change


def docker(**values: Any) -> Change:
    def change(tree: Tree) -> None:
        said = json.loads(tree["/etc/docker/daemon.json"])
        tree["/etc/docker/daemon.json"] = json.dumps({**said, **values})

    return change


def geforce(tree: Tree) -> None:
    tree[f"/proc/driver/nvidia/gpus/{GPU}/information"] = (
        "Model: \t NVIDIA GeForce RTX 4090\nDevice Minor: \t 0\n"
    )


def second_gpu(tree: Tree) -> None:
    folder = "/sys/bus/pci/devices/0000:18:00.0"
    tree |= {
        f"{folder}/vendor": "0x10de\n",
        f"{folder}/class": "0x030200\n",
        f"{folder}/device": "0x2335\n",
    }


def second_toolkit(tree: Tree) -> None:
    old = "/usr/local/cuda-12.4"
    tree |= {
        f"{old}/bin/nvcc": "x",
        f"{old}/version.json": '{"cuda": {"version": "12.4.1"}}',
        "/var/lib/dpkg/info/cuda-nvcc-12-4.list": f"{old}/bin/nvcc\n",
    }
    tree["/environ"] = f"PATH={old}/bin:/usr/bin\n"


def shadow(folder: str, *names: str) -> Change:
    def change(tree: Tree) -> None:
        for name in names:
            tree[f"{folder}/{name}"] = "x"
        tree["/environ"] += f"LD_LIBRARY_PATH={folder}\n"

    return change


def deleted_libraries(tree: Tree) -> None:
    tree["/proc/814/maps"] = f"7f00-7f01 r-xp 0 08:02 1 {LIB}/libcuda.so.580.82.07 (deleted)\n"


def no_switches(tree: Tree) -> None:
    gone(tree, "/sys/bus/pci/devices/0000:81")


def apt_source(name: str, uri: str, key: str | None) -> Change:
    option = f"[signed-by={key}] " if key else ""
    return put(f"/etc/apt/sources.list.d/{name}", f"deb {option}{uri} /\n")


KEY = "/usr/share/keyrings/cuda-archive-keyring.gpg"
CONDA = "/opt/conda/envs/t"
WHEEL = "/srv/venv/lib/python3.12/site-packages/nvidia/cudnn/lib"

RED: list[Red] = [
    # the platform
    Red(
        "DOCTOR-WSL-DRIVER",
        "cuda-drivers inside WSL",
        lambda t: t.update({"/var/lib/dpkg/status": status({"cuda-drivers": "580.95.05-1"})}),
        "installed: cuda-drivers",
        base=wsl,
    ),
    Red("DOCTOR-WSL-NO-GPU", "Windows has no driver", drop("/usr/lib/wsl"), "no libcuda", base=wsl),
    Red("DOCTOR-WSL-NO-GPU", "WSL 1", drop("/dev/dxg"), "no /dev/dxg", base=wsl),
    Red(
        "DOCTOR-VFIO",
        "passed through",
        together(
            without_module,
            put(f"/sys/devices/pci0000:00/0000:16:01.0/{GPU}/driver", Link("/x/vfio-pci")),
        ),
        "bound to vfio-pci",
        also=("DOCTOR-NO-MODULE", "DOCTOR-CDI-STALE"),
    ),
    Red(
        "DOCTOR-VGPU-LICENCE",
        "the licence server cannot be reached",
        on_log("nvidia-gridd: Failed to acquire license from server"),
        "Failed to acquire",
        "risk",
    ),
    Red(
        "DOCTOR-VGPU-DRIVER",
        "host and guest differ",
        together(
            on_log("NVRM: vGPU guest driver version mismatch: unsupported"),
            answers(init=100, nvml=999),
        ),
        "version mismatch",
        explains=("DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
    ),
    # the machine
    Red(
        "DOCTOR-BOOT-FULL",
        "no room for an initramfs",
        lambda t: None,
        "/boot has 0 MiB free",
        "risk",
        then=disk("/boot", 100),
    ),
    Red(
        "DOCTOR-BOOT-FULL",
        "and packages were left half-configured by it",
        installed({}, nvidia_dkms_580_open="install ok half-configured"),
        "/boot has 0 MiB free",
        then=disk("/boot", 100),
        explains=("DOCTOR-DPKG-HALF",),
        # What is half-configured is not "installed": its sibling versions cannot be compared.
    ),
    Red(
        "DOCTOR-DISK-FULL",
        "/var",
        lambda t: None,
        "/var has 10 MiB free",
        "risk",
        then=disk("/var", 10 << 20),
    ),
    Red(
        "DOCTOR-CLOCK",
        "before what was already written",
        lambda t: None,
        "the clock says",
        then=lambda d: d["signs"]["clock"].update(now=1_000_000_000.0),
    ),
    Red(
        "DOCTOR-CLOCK",
        "not the controller's",
        lambda t: None,
        "the controller's says",
        then=lambda d: d["signs"]["clock"].update(
            controller_now=d["signs"]["clock"]["now"] - 7200.0
        ),
    ),
    # the GPU
    Red(
        "DOCTOR-GPU-OFF-BUS",
        "XID 79",
        together(
            on_log(f"NVRM: Xid (PCI:{GPU[:-2]}): 79, pid=1, GPU has fallen off the bus."),
            answers(init=999, nvml=15),
        ),
        "fallen off the bus",
        explains=("DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
    ),
    Red(
        "DOCTOR-GPU-OFF-BUS",
        "its configuration space reads as all ones",
        put(f"/sys/devices/pci0000:00/0000:16:01.0/{GPU}/config", b"\xff" * 64),
        "does not answer on the PCI bus",
    ),
    Red(
        "DOCTOR-GPU-OFF-BUS",
        "NVML says it is lost",
        reading(handle_code=15),
        "does not answer on the PCI bus",
    ),
    Red(
        "DOCTOR-REMAP-FAILED",
        "no spare row is left",
        together(
            reading(remap_failure=1, recovery_action=1),
            on_log("NVRM: Xid (PCI:0000:17:00): 64, Row Remapper: Failed"),
        ),
        "row remapping failed",
        explains=("DOCTOR-RECOVERY", "DOCTOR-XID"),
    ),
    Red("DOCTOR-RECOVERY", "a reset", reading(recovery_action=1), "asks for a reset of the GPU"),
    Red(
        "DOCTOR-REMAP-PENDING",
        "waits for a reset",
        together(
            reading(remap_pending=1),
            on_log("NVRM: Xid (PCI:0000:17:00): 63, Row Remapper: New row marked for remapping"),
        ),
        "a repair of its memory is pending",
        "risk",
        explains=("DOCTOR-XID-MILD",),
    ),
    Red("DOCTOR-THROTTLED", "hot", reading(reasons=0x40 | 0x4), "heat (hardware)", "risk"),
    Red(
        "DOCTOR-OPEN-REQUIRED",
        "proprietary modules on Blackwell",
        together(
            on_log(
                "NVRM: The NVIDIA GPU 0000:17:00.0 (PCI ID: 10de:2901) installed in this system "
                "requires use of the NVIDIA open kernel modules."
            ),
            drop("/proc/driver/nvidia/gpus", "/dev/nvidia0"),
            put("/proc/driver/nvidia/gpus/x", ""),
            answers(init=100, nvml=9),
        ),
        "requires use of the NVIDIA open kernel modules",
        explains=("DOCTOR-GPU-INIT", "DOCTOR-CUDA-INIT"),
    ),
    Red(
        "DOCTOR-OPEN-UNSUPPORTED",
        "open modules on Pascal",
        together(
            on_log("NVRM: installed in this system is not supported by open", "NVRM: nvidia.ko"),
            answers(init=100),
        ),
        "not supported by open",
    ),
    Red(
        "DOCTOR-GPU-LEGACY",
        "branch 590 on Pascal",
        on_log(
            "NVRM: The NVIDIA GeForce GTX 1080 GPU installed in this system is supported through "
            "the NVIDIA 580.xx Legacy drivers."
        ),
        "580.xx Legacy drivers",
    ),
    Red(
        "DOCTOR-BAR",
        "no room above 4 GB",
        on_log("NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:"),
        "is invalid",
    ),
    Red(
        "DOCTOR-GSP-FIRMWARE",
        "no firmware on disk",
        together(
            on_log(
                "nvidia 0000:17:00.0: Direct firmware load for nvidia/580.95.05/gsp_ga10x.bin "
                "failed with error -2",
                "NVRM: GPU 0000:17:00.0: RmInitAdapter failed! (0x61:0x56:1697)",
            ),
            answers(init=100),
        ),
        "gsp_ga10x.bin",
        explains=("DOCTOR-GPU-INIT", "DOCTOR-CUDA-INIT"),
    ),
    Red(
        "DOCTOR-GPU-INIT",
        "RmInitAdapter failed",
        on_log("NVRM: GPU 0000:17:00.0: RmInitAdapter failed! (0x24:0x65:1442)"),
        "RmInitAdapter failed",
    ),
    Red("DOCTOR-GPU-INIT", "one GPU of two", second_gpu, "0000:18:00.0 is on the PCI bus and not"),
    Red(
        "DOCTOR-XID",
        "the firmware does not answer",
        on_log("NVRM: Xid (PCI:0000:17:00): 119, pid=7, Timeout waiting for RPC from GSP!"),
        "XID 119",
    ),
    Red(
        "DOCTOR-XID-MILD",
        "a row is to be remapped",
        on_log("NVRM: Xid (PCI:0000:17:00): 63, Row Remapper: New row marked for remapping"),
        "XID 63",
        "risk",
    ),
    Red(
        "DOCTOR-SXID",
        "a fatal one",
        on_log("nvidia-nvswitch0: SXid (PCI:0000:81:00.0): 20034, Fatal, Link 30 LTSSM Fault Up"),
        "20034",
    ),
    Red(
        "DOCTOR-PCIE-ERRORS",
        "corrected errors of the slot",
        on_log(f"nvidia {GPU}: PCIe Bus Error: severity=Corrected, type=Physical Layer"),
        "PCIe Bus Error",
        "risk",
    ),
    Red(
        "DOCTOR-PCIE-WIDTH",
        "eight lanes of sixteen",
        put(f"/sys/devices/pci0000:00/0000:16:01.0/{GPU}/current_link_width", "8\n"),
        "8 lanes of 16",
        "risk",
    ),
    # the module
    Red(
        "DOCTOR-NO-DRIVER",
        "nothing installed",
        together(
            without_module,
            drop("/var/lib/dkms", f"{LIB}/libcuda.", f"{LIB}/libnvidia", "/etc/cdi"),
            installed({n: None for n, v in packages().items() if v.startswith(DRIVER)}),
        ),
        "no driver package, no module",
    ),
    Red(
        "DOCTOR-NOUVEAU",
        "loaded from an old initramfs",
        together(
            unloaded,
            put("/proc/modules", "nouveau 1 2 - Live\n"),
            put("/sys/module/nouveau/refcnt", "1"),
            put(f"/sys/devices/pci0000:00/0000:16:01.0/{GPU}/driver", Link("/x/nouveau")),
        ),
        "the initramfs is older",
        explains=("DOCTOR-NOT-LOADED",),
    ),
    Red(
        "DOCTOR-NOUVEAU",
        "never denied",
        together(
            unloaded,
            put("/sys/module/nouveau/refcnt", "1"),
            drop("/etc/modprobe.d"),
        ),
        "nouveau is loaded",
        explains=("DOCTOR-NOT-LOADED",),
    ),
    Red(
        "DOCTOR-SECURE-BOOT",
        "the kernel says so",
        together(unloaded, on_log("nvidia: Loading of module with unavailable key is rejected")),
        "rejected",
        explains=("DOCTOR-NOT-LOADED",),
    ),
    Red(
        "DOCTOR-SECURE-BOOT",
        "the module is not signed",
        together(
            unloaded, put(f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko", module(signed=False))
        ),
        "is not signed",
        then=lambda d: d["state"]["kernel"].update(secure_boot=True),
        explains=("DOCTOR-NOT-LOADED",),
    ),
    Red(
        "DOCTOR-SECURE-BOOT",
        "the key is not enrolled",
        unloaded,
        "is not enrolled",
        then=lambda d: (
            d["state"]["kernel"].update(secure_boot=True),
            d["signs"]["boot"].update(module_key_enrolled=False),
        ),
        explains=("DOCTOR-NOT-LOADED",),
    ),
    Red(
        "DOCTOR-FORBIDDEN",
        "modprobe.d",
        together(unloaded, put("/etc/modprobe.d/prime.conf", "alias nvidia off\n")),
        "/etc/modprobe.d/prime.conf: alias nvidia off",
        explains=("DOCTOR-NOT-LOADED",),
    ),
    Red(
        "DOCTOR-FORBIDDEN",
        "the kernel command line",
        together(unloaded, put("/proc/cmdline", "ro module_blacklist=floppy,nvidia quiet\n")),
        "module_blacklist=floppy,nvidia",
        explains=("DOCTOR-NOT-LOADED",),
    ),
    Red(
        "DOCTOR-HEADERS",
        "a kernel without headers",
        together(without_module, drop("/usr/src/linux-headers")),
        f"no /usr/src/linux-headers-{KERNEL}",
        explains=("DOCTOR-NO-MODULE",),
    ),
    Red(
        "DOCTOR-DKMS-FAILED",
        "the driver does not know the kernel",
        together(
            without_module,
            dkms_log("nv-mm.c:7: error: implicit declaration of function 'vma_x'\nmake: *** [x]\n"),
            installed({}, nvidia_dkms_580_open="install ok half-configured"),
        ),
        "this driver is older than the kernel",
        explains=("DOCTOR-NO-MODULE", "DOCTOR-DPKG-HALF"),
    ),
    Red(
        "DOCTOR-DKMS-FAILED",
        "another compiler",
        together(without_module, dkms_log("gcc: error: unrecognized command-line option '-fx'\n")),
        "the compiler is not the one",
        explains=("DOCTOR-NO-MODULE",),
    ),
    Red(
        "DOCTOR-NO-MODULE",
        "prebuilt for another kernel only",
        together(
            without_module,
            drop("/var/lib/dkms"),
            put(f"/lib/modules/{NEW_KERNEL}/kernel/nvidia-580/nvidia.ko", module()),
        ),
        f"there is one for {NEW_KERNEL}",
    ),
    Red("DOCTOR-NOT-LOADED", "for no reason that is seen", unloaded, "nvidia is not in"),
    Red(
        "DOCTOR-NEXT-KERNEL",
        "a newer kernel without module or headers",
        put(f"/lib/modules/{NEW_KERNEL}/kernel/x", ""),
        f"no module for {NEW_KERNEL}",
        "risk",
    ),
    # versions
    Red(
        "DOCTOR-UNATTENDED",
        "in the night",
        together(
            upgraded_on_disk,
            history(
                "/usr/bin/unattended-upgrade",
                "libnvidia-compute-580",
                f"{DRIVER}-0ubuntu1",
                f"{NEWER}-0ubuntu1",
            ),
        ),
        "unattended-upgrades, libnvidia-compute-580",
        explains=("DOCTOR-OLD-MODULE", "DOCTOR-VERSION-MISMATCH"),
    ),
    Red(
        "DOCTOR-OLD-MODULE",
        "upgraded by hand, not rebooted",
        together(
            upgraded_on_disk,
            history("apt upgrade", "libnvidia-compute-580", DRIVER, f"{NEWER}-0ubuntu1"),
            deleted_libraries,
        ),
        f"loaded {DRIVER}, on disk",
        explains=("DOCTOR-VERSION-MISMATCH", "DOCTOR-CUDA-INIT", "DOCTOR-REPLACED-LIBRARIES"),
    ),
    Red(
        "DOCTOR-DRIVER-SPLIT",
        "a part on hold",
        installed(
            {"libnvidia-compute-580": f"{NEWER}-0ubuntu1"}, nvidia_utils_580="hold ok installed"
        ),
        "on hold: nvidia-utils-580",
        also=("DOCTOR-HELD-PARTLY",),
    ),
    Red(
        "DOCTOR-RUNFILE-CONFLICT",
        "the installer over the packages",
        put("/usr/bin/nvidia-uninstall", "x"),
        "belongs to no package",
    ),
    Red(
        "DOCTOR-RUNFILE",
        "the installer alone",
        lambda t: None,
        "/usr/bin/nvidia-uninstall",
        "risk",
        base=runfile,
    ),
    Red(
        "DOCTOR-VERSION-MISMATCH",
        "libraries of another version",
        together(
            drop(f"{LIB}/libcuda.", f"{LIB}/libnvidia-ml."),
            put(f"{LIB}/libcuda.so.1", Link("libcuda.so.570.1.2")),
            put(f"{LIB}/libcuda.so.570.1.2", "x"),
            put(f"{LIB}/libnvidia-ml.so.1", "x"),
            put(CDI_FILE, cdi().replace(f"libcuda.so.{DRIVER}", "libcuda.so.1")),
            answers(init=803, nvml=18),
        ),
        "libraries 570.1.2",
        explains=("DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
    ),
    Red(
        "DOCTOR-VERSION-MISMATCH",
        "a container with libraries of its own",
        together(
            drop(f"{LIB}/libcuda.", f"{LIB}/libnvidia-ml."),
            put(f"{LIB}/libcuda.so.1", Link("libcuda.so.570.1.2")),
            put(f"{LIB}/libcuda.so.570.1.2", "x"),
            put(f"{LIB}/libnvidia-ml.so.1", "x"),
            answers(init=803, nvml=18),
        ),
        "libraries 570.1.2",
        base=container,
    ),
    Red(
        "DOCTOR-DRIVER-LIBRARIES",
        "module without libraries",
        together(
            drop(f"{LIB}/libcuda.", f"{LIB}/libnvidia-ml."),
            put(CDI_FILE, cdi().replace(f"{LIB}/libcuda.so.{DRIVER}", "/etc/hostname")),
        ),
        "not found: libcuda.so.1, libnvidia-ml.so.1",
    ),
    Red(
        "DOCTOR-DRIVER-LIBRARIES",
        "a container that the runtime mounted nothing into",
        drop(f"{LIB}/libcuda.", f"{LIB}/libnvidia-ml."),
        "the container has no libcuda.so.1",
        base=container,
    ),
    Red(
        "DOCTOR-DRIVER-TOO-OLD",
        "toolkit 13 on branch 570",
        together(
            lambda t: t.update(
                {p: c.replace(DRIVER, "570.1.2") for p, c in t.items() if isinstance(c, str)}
            ),
            lambda t: [
                t.update({p.replace(DRIVER, "570.1.2"): t.pop(p)}) for p in list(t) if DRIVER in p
            ],
            put(f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko", module("570.1.2")),
            put(f"{LIB}/libcuda.so.1", Link("libcuda.so.570.1.2")),
            put(f"{LIB}/libnvidia-ml.so.1", Link("libnvidia-ml.so.570.1.2")),
        ),
        "toolkit 13.0.2 in /usr/local/cuda-13.0 needs 580",
    ),
    Red(
        "DOCTOR-REPLACED-LIBRARIES",
        "a program from before the update",
        deleted_libraries,
        "python3 (814) maps",
        "risk",
    ),
    Red(
        "DOCTOR-REBOOT",
        "a new kernel",
        together(
            put("/run/reboot-required", "*** System restart required ***\n"),
            put("/run/reboot-required.pkgs", "linux-image-6.8.0-40-generic\nlinux-base\n"),
        ),
        "linux-image-6.8.0-40-generic",
        "risk",
    ),
    # packages
    Red(
        "DOCTOR-DPKG-INTERRUPTED",
        "a journal is left",
        put("/var/lib/dpkg/updates/0001", "Package: x\n"),
        "updates is not empty",
    ),
    Red(
        "DOCTOR-DPKG-HALF",
        "half-configured",
        installed({}, cuda_toolkit_13_0="install ok half-configured"),
        "cuda-toolkit-13-0: install ok half-configured",
    ),
    Red(
        "DOCTOR-APT-SIGNED-BY",
        "cuda-keyring and a hand-written source",
        apt_source("cuda.list", REPOSITORY, "/etc/apt/keyrings/nvidia.gpg"),
        "Signed-By /etc/apt/keyrings/nvidia.gpg",
        explains=("DOCTOR-APT-DUPLICATE",),
    ),
    Red(
        "DOCTOR-APT-SIGNED-BY",
        "one names no key",
        apt_source("cuda.list", REPOSITORY.rstrip("/"), None),
        "Signed-By is not set",
    ),
    Red(
        "DOCTOR-APT-DUPLICATE",
        "twice with the same key",
        apt_source("cuda.list", REPOSITORY, KEY),
        "/cuda.list",
        "risk",
    ),
    Red(
        "DOCTOR-APT-STALE",
        "the release before",
        together(
            drop("/etc/apt/sources.list.d"),
            apt_source("cuda.list", REPOSITORY.replace("2404", "2204"), KEY),
        ),
        "and this is ubuntu 2404",
        "risk",
    ),
    Red(
        "DOCTOR-APT-LOCAL",
        "a local installer",
        apt_source("cuda-local.list", "file:///var/cuda-repo-ubuntu2404-13-0-local", KEY),
        "file:///var/cuda-repo",
        "risk",
    ),
    Red(
        "DOCTOR-WITHHELD",
        "a newer driver in the security suite",
        together(
            installed(
                {},
                **dict.fromkeys(
                    ("libnvidia_compute_580", "nvidia_utils_580", "nvidia_open_580"),
                    "hold ok installed",
                ),
                nvidia_dkms_580_open="hold ok installed",
            ),
            put(
                "/var/lib/apt/lists/archive_dists_noble-security_restricted_binary-amd64_Packages",
                "Package: libnvidia-compute-580\nVersion: 580.999.01-0ubuntu1\n\n"
                "Package: libnvidia-compute-580\nVersion: 580.01-0ubuntu1\n",
            ),
        ),
        "libnvidia-compute-580 is held at",
        "risk",
    ),
    Red(
        "DOCTOR-TRANSITIONAL",
        "asked for 535, has 580",
        installed(
            {"nvidia-driver-535": f"{DRIVER}-0ubuntu1"},
            nvidia_driver_535="install ok installed\nDescription: Transitional package for "
            "nvidia-driver-580",
        ),
        "nvidia-driver-535",
        "risk",
    ),
    Red(
        "DOCTOR-HELD-PARTLY",
        "one of five",
        installed({}, libnvidia_compute_580="hold ok installed"),
        "on hold: libnvidia-compute-580",
        "risk",
    ),
    # device files
    Red(
        "DOCTOR-DEVICE-NODES",
        "none",
        together(drop("/dev/nvidia", "/legs.json"), put(CDI_FILE, "kind: x/y\n")),
        "no /dev/nvidiactl",
    ),
    Red(
        "DOCTOR-DEVICE-NODES",
        "a container without its GPU",
        drop("/dev/nvidia0"),
        "0 of 1 /dev/nvidiaN",
        base=container,
    ),
    Red(
        "DOCTOR-UVM-NODE",
        "nvidia-smi works, CUDA does not",
        together(
            drop("/dev/nvidia-uvm"),
            answers(init=999),
            put("/proc/modules", "nvidia_drm 1 2 - Live\nnvidia 1 2 - Live\n"),
        ),
        "nvidia_uvm is not loaded",
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-UVM-STALE",
        "from the module's last load",
        answers(init=999),
        "has major 510, /proc/devices says 509",
        then=node("/dev/nvidia-uvm", major=510),
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-NODE-PERMISSION",
        "for a group only",
        answers(init=100, nvml=4),
        "mode 0660",
        then=lambda d: (
            node("/dev/nvidia0", allowed=False, mode="0660", gid=44)(d),
            d["state"].update(euid=1000),
        ),
        explains=("DOCTOR-NVML",),
    ),
    Red(
        "DOCTOR-CGROUP",
        "a container after daemon-reload",
        answers(init=999, nvml=999),
        "opening /dev/nvidiactl: EPERM",
        then=node("/dev/nvidiactl", open_error="EPERM"),
        base=container,
        explains=("DOCTOR-NVML", "DOCTOR-CUDA-INIT"),
    ),
    Red(
        "DOCTOR-CGROUP",
        "a Slurm job without GPUs",
        together(answers(init=100, nvml=17), put("/etc/slurm/slurm.conf", "")),
        "opening /dev/nvidiactl: EPERM",
        then=node("/dev/nvidiactl", open_error="EPERM"),
    ),
    # the fabric
    Red(
        "DOCTOR-FABRIC-MISSING",
        "never installed",
        together(drop("/proc/813"), installed({"nvidia-fabricmanager": None}), answers(init=802)),
        "no package nvidia-fabricmanager",
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-FABRIC-VERSION",
        "older than the driver",
        together(
            drop("/proc/813"),
            installed({"nvidia-fabricmanager": "580.82.07-1"}),
            answers(init=802),
        ),
        "nvidia-fabricmanager is 580.82.07, the driver 580.95.05",
        explains=("DOCTOR-FABRIC-DOWN", "DOCTOR-CUDA-INIT"),
    ),
    Red(
        "DOCTOR-FABRIC-DOWN",
        "not started",
        together(drop("/proc/813"), answers(init=802)),
        "no process nv-fabricmanager",
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-MIG",
        "instances of a job before",
        put("/proc/driver/nvidia/capabilities/gpu0/mig/gi1/access", "x"),
        "gpu0: 1 instances",
        "risk",
    ),
    # the loader
    Red(
        "DOCTOR-STUB",
        "in LD_LIBRARY_PATH",
        together(shadow(f"{CUDA}/lib64/stubs", "libcuda.so.1"), answers(init=34)),
        "by LD_LIBRARY_PATH",
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-STUB",
        "in ld.so.conf.d",
        together(
            put(f"{CUDA}/lib64/stubs/libcuda.so.1", "x"),
            put("/etc/ld.so.conf.d/a.conf", f"{CUDA}/lib64/stubs\n"),
        ),
        "by /etc/ld.so.conf.d/a.conf",
    ),
    Red(
        "DOCTOR-COMPAT-GEFORCE",
        "cuda-compat on a GeForce",
        together(
            geforce,
            put(f"{CUDA}/compat/libcuda.so.1", Link("libcuda.so.590.44.01")),
            put(f"{CUDA}/compat/libcuda.so.590.44.01", "x"),
            put("/etc/ld.so.conf.d/00-compat.conf", f"{CUDA}/compat\n"),
            installed({"cuda-compat-13-0": "590.44.01-1"}),
            answers(init=804),
        ),
        "cuInit answers 804",
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-COMPAT-OLD",
        "left behind by a driver update",
        together(
            put(f"{CUDA}/compat/libcuda.so.1", Link("libcuda.so.570.1.2")),
            put(f"{CUDA}/compat/libcuda.so.570.1.2", "x"),
            put("/etc/ld.so.conf.d/00-compat.conf", f"{CUDA}/compat\n"),
            installed({"cuda-compat-13-0": "570.1.2-1"}),
            answers(init=803),
        ),
        "is 570.1.2, the driver 580.95.05",
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-DRIVER-SHADOWED",
        "a copied libcuda",
        together(shadow("/srv/old/lib", "libcuda.so.1"), answers(init=803)),
        "/srv/old/lib/libcuda.so.1 by LD_LIBRARY_PATH",
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-SHADOWED",
        "a conda environment",
        together(shadow(f"{CONDA}/lib", "libcudart.so.13"), environment(CONDA_PREFIX=CONDA)),
        f"it belongs to the conda environment {CONDA}",
        "risk",
    ),
    Red(
        "DOCTOR-WHEEL-SHADOWED",
        "the system's cuDNN before the wheel's",
        together(
            environment(VIRTUAL_ENV="/srv/venv", LD_LIBRARY_PATH=LIB),
            put(f"{WHEEL}/libcudnn.so.9", "x"),
        ),
        f"LD_LIBRARY_PATH puts {LIB}/libcudnn.so.9 first",
        "risk",
    ),
    Red(
        "DOCTOR-CUDNN-MIX",
        "a part of another version",
        together(
            drop(f"{LIB}/libcudnn_ops"),
            put(f"{LIB}/libcudnn_ops.so.9.10.2", "x"),
        ),
        "9.10.2 is cudnn_ops",
    ),
    Red(
        "DOCTOR-TENSORRT-MIX",
        "a plugin of another version",
        together(
            drop(f"{LIB}/libnvinfer_plugin"),
            put(f"{LIB}/libnvinfer_plugin.so.10.9.0", "x"),
        ),
        "10.9.0 is nvinfer_plugin",
    ),
    Red(
        "DOCTOR-TOOLKITS",
        "nvcc of one, libraries of another",
        second_toolkit,
        "nvcc in PATH → /usr/local/cuda-12.4",
        "risk",
    ),
    Red(
        "DOCTOR-ENVIRONMENT",
        "a profiler left on",
        environment(CUDA_INJECTION64_PATH="/opt/nsight/libinject.so"),
        "loads a library into every CUDA program",
        "risk",
    ),
    Red(
        "DOCTOR-HIDDEN",
        "an empty value",
        together(environment(CUDA_VISIBLE_DEVICES=""), answers(init=100)),
        "CUDA_VISIBLE_DEVICES=''",
        explains=("DOCTOR-CUDA-INIT",),
    ),
    Red(
        "DOCTOR-HIDDEN",
        "a GPU that is not there",
        environment(CUDA_VISIBLE_DEVICES="1"),
        "CUDA_VISIBLE_DEVICES='1', 1 GPUs",
    ),
    # containers
    Red(
        "DOCTOR-DOCKER-JSON",
        "a comma too many",
        put("/etc/docker/daemon.json", '{"runtimes": {},}'),
        "/etc/docker/daemon.json:",
    ),
    Red(
        "DOCTOR-RUNTIME-GONE",
        "the toolkit was removed",
        together(
            drop("/usr/bin/nvidia-ctk", "/usr/bin/nvidia-container-runtime"),
            docker(**{"default-runtime": "nvidia"}),
        ),
        "names /usr/bin/nvidia-container-runtime, which is not there",
        also=("DOCTOR-TOOLKIT-MISSING",),
    ),
    Red(
        "DOCTOR-TOOLKIT-MISSING",
        "docker alone",
        drop("/usr/bin/nvidia-ctk", "/usr/bin/nvidia-container-runtime", "/etc/docker", "/etc/cdi"),
        "no /usr/bin/nvidia-ctk",
        "risk",
    ),
    Red(
        "DOCTOR-RUNTIME-UNCONFIGURED",
        "docker was never told",
        drop("/etc/docker", "/etc/cdi"),
        "not told: docker",
        "risk",
    ),
    Red(
        "DOCTOR-CDI-STALE",
        "from before the driver update",
        together(put(CDI_FILE, cdi("580.82.07")), put(f"{LIB}/libcuda.so.580.82.07", "x")),
        "is for driver 580.82.07, loaded is 580.95.05",
    ),
    Red(
        "DOCTOR-CDI-STALE",
        "names a device file that is gone",
        put(CDI_FILE, cdi().replace("/dev/nvidia0", "/dev/nvidia7")),
        "names /dev/nvidia7, which is not there",
    ),
    Red(
        "DOCTOR-DAEMON-RELOAD",
        "no links in /dev/char",
        put(CDI_FILE, "kind: vendor.com/other\n"),
        "no /dev/char/195:255",
        "risk",
        then=sign("nodes", missing_char_links=["/dev/char/195:255"]),
    ),
    # upkeep
    Red(
        "DOCTOR-PERSISTENCE",
        "no daemon",
        drop("/proc/812"),
        "no process nvidia-persistenced",
        "risk",
    ),
    # what the driver answers
    Red(
        "DOCTOR-DRIVER-HANGS",
        "NVML does not come back",
        put(
            "/legs.json",
            json.dumps(
                {"legs": [{"leg": "health", "outcome": "stuck", "detail": "no end within 20 s"}]}
            ),
        ),
        "no end within 20 s",
    ),
    Red(
        "DOCTOR-DRIVER-CRASHES",
        "libcuda dies",
        put(
            "/legs.json",
            json.dumps({"legs": [{"leg": "driver", "outcome": "crashed", "detail": "SIGSEGV"}]}),
        ),
        "SIGSEGV",
    ),
    Red("DOCTOR-NVML", "for no reason that is seen", answers(nvml=999), "nvmlInit answers 999"),
    Red("DOCTOR-CUDA-INIT", "for no reason that is seen", answers(init=999), "cuInit answers 999"),
    Red("DOCTOR-CUDA-INIT", "no device", answers(init=100), "CUDA_ERROR_NO_DEVICE"),
]
