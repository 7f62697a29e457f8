"""CUDA toolkit: the tree of metapackages, all joined by `>=` and never by `=`.

So `cuda-toolkit-13-0=13.0.0-1` alone installs the newest components: a lock must name each.
"""

from __future__ import annotations

import json

from cudactl.lab.simulated.build import text
from cudactl.lab.universe.shape import Payload, Workshop
from cudactl.lab.universe.toolkit import DRIVERS, Release
from cudactl.stack.bundle.repository import Deb


def meta_debs(release: Release, shop: Workshop) -> list[Deb]:
    """Return the metapackages of one release, and the leaves that only they ask for."""
    version, dash = release.version, release.dash

    def meta(stem: str, depends: list[str]) -> Deb:
        return shop.deb(f"{stem}-{dash}", f"{version}-1", depends)

    def meta_at_least(*stems: str) -> list[str]:
        return [f"{stem}-{dash} (>= {version})" for stem in stems]

    twelve = release.major == 12
    compiler = ["cuda-cuobjdump", "cuda-cuxxfilt", "cuda-nvcc", "cuda-crt"]
    compiler += ["cuda-nvvm"] if twelve else ["libnvptxcompiler", "libnvvm"]
    compiler += ["cuda-nvprune"]
    if release.minor not in ("12.9", "13.0"):
        compiler.append("cuda-tileiras")
    dev = [f"{stem}-dev" for stem in release.runtime]
    command_line = ["cuda-cupti-dev", "cuda-gdb", "cuda-nvdisasm", "cuda-nvtx", "cuda-sanitizer"]
    driver = DRIVERS[version]
    # Until 13.0 the runtime metapackage brought the driver (seen for 11.8 and 12.1); from 13.1 on
    # `cuda` does (seen). Which drivers satisfied it in 12.9 and 13.0 was not seen.
    any_driver = [f"nvidia-open (>= {driver}) | cuda-drivers (>= {driver})"]
    brings = release.minor in ("12.9", "13.0")
    return [
        *_leaves(release, shop),
        meta("cuda-compiler", [release.at_least(stem) for stem in compiler]),
        meta("cuda-libraries", [release.at_least(stem) for stem in release.runtime]),
        meta(
            "cuda-libraries-dev",
            [
                *(f"{s}-{dash} (>= {release.of(s.removesuffix('-dev'))})" for s in dev),
                *(release.at_least(s) for s in ("cuda-cccl", "cuda-driver-dev")),
                release.at_least("cuda-profiler-api"),
            ],
        ),
        meta("cuda-command-line-tools", [_leaf(release, stem) for stem in command_line]),
        meta(
            "cuda-visual-tools",
            [
                *meta_at_least("cuda-libraries-dev", "cuda-nsight", "cuda-nsight-compute"),
                *meta_at_least("cuda-nsight-systems"),
                release.at_least("cuda-nvml-dev"),
            ],
        ),
        meta(
            "cuda-tools",
            [
                *meta_at_least("cuda-command-line-tools", "cuda-visual-tools"),
                f"gds-tools-{dash} (>= {release.of('libcufile')})",
            ],
        ),
        meta(
            "cuda-minimal-build",
            [
                *meta_at_least("cuda-compiler"),
                f"cuda-cudart-dev-{dash} (>= {release.of('cuda-cudart')})",
                release.at_least("cuda-culibos-dev"),
                release.at_least("cuda-cccl"),
                release.at_least("cuda-profiler-api"),
            ],
        ),
        meta(
            "cuda-toolkit",
            [
                *meta_at_least("cuda-compiler", "cuda-libraries", "cuda-libraries-dev"),
                *meta_at_least("cuda-tools"),
                release.at_least("cuda-documentation"),
                release.at_least("cuda-nvml-dev"),
            ],
        ),
        meta("cuda-runtime", meta_at_least("cuda-libraries") + (any_driver if brings else [])),
        shop.deb(f"cuda-{dash}", f"{version}-1", meta_at_least("cuda-runtime", "cuda-toolkit")),
        *_floating(release, shop, [] if brings else [f"nvidia-open (>= {driver})"]),
    ]


def _leaf(release: Release, stem: str) -> str:
    return f"{stem}-{release.dash} (>= {release.of(stem.removesuffix('-dev'))})"


def _floating(release: Release, shop: Workshop, driver: list[str]) -> list[Deb]:
    """The names without a minor: they follow the newest one."""
    version, dash = release.version, release.dash
    toolkit = [f"cuda-toolkit-{dash} (>= {version})"]
    return [
        shop.deb("cuda-toolkit", f"{version}-1", toolkit),
        shop.deb(f"cuda-toolkit-{release.major}", f"{version}-1", toolkit),
        shop.deb("cuda", f"{version}-1", [f"cuda-{dash} (>= {version})", *driver]),
        shop.deb("cuda-runtime", f"{version}-1", [f"cuda-runtime-{dash} (>= {version})"]),
    ]


def _leaves(release: Release, shop: Workshop) -> list[Deb]:
    lib = f"{release.home}/targets/{shop.target}/lib"
    include = f"{release.home}/targets/{shop.target}/include"
    stubs = Payload(shop)
    nvml = Payload(shop)
    if shop.libraries is not None:
        numbers = (release.number,)
        stubs.file(
            f"{lib}/stubs/libcuda.so",
            shop.libraries.file("libcuda.so.1", f"stub of {release.version}", numbers),
        )
        nvml.file(
            f"{lib}/stubs/libnvidia-ml.so",
            shop.libraries.file("libnvidia-ml.so.1", f"stub of {release.version}", numbers),
        )
        nvml.file(f"{include}/nvml.h", text("include/nvml.h"))
    # Which package owns version.json was not seen: the lab's own choice.
    document = Payload(shop).file(
        f"{release.home}/version.json",
        json.dumps(_version_json(release), indent=2).encode() + b"\n",
    )

    def leaf(stem: str, payload: Payload) -> Deb:
        return shop.deb(release.package(stem), f"{release.of(stem)}-1", (), payload)

    return [
        leaf("cuda-driver-dev", stubs),
        leaf("cuda-nvml-dev", nvml),
        leaf("cuda-documentation", document),
        leaf("cuda-profiler-api", Payload(shop)),
        leaf("cuda-nvtx", Payload(shop)),
    ]


def _version_json(release: Release) -> dict[str, dict[str, str]]:
    entries = {"cuda": {"name": "CUDA SDK", "version": release.version}}
    for stem, version in sorted(release.components.items()):
        name = stem.replace("-", "_")
        entries[name] = {"name": f"{stem} (simulated)", "version": version}
    return entries
