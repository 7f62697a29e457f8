"""CUDA toolkit: the component packages and the files they own, per release.

Names, versions and dependencies come from what was seen in NVIDIA's and Ubuntu's indexes; where a
component's version was not seen it is the lab's own choice, and says so.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cudactl.lab.simulated.build import text
from cudactl.lab.universe.shape import Payload, Workshop, parts, script
from cudactl.stack.bundle.repository import Deb

# Driver that a toolkit's full features need (CUDA release notes); 13.0.3's was not found: 13.0.2's.
DRIVERS = {
    "12.9.1": "575.57.08",
    "13.0.0": "580.65.06",
    "13.0.2": "580.95.05",
    "13.0.3": "580.95.05",
    "13.1.1": "590.48.01",
    "13.3.0": "610.43.02",
}
# Architectures that nvcc accepts, from `nvcc --list-gpu-code` of the wheels.
OLD_GPUS = "50 52 53 60 61 62 70 72 75 80 86 87 89 90 100 101 103 120 121"
NEW_GPUS = "75 80 86 87 88 89 90 100 103 110 120 121"

# Libraries of a component. Their sonames end in the component's major, except:
LIBRARIES = {
    "cuda-cudart": ("libcudart",),
    "cuda-nvrtc": ("libnvrtc", "libnvrtc-builtins"),
    "cuda-opencl": ("libOpenCL",),
    "cuda-cupti": ("libcupti",),
    "libcublas": ("libcublas", "libcublasLt", "libnvblas"),
    "libcufft": ("libcufft", "libcufftw"),
    "libcufile": ("libcufile",),
    "libcuobjclient": ("libcuobjclient",),
    "libcurand": ("libcurand",),
    "libcusolver": ("libcusolver", "libcusolverMg"),
    "libcusparse": ("libcusparse",),
    "libnpp": ("libnppc", "libnppig"),
    "libnvfatbin": ("libnvfatbin",),
    "libnvjitlink": ("libnvJitLink",),
    "libnvjpeg": ("libnvjpeg",),
}
FIXED_SONAMES = {"libOpenCL": "1", "libcufile": "0", "libcuobjclient": "1"}
HEADERS = {
    "cuda-cudart": ("cuda_runtime.h", "cuda_runtime_api.h", "cuda.h"),
    "libcublas": ("cublas_v2.h", "cublasLt.h"),
}
# Runtime libraries in the order of cuda-libraries-X-Y's dependencies.
RUNTIME = [
    *("cuda-cudart", "cuda-nvrtc", "cuda-opencl", "libcublas", "libcufft", "libcufile"),
    *("libcuobjclient", "libcurand", "libcusolver", "libcusparse", "libnpp", "libnvjitlink"),
    *("libnvfatbin", "libnvjpeg"),
]


@dataclass(frozen=True)
class Release:
    """One toolkit release and its components."""

    version: str
    """Toolkit version, e.g. "13.0.2"."""
    components: dict[str, str]
    """Package stem → upstream version."""

    @property
    def minor(self) -> str:
        """E.g. "13.0"."""
        return ".".join(self.version.split(".")[:2])

    @property
    def dash(self) -> str:
        """E.g. "13-0", the suffix of package names."""
        return self.minor.replace(".", "-")

    @property
    def major(self) -> int:
        """E.g. 13."""
        return parts(self.version)[0]

    @property
    def number(self) -> int:
        """E.g. 13000, as the runtime says it."""
        major, minor, *_ = parts(self.version)
        return major * 1000 + minor * 10

    @property
    def home(self) -> str:
        """Folder it is installed to."""
        return f"/usr/local/cuda-{self.minor}"

    @property
    def runtime(self) -> list[str]:
        """Stems of its runtime libraries."""
        # libcuobjclient was seen with 13.1 only.
        return [s for s in RUNTIME if s != "libcuobjclient" or self.minor == "13.1"]

    def of(self, stem: str) -> str:
        """Return a component's upstream version.

        What PyPI does not list follows the nearest listed sibling: the lab's own choice.
        """
        if stem in self.components:
            return self.components[stem]
        if stem == "libcuobjclient":
            return "1.0.0.26"
        compiler = ("cuda-crt", "cuda-nvvm", "libnvvm", "libnvptxcompiler", "libnvjitlink")
        if stem in compiler:
            return self.components["cuda-nvcc"]
        if stem in ("cuda-documentation", "cuda-nvprof"):
            return self.components["cuda-nvml-dev"]
        return self.components["cuda-cuxxfilt"]

    def package(self, stem: str) -> str:
        """Return a component's package name; 13.3 renamed CCCL."""
        if stem == "cuda-cccl" and self.minor == "13.3":
            return f"cccl-{self.dash}"
        return f"{stem}-{self.dash}"

    def at_least(self, stem: str) -> str:
        """Return the dependency on a component as the metapackages write it."""
        return f"{self.package(stem)} (>= {self.of(stem)})"


