"""Where a lock's libraries lie on a machine, and to which package they belong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cudactl.contracts.lock import LockedPackage, StackLock

STACKS = "/opt/cudactl/stacks"
TARGET_FOLDER = {"x86_64": "x86_64-linux", "sbsa": "sbsa-linux"}
MULTIARCH = {"x86_64": "x86_64-linux-gnu", "sbsa": "aarch64-linux-gnu"}


@dataclass(frozen=True)
class Place:
    """Where one library of the lock lies, and to whom it belongs."""

    package: LockedPackage
    folders: list[str]
    owners: list[str]

    def expect(self, version: str, **more: object) -> dict[str, Any]:
        """Return the expectation that every library check shares."""
        prefixes = [folder + "/" for folder in self.folders]
        return {"version": version, "prefixes": prefixes, "owners": self.owners, **more}


class Layout:
    """Finds the lock's libraries, in whichever way the lock's source lays them out."""

    def __init__(self, lock: StackLock) -> None:
        self.lock = lock
        self.apt = lock.target.packages == "apt"
        cuda = lock.resolved.get("cuda", "")
        self.minor = ".".join(cuda.split(".")[:2])
        self.major = cuda.split(".")[0]
        self.home = f"/usr/local/cuda-{self.minor}"
        self.target = f"{self.home}/targets/{TARGET_FOLDER[lock.target.arch]}"
        self.system = f"/usr/lib/{MULTIARCH[lock.target.arch]}"
        self.site = f"{STACKS}/{lock.short_hash}/site"
        self.owner = f"stack:{lock.short_hash}"

    def first(self, *patterns: str) -> LockedPackage | None:
        """Return the first package whose whole name matches one of the patterns."""
        for pattern in patterns:
            for package in self.lock.packages:
                if re.fullmatch(pattern, package.name):
                    return package
        return None

    def place(
        self, apt: str, wheel: str, wheel_folder: str, *, system: bool = False
    ) -> Place | None:
        """Return where a library lies, or None when the lock does not hold it.

        Args:
            apt: Pattern of its Debian package.
            wheel: Pattern of its wheel project.
            wheel_folder: Its folder below nvidia/ in wheels of CUDA 12; from 13 on it is cu<major>.
            system: True for libraries below /usr/lib instead of the toolkit's folder.
        """
        if self.apt:
            package = self.first(apt)
            folder = self.system if system else f"{self.target}/lib"
            return Place(package, [folder], [package.name]) if package else None
        package = self.first(wheel)
        if package is None:
            return None
        names = [f"cu{self.major}", wheel_folder] if not system else [wheel_folder]
        folders = [f"{self.site}/nvidia/{name}/lib" for name in names]
        return Place(package, folders, [self.owner])

    def driver(self, *patterns: str) -> Place | None:
        """Return where a driver library lies."""
        package = self.first(*patterns)
        return Place(package, [self.system], [package.name]) if package else None


def three(version: str) -> str:
    """Return the first three parts of a version, without epoch and revision."""
    upstream = version.split(":")[-1].split("-")[0].split("+")[0]
    return ".".join(upstream.split(".")[:3])
