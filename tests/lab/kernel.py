"""A kernel for a lab host: what a container lacks, simulated on it by small scripts.

A container has neither a kernel of its own nor GPUs. This puts there what provisioning reads and
runs: modules' folder, headers and dkms (as stubs in a small archive of the distribution's), an
initramfs that lists its files, a GPU on the PCI bus, and a driver that is "loaded" at boot or by
modprobe when its module is on disk for this kernel. Real kernels are for the long tests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cudactl.lab.engine import connect
from cudactl.lab.hosts import LabHost
from cudactl.stack.bundle.repository import Deb, write_deb, write_index

ARCHIVE = "/opt/lab-archive"
FAILS = "/etc/dkms/lab-fails"
GCC_SAID = "nv-pci.c:237:9: error: too few arguments to function 'pci_resize_resource'"

DKMS = r"""#!/usr/bin/python3
# CUDACTL-SIMULATED-LIBRARY: stands in for dkms; a module is an ELF file with two facts in it.
import glob, os, re, struct, sys
KERNELS = "/lib/modules"
def module(version, licence):
    facts = ("license=%s\0version=%s\0" % (licence, version)).encode()
    names, body = b"\0.text\0.modinfo\0.shstrtab\0", b"\x90" * 64
    at = [64, 64 + len(body), 64 + len(body) + len(facts)]
    head = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    head += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, at[2] + len(names), 0, 64, 0, 0, 64, 4, 3)
    out = head + body + facts + names + b"\0" * 64
    for name, offset, size in ((b".text\0", at[0], 64), (b".modinfo\0", at[1], len(facts)),
                               (b".shstrtab\0", at[2], len(names))):
        out += struct.pack("<IIQQQQIIQQ", names.index(name), 1, 0, 0, offset, size, 0, 0, 1, 0)
    return out
def sources():
    for conf in sorted(glob.glob("/usr/src/*/dkms.conf")):
        text = open(conf).read()
        yield [re.search(k + r'="?([^"\n]+)', text).group(1) for k in
               ("PACKAGE_NAME", "PACKAGE_VERSION")] + [os.path.dirname(conf)]
def tree(name, version, kernel):
    return "/var/lib/dkms/%s/%s/%s/x86_64" % (name, version, kernel)
def autoinstall(kernel):
    for name, version, source in sources():
        base = "/var/lib/dkms/%s/%s" % (name, version)
        os.makedirs(base + "/build", exist_ok=True)
        if not os.path.exists("%s/%s/build/Makefile" % (KERNELS, kernel)):
            sys.exit("Error! Your kernel headers for kernel %s cannot be found." % kernel)
        if os.path.exists("FAILS"):
            with open(base + "/build/make.log", "w") as f:
                f.write("DKMS make.log for %s-%s for kernel %s (x86_64)\nGCC_SAID\n"
                        % (name, version, kernel))
            print("Error! Bad return status for module build on kernel: %s (x86_64)" % kernel)
            sys.exit(10)
        text = open(glob.glob(source + "/kernel*/nvidia/nv.c")[0]).read()
        content = module(version, re.search(r'"(.+)"', text).group(1))
        for path in (tree(name, version, kernel) + "/module/nvidia.ko",
                     "%s/%s/updates/dkms/nvidia.ko" % (KERNELS, kernel)):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "wb").write(content)
        os.system("rm -rf %s/build" % base)
        link = "/var/lib/dkms/%s/kernel-%s-x86_64" % (name, kernel)
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink("%s/%s/x86_64" % (version, kernel), link)
if sys.argv[1] == "autoinstall":
    autoinstall(sys.argv[sys.argv.index("-k") + 1])
elif sys.argv[1] == "status":
    for path in glob.glob("/var/lib/dkms/*/*/*/x86_64"):
        print("%s/%s, %s, %s: installed" % tuple(path.split("/")[4:]))
    for name, version, source in sources():
        if not glob.glob("/var/lib/dkms/%s/%s/*/x86_64" % (name, version)):
            print("%s/%s: added" % (name, version))
""".replace("FAILS", FAILS, 1).replace("GCC_SAID", GCC_SAID, 1)

# The kernel: at boot a GPU appears on the bus, and the driver is loaded if its module is there.
BOOT = r"""#!/bin/sh
# CUDACTL-SIMULATED-LIBRARY: what a kernel with a GPU would show.
set -e
mount -t tmpfs tmpfs /sys/bus/pci/devices
gpu=/sys/bus/pci/devices/0000:17:00.0
mkdir $gpu
echo 0x10de > $gpu/vendor; echo 0x030200 > $gpu/class; echo 0x2335 > $gpu/device
mount -t tmpfs tmpfs /sys/module
mount -t tmpfs tmpfs /proc/driver
/usr/local/sbin/modprobe nvidia || true
"""
MODPROBE = r"""#!/usr/bin/python3
# CUDACTL-SIMULATED-LIBRARY: "loads" the NVIDIA module that lies on disk for this kernel.
import os, re, sys
name = sys.argv[-1]
path = "/lib/modules/%s/updates/dkms/nvidia.ko" % os.uname().release
if not name.startswith("nvidia") or not os.path.exists(path):
    sys.exit("modprobe: FATAL: Module %s not found" % name)