def releases() -> dict[str, Release]:
    """Read the components of every toolkit that the lab has."""
    found: dict[str, dict[str, str]] = {}
    with (Path(__file__).parent / "components.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(line for line in stream if not line.startswith("#")):
            found.setdefault(row["toolkit"], {})[row["stem"]] = row["version"]
    return {version: Release(version, components) for version, components in found.items()}


def component_debs(release: Release, shop: Workshop) -> list[Deb]:
    """Return the packages of one release that own files."""
    config = _config_common(release, shop)
    debs = [_library(release, stem, shop) for stem in release.runtime]
    debs += [_library_dev(release, stem, shop) for stem in release.runtime]
    debs += [
        *config,
        *_compiler(release, shop),
        *_tools(release, shop),
        _headers_only(release, shop),
    ]
    return debs


def config_depends(release: Release) -> list[str]:
    """The shared configuration that every library depends on."""
    return [
        "cuda-toolkit-config-common | cuda-cudart-11-2",
        f"cuda-toolkit-{release.major}-config-common | cuda-cudart-11-2",
        f"cuda-toolkit-{release.dash}-config-common",
    ]


def _library(release: Release, stem: str, shop: Workshop) -> Deb:
    version = release.of(stem)
    payload = Payload(shop)
    for base in LIBRARIES[stem]:
        payload.library(
            _lib(release, shop),
            _soname(release, base, version),
            version,
            numbers=_numbers(release, base, version),
        )
    return shop.deb(release.package(stem), f"{version}-1", config_depends(release), payload)


def _library_dev(release: Release, stem: str, shop: Workshop) -> Deb:
    version = release.of(stem)
    payload = Payload(shop)
    for base in LIBRARIES[stem]:
        payload.link(f"{_lib(release, shop)}/{base}.so", _soname(release, base, version))
    major, minor, patch, _ = parts(version)
    for header in HEADERS.get(stem, ()):
        content = text(
            f"include/{header}",
            CUDART_NUMBER=release.number,
            MAJOR=major,
            MINOR=minor,
            PATCH=patch,
        )
        payload.file(f"{_include(release, shop)}/{header}", content)
    depends = [release.at_least(stem)]
    if stem == "cuda-cudart":
        depends += [release.package("cuda-driver-dev"), release.package("cuda-cccl")]
        if shop.libraries is not None:
            archive = shop.libraries.file("libcudart_static.a", version, (release.number,))
            payload.file(f"{_lib(release, shop)}/libcudart_static.a", archive)
    name = stem.replace("cuda-cudart", "cuda-cudart-dev").replace("cuda-nvrtc", "cuda-nvrtc-dev")
    name = name.replace("cuda-opencl", "cuda-opencl-dev")
    name = name if name.startswith("cuda-") else f"{stem}-dev"
    return shop.deb(f"{name}-{release.dash}", f"{version}-1", depends, payload)


def _config_common(release: Release, shop: Workshop) -> list[Deb]:
    """Alternatives, loader configuration and the folder's links.

    The version of these packages is cudart's (seen: 12.9.79-1 and 13.3.29-1). That the versioned
    one owns `lib64` and `include` is the lab's own choice.
    """
    version = f"{release.of('cuda-cudart')}-1"
    priority = release.number // 10
    home, major = release.home, release.major
    loader = 999 - major  # seen: 987 for 12; the newer one is read first
    links = {
        f"{home}/lib64": f"targets/{shop.target}/lib",
        f"{home}/include": f"targets/{shop.target}/include",
    }
    shared: dict[str, Any] = {
        "arch": "all",
        "multi_arch": "foreign",
        "triggers": "activate-noawait ldconfig",
    }
    postinst = script(
        "configure",
        f"update-alternatives --install /usr/local/cuda cuda {home} {priority}",
        f"update-alternatives --install /usr/local/cuda-{major} cuda-{major} {home} {priority}",
        "ldconfig",
    )
    prerm = script(
        "remove",
        f"update-alternatives --remove cuda {home}",
        f"update-alternatives --remove cuda-{major} {home}",
    )
    every = f"/usr/local/cuda/targets/{shop.target}/lib\n".encode()
    same_major = f"/usr/local/cuda-{major}/targets/{shop.target}/lib\n".encode()
    return [
        shop.deb(
            "cuda-toolkit-config-common",
            version,
            files={"/etc/ld.so.conf.d/000_cuda.conf": every},
            conffiles=("/etc/ld.so.conf.d/000_cuda.conf",),
            **shared,
        ),
        shop.deb(
            f"cuda-toolkit-{major}-config-common",
            version,
            files={f"/etc/ld.so.conf.d/{loader}_cuda-{major}.conf": same_major},
            conffiles=(f"/etc/ld.so.conf.d/{loader}_cuda-{major}.conf",),
            **shared,
        ),
        shop.deb(
            f"cuda-toolkit-{release.dash}-config-common",
            version,
            links=links if shop.libraries else {},
            scripts={"postinst": postinst, "prerm": prerm} if shop.libraries else {},
            **shared,
        ),
    ]


def _compiler(release: Release, shop: Workshop) -> list[Deb]:
    version = release.of("cuda-nvcc")
    gpus = OLD_GPUS if release.major == 12 else NEW_GPUS
    nvcc = Payload(shop).file(
        f"{release.home}/bin/nvcc",
        text(
            "nvcc.sh",
            TARGET=shop.target,
            ARCHITECTURES=gpus,
            RELEASE=release.minor,
            VERSION=version,
        ),
        0o755,
    )
    nvcc.file(*_tool(release, "ptxas", "cuda-nvcc"), 0o755)
    depends = [release.package("cuda-cudart-dev"), "build-essential"]
    extra = ["libnvvm", "cuda-crt", "libnvptxcompiler"]
    if release.major == 12:
        extra = ["cuda-nvvm", "cuda-crt"]
    depends += [release.package(stem) for stem in extra]
    debs = [shop.deb(release.package("cuda-nvcc"), f"{version}-1", depends, nvcc)]
    for stem in (*extra, "cuda-culibos-dev"):
        debs.append(shop.deb(release.package(stem), f"{release.of(stem)}-1"))
    if release.minor != "12.9" and release.minor != "13.0":
        debs.append(shop.deb(release.package("cuda-tileiras"), f"{release.of('cuda-tileiras')}-1"))
    return debs


def _tools(release: Release, shop: Workshop) -> list[Deb]:
    debs = []
    for stem, tools in {
        "cuda-cuobjdump": ("cuobjdump",),
        "cuda-cuxxfilt": ("cu++filt",),
        "cuda-nvprune": ("nvprune",),
        "cuda-nvdisasm": ("nvdisasm",),
        "cuda-gdb": ("cuda-gdb",),
        "cuda-sanitizer": ("compute-sanitizer",),
        "cuda-nsight": (),
        "cuda-nsight-compute": (),
        "cuda-nsight-systems": (),
        "gds-tools": (),
    }.items():
        payload = Payload(shop)
        for tool in tools:
            payload.file(*_tool(release, tool, stem), 0o755)
        version = release.of("libcufile" if stem == "gds-tools" else stem)
        if stem.startswith("cuda-nsight"):
            version = release.version
        debs.append(shop.deb(release.package(stem), f"{version}-1", (), payload))
    cupti = release.of("cuda-cupti")
    payload = Payload(shop).library(
        f"{release.home}/extras/CUPTI/lib64",
        f"libcupti.so.{release.major}",
        cupti,
        numbers=_numbers(release, "libcupti", cupti),
    )
    debs.append(shop.deb(release.package("cuda-cupti"), f"{cupti}-1", (), payload))
    debs.append(
        shop.deb(release.package("cuda-cupti-dev"), f"{cupti}-1", [release.at_least("cuda-cupti")])
    )
    return debs


def _headers_only(release: Release, shop: Workshop) -> Deb:
    """CCCL: `cuda-cccl-X-Y` up to 13.2, `cccl-X-Y` from 13.3 on."""
    renamed = release.package("cuda-cccl").startswith("cccl")
    old = [f"cuda-cccl-12-{minor}" for minor in range(10)]
    names = [f"cuda-cub-{release.dash}", f"cuda-thrust-{release.dash}"]
    header = f"{_include(release, shop)}/cub/version.cuh"
    return shop.deb(
        release.package("cuda-cccl"),
        f"{release.of('cuda-cccl')}-1",
        payload=Payload(shop).file(header, b"// CUDACTL-SIMULATED-LIBRARY\n"),
        source="cccl" if renamed else "cuda-cccl",
        provides=[f"cuda-cccl-{release.dash}", *names] if renamed else names,
        breaks=old if renamed else (),
        replaces=old if renamed else (),
    )


def _tool(release: Release, name: str, stem: str) -> tuple[str, bytes]:
    content = text(
        "tool.sh",
        NAME=name,
        PACKAGE=release.package(stem),
        RELEASE=release.minor,
        VERSION=release.of(stem),
    )
    return f"{release.home}/bin/{name}", content


def _lib(release: Release, shop: Workshop) -> str:
    return f"{release.home}/targets/{shop.target}/lib"


def _include(release: Release, shop: Workshop) -> str:
    return f"{release.home}/targets/{shop.target}/include"


def _soname(release: Release, base: str, version: str) -> str:
    if base == "libnvrtc-builtins":
        return f"{base}.so.{release.minor}"
    return f"{base}.so.{FIXED_SONAMES.get(base, parts(version)[0])}"


def _numbers(release: Release, base: str, version: str) -> tuple[int, ...]:
    major, minor, patch, _ = parts(version)
    number = major * 1000 + minor * 100 + patch
    if base == "libcudart":
        number = release.number
    elif base.startswith("libcublas"):
        number = major * 10000 + minor * 100 + patch
    return (number, major, minor, patch, release.number)
