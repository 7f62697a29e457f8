"""What an apt index states of versions: the first half of `catalogue refresh`. Pure.

Only what stands in a package's name or version is taken: which CUDA a build is for, an epoch. What
a version needs or supports is not in there, and is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cudactl.stack.facts.sightings import Sighting
from cudactl.stack.index.apt import AptIndex

_VERSION = re.compile(r"(?:(\d+):)?(\d+(?:\.\d+)*)-[^+~]*(?:\+cuda((\d+)\.\d+).*)?")
_TABLES = {
    "toolkits": re.compile(r"cuda-toolkit-\d+-\d+"),
    "cudnn": re.compile(r"libcudnn9-cuda-(?P<major>\d+)|libcudnn8"),
    "tensorrt": re.compile(r"libnvinfer\d+"),
    "nccl": re.compile(r"libnccl2"),
    "container_toolkit": re.compile(r"nvidia-container-toolkit"),
    "dcgm": re.compile(r"datacenter-gpu-manager-4-(core|cuda(?P<major>\d+))"),
    "driver_releases": re.compile(
        r"(nvidia-open|cuda-drivers)(-\d+)?|nvidia-driver(-\d+)?(-open)?"
    ),
}
"""Table → package names (whole) whose versions are its versions."""
_BUILDS = ("tensorrt", "nccl")
"""Tables that tell the CUDA minor a build is for."""


def seen_in_apt(index: AptIndex, today: str) -> Iterator[Sighting]:
    """Yield what an index states; `today` dates one that gives no day itself."""
    day = index.date or today
    source = f"{index.source.title} Packages of {day}"
    for name in sorted(index.paragraphs):
        for table, names in _TABLES.items():
            named = names.fullmatch(name)
            if named is None:
                continue
            major = named.groupdict().get("major")
            for package in index.versions(name):
                sighting = _sighting(table, package.version, major, source, day)
                if sighting is not None:
                    yield sighting


def _sighting(
    table: str, version: str, major: str | None, source: str, day: str
) -> Sighting | None:
    """Return what one version states; None for what is no release, such as 1.20.0~rc.1-1."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return None
    epoch, upstream, minor, built = found.groups()
    words: dict[str, tuple[str, ...]] = {}
    if major or built:
        words["cuda_majors"] = (major or built,)
    if minor and table in _BUILDS:
        words["built_for_cuda"] = (minor,)
    cells = {"epoch": epoch} if epoch and table == "dcgm" else {}
    return Sighting(table, upstream, source, day, words, cells)
