"""The driver: Ubuntu's names (suffixed up to 580, unsuffixed from 590), Debian's names, pinning.

The table of names is the one seen in NVIDIA's ubuntu2404 repository; how the parts of Debian's tree
depend on each other, and which packages own a file, is the lab's own choice where it was not seen.
"""

from __future__ import annotations

from pathlib import Path

from cudactl.lab.simulated.build import text
from cudactl.lab.universe.shape import Payload, Workshop, parts, script
from cudactl.stack.bundle.repository import Deb

# CUDA version that each branch's libcuda brings.
CUDA_OF_BRANCH = {580: 13000, 590: 13010, 595: 13020, 610: 13030}
SUFFIXED = 580
"""The last branch whose packages carry it in their names."""

BLACKLIST = b"blacklist nouveau\noptions nouveau modeset=0\n"
UNIT = b"""\
[Unit]
Description=Simulated by cudactl's lab. CUDACTL-SIMULATED-LIBRARY
ConditionPathExists=/proc/driver/nvidia/version

[Service]
ExecStart=/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""
"""A service that runs where a driver does, and that nothing enables by itself."""
DKMS_CONF = """\
# CUDACTL-SIMULATED-LIBRARY: the module drives nothing.
PACKAGE_NAME="nvidia"
PACKAGE_VERSION="{driver}"
BUILT_MODULE_NAME[0]="nvidia"
DEST_MODULE_LOCATION[0]="/updates/dkms"
AUTOINSTALL="yes"
"""
MODULE = Path(__file__).parent.parent / "simulated" / "module" / "nvidia.c"
LICENCES = {True: "Dual MIT/GPL", False: "NVIDIA"}
DRIVER_FIELDS = {
    "section": "NVIDIA",
    "source": "nvidia-graphics-drivers",
    "maintainer": "NVIDIA",
}


def driver_debs(driver: str, shop: Workshop, family: str) -> list[Deb]:
    """Return everything of one driver version for Ubuntu or Debian."""
    own = _ubuntu(driver, shop) if family == "ubuntu" else _debian(driver, shop)
    return [*own, *_fabric(driver, shop, family), *_pinning(driver, shop)]


def compat_deb(driver: str, cuda: str, shop: Workshop, revision: str) -> Deb:
    """Return `cuda-compat-X-Y`, whose version is the driver's that implements it. No Depends."""
    folder = f"/usr/local/cuda-{cuda}/compat"
    payload = Payload(shop)
    payload.library(folder, "libcuda.so.1", driver, numbers=(_cuda(driver),))
    payload.link(f"{folder}/libcuda.so", "libcuda.so.1")
    return shop.deb(
        f"cuda-compat-{cuda.replace('.', '-')}",
        f"{driver}-{revision}",
        payload=payload,
        description="CUDA Compatibility Platform",
        **DRIVER_FIELDS,
    )


def _ubuntu(driver: str, shop: Workshop) -> list[Deb]:
    version = f"{driver}-1ubuntu1"
    branch = parts(driver)[0]
    s = f"-{branch}" if branch == SUFFIXED else ""
    libraries = [
        *(f"libnvidia-{part}{s}" for part in ("common", "gl", "compute", "extra", "decode")),
        *(f"libnvidia-{part}{s}" for part in ("encode", "cfg1", "fbc1")),
    ]
    tools = [f"nvidia-utils{s}", f"nvidia-compute-utils{s}"]

    def same(*names: str) -> list[str]:
        return [f"{name} (= {version})" for name in names]

    def deb(name: str, depends: list[str], payload: Payload | None = None, **more: object) -> Deb:
        fields = {**DRIVER_FIELDS, **_against_other_branches(name, s), **more}
        return shop.deb(name, version, depends, payload, **fields)

    debs = [
        *(deb(name, [], _ubuntu_payload(name, driver, shop)) for name in libraries),
        deb(f"nvidia-firmware{s}", [], _firmware(driver, shop)),
        deb(f"nvidia-kernel-common{s}", same(f"nvidia-firmware{s}"), _modprobe(shop)),
        *(deb(name, [libraries[2]], _ubuntu_payload(name, driver, shop)) for name in tools),
        deb(f"xserver-xorg-video-nvidia{s}", []),
    ]
    for flavour, module in (("-open", "kernel-open"), ("", "kernel")):
        source = f"nvidia-kernel-source{s}{flavour}"
        dkms = f"nvidia-dkms{s}{flavour}"
        headless = f"nvidia-headless-no-dkms{s}{flavour}"
        common = f"nvidia-kernel-common{s}"
        debs += [
            deb(source, [], _source(driver, module, shop)),
            deb(
                dkms,
                [*same(source, common), "dkms"],
                _dkms(driver, module, shop),
                provides=["nvidia-dkms-kernel"],
                conflicts=["nvidia-dkms-kernel"],
                replaces=["nvidia-dkms-kernel"],
                scripts=_dkms_scripts(driver),
            ),
            deb(headless, same(source, common, libraries[2], tools[1], f"libnvidia-cfg1{s}")),
            deb(f"nvidia-headless{s}{flavour}", same(headless, dkms)),
            deb(
                f"nvidia-driver{s}{flavour}",
                same(*libraries, *tools, f"xserver-xorg-video-nvidia{s}", source, dkms, common),
            ),
        ]
    return [*debs, *_ubuntu_metas(driver, version, s, shop)]