if name == "nvidia":
    data = open(path, "rb").read()
    version = re.search(rb"version=([0-9.]+)", data).group(1).decode()
    flavour = " Open" if b"Dual MIT/GPL" in data else ""
    os.makedirs("/proc/driver/nvidia", exist_ok=True)
    with open("/proc/driver/nvidia/version", "w") as f:
        f.write("NVRM version: NVIDIA UNIX%s Kernel Module for x86_64  %s  Release Build\n"
                % (flavour, version))
os.makedirs("/sys/module/" + name, exist_ok=True)
open("/sys/module/%s/refcnt" % name, "w").write("0\n")
"""
RMMOD = r"""#!/bin/sh
# CUDACTL-SIMULATED-LIBRARY
systemctl is-active -q nvidia-persistenced && { echo "Module $1 is in use" >&2; exit 1; }
rm -r /sys/module/$1
[ "$1" != nvidia ] || rm -rf /proc/driver/nvidia
"""
UPDATE_INITRAMFS = r"""#!/bin/sh
# CUDACTL-SIMULATED-LIBRARY: update-initramfs -u -k KERNEL
{ echo usr/lib/modules/$3/kernel/drivers/gpu/drm/nouveau/nouveau.ko
  cd / && ls etc/modprobe.d/*.conf; } > /boot/initrd.img-$3
"""
LSINITRAMFS = "#!/bin/sh\n# CUDACTL-SIMULATED-LIBRARY\ncat $1\n"
UNIT = """\
[Unit]
Description=Simulated kernel. CUDACTL-SIMULATED-LIBRARY
Before=ssh.service nvidia-persistenced.service multi-user.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-kernel

[Install]
WantedBy=multi-user.target
"""
INSTALL = f"""\
set -e
kernel=$(uname -r)
mkdir -p /lib/modules/$kernel/kernel /boot /etc/dkms
ln -sfn /usr/src/linux-headers-$kernel /lib/modules/$kernel/build
: > /boot/initrd.img-$kernel
touch -d @1 /boot/initrd.img-$kernel
echo 'deb [trusted=yes] file:{ARCHIVE} ./' > /etc/apt/sources.list.d/lab-archive.list
apt-get update -qq -oDir::Etc::sourcelist=/etc/apt/sources.list.d/lab-archive.list \\
    -oDir::Etc::sourceparts=- -oAPT::Get::List-Cleanup=0
systemctl enable -q lab-kernel.service
systemctl start lab-kernel.service
"""


@dataclass(frozen=True)
class SimulatedKernel:
    """The kernel of one lab host."""

    host: LabHost

    @property
    def release(self) -> str:
        """What `uname -r` says."""
        return os.uname().release

    def loaded(self) -> str:
        """Return what the "loaded" driver says of itself."""
        return self.host.run(["cat", "/proc/driver/nvidia/version"]).stdout

    def start_display(self) -> None:
        """Let a display manager run until the next boot, which holds the driver."""
        unit = "/etc/systemd/system/gdm3.service"
        text = "[Service]\\nExecStart=/bin/sleep infinity\\n"
        start = f"printf '{text}' > {unit} && systemctl daemon-reload && systemctl start gdm3"
        self.host.exec(["sh", "-c", start])

    def builds_fail(self, fail: bool) -> None:
        """Let every build fail from now on, or none."""
        self.host.exec(["touch", FAILS] if fail else ["rm", "-f", FAILS])


def give_kernel(host: LabHost, folder: Path) -> SimulatedKernel:
    """Put a simulated kernel with one GPU on a host.

    Args:
        host: A lab host that nobody else uses.
        folder: Where its small archive is written first.
    """
    kernel = os.uname().release
    headers = f"linux-headers-{kernel}"
    debs = [
        Deb("dkms", "99~lab", "all", files={"/usr/sbin/dkms": (DKMS.encode(), 0o755)}),
        Deb(headers, "1~lab", "all", files={f"/usr/src/{headers}/Makefile": b"# simulated\n"}),
        Deb("linux-headers-lab", "1~lab", "all", depends=(headers,)),
        Deb(f"linux-image-{kernel}", "1~lab", "all"),
        Deb("linux-image-lab", "1~lab", "all", depends=(f"linux-image-{kernel}",)),
    ]
    folder.mkdir(parents=True)
    write_index(folder, [write_deb(d, folder) for d in debs], key=None, origin="lab", label="lab")
    tools = {
        "lab-kernel": BOOT,
        "modprobe": MODPROBE,
        "rmmod": RMMOD,
        "update-initramfs": UPDATE_INITRAMFS,
        "lsinitramfs": LSINITRAMFS,
    }
    files = {f"usr/local/sbin/{name}": (text.encode(), 0o755) for name, text in tools.items()}
    files["etc/systemd/system/lab-kernel.service"] = (UNIT.encode(), 0o644)
    for path in folder.iterdir():
        files[f"{ARCHIVE[1:]}/{path.name}"] = (path.read_bytes(), 0o644)
    connect().containers.get(host.container).put_archive("/", _tar(files))
    host.exec(["sh", "-c", INSTALL])
    host.exec(["apt-get", "install", "-y", "-qq", "linux-image-lab"])
    return SimulatedKernel(host)


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
