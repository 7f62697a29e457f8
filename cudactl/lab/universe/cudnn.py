"""cuDNN and NCCL: cuDNN 9 has the CUDA major in its names, cuDNN 8 has CUDA in its versions."""

from __future__ import annotations

from cudactl.lab.simulated.build import text
from cudactl.lab.universe.shape import Payload, Workshop, parts, script
from cudactl.stack.bundle.repository import Deb

NINE = ("graph", "ops", "cnn", "adv", "heuristic", "engines_precompiled")
NINE_ALL = (*NINE, "engines_runtime_compiled")
EIGHT = tuple(f"{kind}_{use}" for kind in ("ops", "cnn", "adv") for use in ("infer", "train"))
# cuDNN says which CUDA runtime it was built with; the lab's own choice of minor.
BUILT_WITH = {"12": 12090, "13": 13000}


def cudnn9_debs(version: str, cuda: str, shop: Workshop) -> list[Deb]:
    """Return cuDNN 9 for one CUDA major ("12" or "13").

    That the two majors conflict is the lab's own choice: they own the same files.
    """
    debian = f"{version}-1"
    short = ".".join(version.split(".")[:3])
    other = {"12": "13", "13": "12"}[cuda]
    runtime, dev, headers, static = (
        f"libcudnn9-{part}cuda-{cuda}" for part in ("", "dev-", "headers-", "static-")
    )

    def same(*names: str) -> list[str]:
        return [f"{name} (= {debian})" for name in names]

    def against(part: str) -> list[str]:
        return [f"libcudnn9-{part}cuda-{other}"]

    libraries = _libraries(version, 9, NINE_ALL, BUILT_WITH[cuda], shop)
    include = f"/usr/include/{shop.multiarch.rsplit('/', 1)[1]}"
    return [
        shop.deb(runtime, debian, (), libraries, conflicts=against("")),
        shop.deb(
            headers, debian, (), _headers(version, include, shop), conflicts=against("headers-")
        ),
        shop.deb(
            dev,
            debian,
            same(runtime, headers),
            conflicts=against("dev-"),
            scripts=_alternatives(9, include, shop),
        ),
        shop.deb(static, debian, same(dev, headers), conflicts=against("static-")),
        # Metapackages have three-part versions (seen: cudnn9-cross-sbsa 9.12.0-1).
        shop.deb(
            f"cudnn9-cuda-{cuda}",
            f"{short}-1",
            [f"{name} (>= {version})" for name in (runtime, dev, headers, static)],
        ),
    ]


def cudnn9_metas(version: str, cuda: str, shop: Workshop) -> list[Deb]:
    """Return the metapackages that move with the repository."""
    short = ".".join(version.split(".")[:3])
    return [
        shop.deb("cudnn9", f"{short}-1", [f"cudnn9-cuda-{cuda} (>= {short})"]),
        shop.deb("cudnn", f"{short}-1", [f"cudnn9 (>= {short})"]),
        shop.deb(f"cudnn-cuda-{cuda}", f"{short}-1", [f"cudnn9-cuda-{cuda} (>= {short})"]),
    ]


def cudnn8_debs(version: str, cuda: str, shop: Workshop) -> list[Deb]:
    """Return cuDNN 8 built for one CUDA minor, e.g. "12.2"."""
    debian = f"{version}-1+cuda{cuda}"
    major, minor, *_ = parts(cuda)
    libraries = _libraries(version, 8, EIGHT, major * 1000 + minor * 10, shop)
    include = f"/usr/include/{shop.multiarch.rsplit('/', 1)[1]}"
    return [
        shop.deb("libcudnn8", debian, (), libraries),
        shop.deb(
            "libcudnn8-dev",
            debian,
            [f"libcudnn8 (= {debian})"],
            _headers(version, include, shop),
            scripts=_alternatives(8, include, shop),
        ),
    ]


def nccl_debs(version: str, cuda: str, shop: Workshop) -> list[Deb]:
    """Return NCCL built with one CUDA minor."""
    debian = f"{version}-1+cuda{cuda}"
    major, minor, patch, _ = parts(version)
    number = major * 10000 + minor * 100 + patch
    runtime = Payload(shop).library(
        shop.multiarch, "libnccl.so.2", version, numbers=(number, major, minor, patch)
    )
    dev = Payload(shop).link(f"{shop.multiarch}/libnccl.so", "libnccl.so.2")
    dev.file("/usr/include/nccl.h", text("include/nccl.h", NUMBER=number))
    return [
        shop.deb("libnccl2", debian, (), runtime),
        shop.deb("libnccl-dev", debian, [f"libnccl2 (= {debian})"], dev),
    ]


def _number(version: str) -> int:
    major, minor, patch, _ = parts(version)
    if major >= 9:
        return major * 10000 + minor * 100 + patch
    return major * 1000 + minor * 100 + patch


def _libraries(
    version: str, major: int, names: tuple[str, ...], built_with: int, shop: Workshop
) -> Payload:
    payload = Payload(shop)
    short = ".".join(version.split(".")[:3])
    status = 1001 if major >= 9 else 1  # CUDNN_STATUS_NOT_INITIALIZED
    numbers = (_number(version), *parts(version)[:3], built_with, status)
    for base in ("libcudnn", *(f"libcudnn_{name}" for name in names)):
        payload.library(shop.multiarch, f"{base}.so.{major}", short, text=version, numbers=numbers)
    return payload


def _headers(version: str, include: str, shop: Workshop) -> Payload:
    major, minor, patch, _ = parts(version)
    status = 1001 if major >= 9 else 1
    payload = Payload(shop)
    payload.file(f"{include}/cudnn_v{major}.h", text("include/cudnn.h", NOT_INITIALIZED=status))
    payload.file(
        f"{include}/cudnn_version_v{major}.h",
        text(
            "include/cudnn_version.h",
            MAJOR=major,
            MINOR=minor,
            PATCH=patch,
            NUMBER=_number(version),
        ),
    )
    return payload


def _alternatives(major: int, include: str, shop: Workshop) -> dict[str, str]:
    """cuDNN's headers and link are alternatives, so that 8 and 9 can be installed together."""
    if shop.libraries is None:
        return {}
    lib = shop.multiarch
    install = " ".join(
        [
            f"update-alternatives --install {include}/cudnn.h libcudnn",
            f"{include}/cudnn_v{major}.h {major}0",
            f"--slave {include}/cudnn_version.h libcudnn_version",
            f"{include}/cudnn_version_v{major}.h",
            f"--slave {lib}/libcudnn.so libcudnn_so {lib}/libcudnn.so.{major}",
        ]
    )
    return {
        "postinst": script("configure", install),
        "prerm": script(
            "remove", f"update-alternatives --remove libcudnn {include}/cudnn_v{major}.h"
        ),
    }