def _ubuntu_metas(driver: str, version: str, s: str, shop: Workshop) -> list[Deb]:
    against_open = ["nvidia-open", f"nvidia-open-{SUFFIXED}"]
    against_closed = ["cuda-drivers", f"cuda-drivers-{SUFFIXED}"]
    if not s:
        return [
            shop.deb(
                "nvidia-open",
                version,
                [f"nvidia-driver-open (= {version})"],
                conflicts=against_closed,
            ),
            shop.deb(
                "cuda-drivers", version, [f"nvidia-driver (= {version})"], conflicts=against_open
            ),
        ]
    return [
        shop.deb(
            f"nvidia-open{s}",
            version,
            [f"nvidia-driver{s}-open | nvidia-driver{s}-server-open"],
            conflicts=against_closed,
        ),
        shop.deb("nvidia-open", version, [f"nvidia-open{s} (= {version})"]),
        shop.deb(
            f"cuda-drivers{s}",
            version,
            [f"nvidia-driver{s} (>= {driver})"],
            conflicts=against_open,
        ),
        shop.deb("cuda-drivers", version, [f"cuda-drivers{s} (= {version})"]),
    ]


def _debian(driver: str, shop: Workshop) -> list[Deb]:
    version = f"{driver}-1"
    numbers = (_cuda(driver),)

    def same(*names: str) -> list[str]:
        return [f"{name} (= {version})" for name in names]

    def library(name: str, soname: str) -> Deb:
        payload = Payload(shop).library(shop.multiarch, soname, driver, numbers=numbers)
        return shop.deb(name, version, (), payload, **DRIVER_FIELDS)

    def deb(name: str, depends: list[str], payload: Payload | None = None, **more: object) -> Deb:
        return shop.deb(name, version, depends, payload, **{**DRIVER_FIELDS, **more})

    one_kernel = ["nvidia-dkms-kernel"]
    kernel = {"provides": one_kernel, "conflicts": one_kernel, "replaces": one_kernel}
    cuda = deb(
        "nvidia-driver-cuda",
        same("libcuda1", "libnvidia-ml1", "libnvidia-ptxjitcompiler1", "nvidia-persistenced"),
        Payload(shop).file("/usr/bin/nvidia-smi", _smi(driver), 0o755),
    )
    return [
        library("libcuda1", "libcuda.so.1"),
        library("libnvidia-ml1", "libnvidia-ml.so.1"),
        library("libnvidia-ptxjitcompiler1", "libnvidia-ptxjitcompiler.so.1"),
        library("libnvidia-cfg1", "libnvidia-cfg.so.1"),
        library("libnvcuvid1", "libnvcuvid.so.1"),
        library("libnvidia-encode1", "libnvidia-encode.so.1"),
        library("nvidia-driver-libs", "libGLX_nvidia.so.0"),
        deb("nvidia-persistenced", [], _unit(Payload(shop), "nvidia-persistenced")),
        deb("firmware-nvidia-gsp", [], _firmware(driver, shop)),
        deb("nvidia-kernel-support", same("firmware-nvidia-gsp"), _modprobe(shop)),
        *(
            deb(
                f"nvidia-kernel{flavour}-dkms",
                [*same("nvidia-kernel-support"), "dkms"],
                _dkms(driver, f"kernel{flavour}", shop, _source(driver, f"kernel{flavour}", shop)),
                scripts=_dkms_scripts(driver),
                **kernel,
            )
            for flavour in ("-open", "")
        ),
        cuda,
        deb(
            "nvidia-driver",
            [
                *same("nvidia-driver-libs", "libnvcuvid1", "libnvidia-encode1", "libnvidia-cfg1"),
                f"nvidia-kernel-open-dkms (= {version}) | nvidia-kernel-dkms (= {version})",
            ],
        ),
        deb(
            "nvidia-open",
            same("nvidia-driver", "nvidia-kernel-open-dkms", "nvidia-driver-cuda"),
            conflicts=["cuda-drivers"],
        ),
        deb(
            "cuda-drivers",
            same("nvidia-driver", "nvidia-kernel-dkms", "nvidia-driver-cuda"),
            conflicts=["nvidia-open"],
        ),
    ]


