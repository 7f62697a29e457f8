"""Which component an installed Debian package serves, told by its name alone.

The other way round from `choices_apt.py`, which goes from components to names. Capturing needs it
for packages of any origin: NVIDIA's repositories, the distribution's archive, or nobody's any more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cudactl.contracts.lock import Component

_LIBRARIES = (
    "cublas|cublaslt|cufft|cufftw|cufile|curand|cusolver|cusolvermg|cusparse|cuobjclient|cudart"
    "|cupti|npp[a-z]*|nvblas|nvjpeg|nvjitlink|nvfatbin|nvptxcompiler|nvrtc|nvrtc-builtins|nvvm"
    "|nvtoolsext"
)
_PATTERNS: tuple[tuple[str, Component | None], ...] = (
    # Names that look like the stack's and are none of it: keys, advice, desktop switching.
    (r"cuda-(?:keyring|repo-).*|nvidia-driver-assistant|nvidia-prime.*|libnvidia-egl.*", None),
    (r"nvidia-container-(?:toolkit|runtime).*|libnvidia-container.*", "container_toolkit"),
    (r"nvidia-docker2", "container_toolkit"),
    (r"datacenter-gpu-manager.*", "dcgm"),
    (r"libnccl(?:2|-dev)", "nccl"),
    (r"libcudnn[0-9].*|cudnn.*|nvidia-cudnn", "cudnn"),
    (r"tensorrt(?:-dev|-libs)?|(?:python3-)?libnvinfer.*|libnv(?:onnx)?parsers.*", "tensorrt"),
    (r"cuda-drivers.*", "driver"),
    (r"cuda|cuda-.*|nvidia-(?:cuda|gds|fs)-.*|cccl-.*|gds-tools-.*", "cuda"),
    (rf"lib(?:{_LIBRARIES})(?:-dev|-static)?-?[0-9].*|libtileiras-.*", "cuda"),
    (r"nsight-(?:compute|systems)(?:-.*)?", "cuda"),
    (
        r"nvidia-.*|libnvidia-.*|libcuda1(?:-.*)?|libnvcuvid1|libnvsdm|libnvoptix1|nvlink5.*",
        "driver",
    ),
    (r"firmware-nvidia-.*|xserver-xorg-video-nvidia.*", "driver"),
    (r"linux-(?:modules|objects|signatures)-nvidia-.*", "driver"),
)
_COMPILED = tuple((re.compile(pattern), component) for pattern, component in _PATTERNS)
_MINOR = re.compile(r"-([0-9]{1,2})-([0-9]{1,2})(?:-config-common)?$")
_MAJOR = re.compile(
    r"^cuda(?:-toolkit)?-([0-9]{1,2})(?:-config-common)?$|^(?:lib)?cudnn.*-cuda-([0-9]{1,2})$"
)
_DISTRIBUTION = re.compile(r"-0ubuntu|~deb[0-9]+u|\+deb[0-9]+u|~bpo[0-9]+")

DRIVER_NAMES = (
    r"libnvidia-compute(?:-[0-9]+(?:-server)?)?",
    r"nvidia-driver-cuda",
    r"libcuda1",
    r"nvidia-utils(?:-[0-9]+(?:-server)?)?",
    r"nvidia-(?:dkms|kernel)-?.*",
)
"""Packages whose version is the driver's, the one that programs load first."""
TOOLKIT_NAMES = (
    *("cuda-toolkit", "cuda", "cuda-runtime", "cuda-libraries", "cuda-libraries-dev"),
    *("cuda-compiler", "cuda-minimal-build", "cuda-tools", "cuda-command-line-tools"),
)
"""Metapackages that carry a toolkit's own version, the most telling first."""


def component_of(name: str) -> Component | None:
    """Return the component that a package of this name serves; None for one of none."""
    bare = name.partition(":")[0]
    return next((component for pattern, component in _COMPILED if pattern.fullmatch(bare)), None)


def cuda_of(name: str) -> tuple[str, str | None] | None:
    """Return CUDA major and minor ("13", "13.0") that a name carries; the minor may be None."""
    minor = _MINOR.search(name)
    if minor is not None:
        return minor[1], f"{minor[1]}.{minor[2]}"
    major = _MAJOR.search(name)
    if major is not None:
        return major[1] or major[2], None
    return None


def from_distribution(version: str) -> bool:
    """Return True for a version as Ubuntu's and Debian's own archives write them.

    NVIDIA's end in -1 or -1ubuntu1; Ubuntu's have -0ubuntu, Debian's updates ~deb12u1 (the
    archives' own indexes, 2026-11-23).
    """
    return _DISTRIBUTION.search(version) is not None


def first_match(patterns: tuple[str, ...], packages: Mapping[str, str]) -> str | None:
    """Return the first package, in the order of the patterns, that one of them matches."""
    for pattern in patterns:
        for name in sorted(packages):
            if re.fullmatch(pattern, name):
                return name
    return None


def module_flavour(names: Mapping[str, str]) -> str | None:
    """Return the kernel module's flavour that package names tell: open, proprietary or None."""
    modules = [name for name in names if re.search(r"nvidia-(?:dkms|kernel|[0-9])", name)]
    modules = [n for n in modules if not re.search(r"kernel-(?:common|support)", n)]
    if any(re.search(r"-open(?:-|$)", name) for name in modules):
        return "open"
    if any(re.search(r"dkms|^linux-modules", name) for name in modules):
        return "proprietary"
    return None
