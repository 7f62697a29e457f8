"""TensorRT: versioned libraries, and names without a version that all majors share.

Everything of one build is joined by `=`, and CUDA is in the version only: whatever a solver leaves
open goes to the newest build. Dependencies inside the family are the lab's own where not seen.
"""

from __future__ import annotations

from collections.abc import Callable

from cudactl.lab.simulated.build import text
from cudactl.lab.universe.shape import Payload, Workshop, parts
from cudactl.stack.bundle.repository import Deb

# Package stem → library, in front of the major.
LIBRARIES = {
    "libnvinfer": "libnvinfer",
    "libnvinfer-plugin": "libnvinfer_plugin",
    "libnvinfer-vc-plugin": "libnvinfer_vc_plugin",
    "libnvinfer-lean": "libnvinfer_lean",
    "libnvinfer-dispatch": "libnvinfer_dispatch",
    "libnvonnxparsers": "libnvonnxparser",
}
STANDALONE = ("libnvinfer", "libnvinfer-lean", "libnvinfer-dispatch")


def tensorrt_debs(version: str, cuda: str, shop: Workshop) -> list[Deb]:
    """Return TensorRT of one version built for one CUDA minor, e.g. "10.13.3.9" for "13.0"."""
    debian = f"{version}-1+cuda{cuda}"
    major, minor, patch, build = parts(version)
    number = major * 10000 + minor * 100 + patch
    short = f"{major}.{minor}.{patch}"

    def same(*names: str) -> list[str]:
        return [f"{name} (= {debian})" for name in names]

    def runtime(stem: str) -> Deb:
        payload = Payload(shop).library(
            shop.multiarch,
            f"{LIBRARIES[stem]}.so.{major}",
            short,
            text=version,
            numbers=(number, major, minor, patch, build),
        )
        depends = [] if stem in STANDALONE else same(f"libnvinfer{major}")
        return shop.deb(f"{stem}{major}", debian, depends, payload)

    def dev(stem: str) -> Deb:
        headers = "libnvinfer-headers-dev"
        if "plugin" in stem:
            headers = "libnvinfer-headers-plugin-dev"
        payload = Payload(shop).link(
            f"{shop.multiarch}/{LIBRARIES[stem]}.so", f"{LIBRARIES[stem]}.so.{major}"
        )
        return shop.deb(f"{stem}-dev", debian, same(f"{stem}{major}", headers), payload)

    include = f"/usr/include/{shop.multiarch.rsplit('/', 1)[1]}"
    numbers = {"MAJOR": major, "MINOR": minor, "PATCH": patch, "BUILD": build, "NUMBER": number}
    headers = Payload(shop).file(f"{include}/NvInfer.h", text("include/NvInfer.h"))
    headers.file(f"{include}/NvInferVersion.h", text("include/NvInferVersion.h", **numbers))
    trtexec = text("tool.sh", NAME="trtexec", PACKAGE="TensorRT", RELEASE=short, VERSION=version)
    libraries = [f"{stem}{major}" for stem in LIBRARIES]
    devs = [f"{stem}-dev" for stem in LIBRARIES]
    python = ["python3-libnvinfer", "python3-libnvinfer-lean", "python3-libnvinfer-dispatch"]
    return [
        *(runtime(stem) for stem in LIBRARIES),
        *(dev(stem) for stem in LIBRARIES),
        shop.deb("libnvinfer-headers-dev", debian, (), headers),
        shop.deb("libnvinfer-headers-plugin-dev", debian, same("libnvinfer-headers-dev")),
        shop.deb("libnvinfer-safe-headers-dev", debian, same("libnvinfer-headers-dev")),
        shop.deb(f"libnvinfer-win-builder-resource{major}", debian, same(f"libnvinfer{major}")),
        shop.deb(
            "libnvinfer-bin",
            debian,
            same(*libraries),
            Payload(shop).file("/usr/src/tensorrt/bin/trtexec", trtexec, 0o755),
        ),
        shop.deb(
            "libnvinfer-samples", debian, same("libnvinfer-bin", "libnvinfer-dev"), arch="all"
        ),
        *(_python(name, version, debian, same, shop) for name in python),
        shop.deb("python3-libnvinfer-dev", debian, same(*python)),
        shop.deb("tensorrt-libs", debian, same(*libraries)),
        shop.deb("tensorrt-dev", debian, same("tensorrt-libs", *devs)),
        shop.deb(
            "tensorrt", debian, same(*libraries, *devs, "libnvinfer-bin", "libnvinfer-samples")
        ),
    ]


def _python(
    name: str, version: str, debian: str, same: Callable[..., list[str]], shop: Workshop
) -> Deb:
    """The distribution's Python only; the real ones name its minor, the lab's take any."""
    major = parts(version)[0]
    module = name.replace("python3-libnvinfer", "tensorrt").replace("-", "_")
    packages = "/usr/lib/python3/dist-packages"
    payload = Payload(shop)
    payload.file(f"{packages}/{module}/__init__.py", text("tensorrt_module.txt", VERSION=version))
    payload.file(
        f"{packages}/{module}-{version}.dist-info/METADATA",
        f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n".encode(),
    )
    libraries = {
        "tensorrt": ("libnvinfer", "libnvinfer-plugin", "libnvonnxparsers"),
        "tensorrt_lean": ("libnvinfer-lean",),
        "tensorrt_dispatch": ("libnvinfer-dispatch",),
    }[module]
    return shop.deb(
        name, debian, ["python3", *same(*(f"{stem}{major}" for stem in libraries))], payload
    )