def _fabric(driver: str, shop: Workshop, family: str) -> list[Deb]:
    """NVSwitch packages: unsuffixed for every branch here; nvlink5's mft and UFM parts left out."""
    version = f"{driver}-1"
    branch = parts(driver)[0]
    fabric = Payload(shop).file(
        "/usr/bin/nv-fabricmanager", _tool("nv-fabricmanager", driver), 0o755
    )
    debs = [
        shop.deb("nvidia-fabricmanager", version, (), _unit(fabric, "nvidia-fabricmanager")),
        shop.deb("nvidia-imex", version, (), _unit(Payload(shop), "nvidia-imex")),
        shop.deb(
            "libnvidia-nscq",
            version,
            (),
            Payload(shop).library(shop.multiarch, "libnvidia-nscq.so.2.0", driver),
        ),
    ]
    if shop.arch == "x86_64":
        payload = Payload(shop).library(shop.multiarch, "libnvsdm.so.1", driver)
        debs.append(shop.deb("libnvsdm", version, (), payload))
        s = f"-{branch}" if branch == SUFFIXED else ""
        at_least = [f"{name} (>= {branch})" for name in ("libnvidia-nscq", "libnvsdm")]
        at_least += [f"{name} (>= {branch})" for name in ("nvidia-fabricmanager", "nvidia-imex")]
        at_least += [
            f"nvidia-dkms{s}-open | nvidia-kernel-open-dkms (>= {branch})",
            f"libnvidia-compute{s} | nvidia-driver-cuda (>= {branch})",
        ]
        debs.append(shop.deb(f"nvlink5{s if family == 'ubuntu' else ''}", version, at_least))
    return debs


def _pinning(driver: str, shop: Workshop) -> list[Deb]:
    """A preferences file with priority 1000; only one pinning package can be installed."""
    branch = parts(driver)[0]
    only = ["nvidia-driver-pinning"]
    debs = []
    for name, pattern in ((str(branch), f"{branch}.*"), (driver, f"{driver}-*")):
        path = f"/etc/apt/preferences.d/nvidia-driver-pinning-{name}"
        content = (
            "Package: *nvidia* libcuda1 libnvcuvid1 libnvsdm cuda-drivers* nvlink5*\n"
            f"Pin: version {pattern}\nPin-Priority: 1000\n"
        )
        debs.append(
            shop.deb(
                f"nvidia-driver-pinning-{name}",
                f"{driver}-1",
                arch="all",
                files={path: content.encode()},
                conffiles=(path,),
                provides=only,
                conflicts=only,
                replaces=only,
            )
        )
    return debs


def _against_other_branches(name: str, s: str) -> dict[str, list[str]]:
    """Suffixed and unsuffixed packages own the same files, so one replaces the other."""
    number = f"-{SUFFIXED}"
    if s:
        other = name.replace(number, "", 1)
    else:
        flavour = "-open" if name.endswith("-open") else ""
        other = name.removesuffix(flavour) + number + flavour
    return {"conflicts": [other], "replaces": [other]}


def _ubuntu_payload(name: str, driver: str, shop: Workshop) -> Payload:
    payload = Payload(shop)
    numbers = (_cuda(driver),)
    base = name.removesuffix(f"-{SUFFIXED}")
    sonames = {
        "libnvidia-compute": (
            "libcuda.so.1",
            "libnvidia-ml.so.1",
            "libnvidia-ptxjitcompiler.so.1",
            "libnvidia-nvvm.so.4",
        ),
        "libnvidia-decode": ("libnvcuvid.so.1",),
        "libnvidia-encode": ("libnvidia-encode.so.1",),
        "libnvidia-cfg1": ("libnvidia-cfg.so.1",),
        "libnvidia-fbc1": ("libnvidia-fbc.so.1",),
        "libnvidia-gl": ("libGLX_nvidia.so.0",),
    }
    for soname in sonames.get(base, ()):
        payload.library(shop.multiarch, soname, driver, numbers=numbers)
    if base == "libnvidia-compute":
        payload.link(f"{shop.multiarch}/libcuda.so", "libcuda.so.1")
    if base == "nvidia-utils":
        payload.file("/usr/bin/nvidia-smi", _smi(driver), 0o755)
    if base == "nvidia-compute-utils":
        tool = _tool("nvidia-persistenced", driver)
        payload.file("/usr/bin/nvidia-persistenced", tool, 0o755)
        _unit(payload, "nvidia-persistenced")
    return payload


def _smi(driver: str) -> bytes:
    cuda = _cuda(driver)
    return text(
        "nvidia-smi.sh",
        DRIVER=driver,
        BRANCH=".".join(driver.split(".")[:2]),
        CUDA=f"{cuda // 1000}.{cuda // 10 % 100}",
    )


def _tool(name: str, driver: str) -> bytes:
    return text("tool.sh", NAME=name, PACKAGE="the driver", RELEASE=driver, VERSION=driver)


def _firmware(driver: str, shop: Workshop) -> Payload:
    path = f"/usr/lib/firmware/nvidia/{driver}/gsp_ga10x.bin"
    return Payload(shop).file(path, b"CUDACTL-SIMULATED-LIBRARY\n")


def _modprobe(shop: Workshop) -> Payload:
    return Payload(shop).file("/usr/lib/modprobe.d/nvidia-graphics-drivers.conf", BLACKLIST)


def _source(driver: str, module: str, shop: Workshop) -> Payload:
    """The source's folder: nothing that could be built, and the line that tells its flavour."""
    folder = f"/usr/src/nvidia-{driver}/{module}"
    licence = LICENCES[module == "kernel-open"]
    return (
        Payload(shop)
        .file(f"{folder}/README", b"CUDACTL-SIMULATED-LIBRARY: no module source in the lab\n")
        .file(f"{folder}/nvidia/nv.c", f'MODULE_LICENSE("{licence}");\n'.encode())
    )


def _kbuild(driver: str, licence: str) -> str:
    is_open = int(licence == LICENCES[True])
    return (
        "obj-m := nvidia.o\n"
        f"ccflags-y := -DCUDACTL_VERSION='\"{driver}\"' -DCUDACTL_OPEN={is_open} "
        f"-DCUDACTL_LICENCE='\"{licence}\"'\n"
    )


def _dkms(driver: str, module: str, shop: Workshop, payload: Payload | None = None) -> Payload:
    """What DKMS is told of the source, and a module that builds, loads and drives nothing."""
    folder = f"/usr/src/nvidia-{driver}"
    licence = LICENCES[module == "kernel-open"]
    return (
        (payload or Payload(shop))
        .file(f"{folder}/dkms.conf", DKMS_CONF.format(driver=driver).encode())
        .file(f"{folder}/nvidia.c", MODULE.read_bytes())
        .file(f"{folder}/Kbuild", _kbuild(driver, licence).encode())
    )


def _dkms_scripts(driver: str) -> dict[str, str]:
    """DKMS is told of the module and made to forget it; a new driver asks for a restart."""
    known = f"-m nvidia -v {driver}"
    there = "command -v dkms >/dev/null"
    return {
        "postinst": script(
            "configure",
            "touch /var/run/reboot-required",
            'echo "$DPKG_MAINTSCRIPT_PACKAGE" >>/var/run/reboot-required.pkgs',
            f"if {there}; then dkms add {known} >/dev/null 2>&1 || true; fi",
        ),
        "prerm": "#!/bin/sh\nset -e\n"
        f"if {there}; then dkms remove {known} --all >/dev/null 2>&1 || true; fi\n",
    }


def _unit(payload: Payload, name: str) -> Payload:
    return payload.file(f"/usr/lib/systemd/system/{name}.service", UNIT)


def _cuda(driver: str) -> int:
    return CUDA_OF_BRANCH[parts(driver)[0]]
