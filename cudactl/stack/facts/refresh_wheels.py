"""What a wheel index states of versions: the second half of `catalogue refresh`.

The project `cuda-toolkit` pins what a toolkit release consists of, so a toolkit's parts are read
from its METADATA; of all other projects only the names and tags of their files are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from cudactl.stack.facts.sightings import Sighting
from cudactl.stack.index.fetching import session, without_password
from cudactl.stack.index.wheels import TIMEOUT_S, WheelIndexError, reachable, wheel_metadata

TOOLKIT = "cuda-toolkit"


def projects(majors: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return project → table and CUDA major, for the CUDA majors that the catalogue knows."""
    found: dict[str, tuple[str, str]] = {}
    for major in majors:
        found |= {
            f"nvidia-cudnn-cu{major}": ("cudnn", major),
            f"nvidia-nccl-cu{major}": ("nccl", major),
            f"tensorrt-cu{major}-libs": ("tensorrt", major),
            f"tensorrt-cu{major}-bindings": ("tensorrt", major),
            f"tensorrt-rtx-cu{major}-libs": ("tensorrt_rtx", major),
        }
    return found


class WheelListing:
    """A wheel index that is looked through; nothing of it is locked or fetched."""

    def __init__(self, url: str, cache: Path, today: str) -> None:
        self.url, self.cache, self.today = url, cache, today

    @property
    def title(self) -> str:
        """The address, for people."""
        return without_password(self.url)

    def seen(self, majors: Iterable[str]) -> Iterator[Sighting]:
        """Yield what the index states; projects that it does not carry are passed over.

        Raises:
            UnreachableError: INDEX-UNREACHABLE.
        """
        for project, (table, major) in projects(majors).items():
            for version, files in self._releases(project).items():
                words: dict[str, tuple[str, ...]] = {"cuda_majors": (major,)}
                tags = {tag for file in files if (tag := _python(file.filename))}
                if tags and table == "tensorrt":
                    words["pythons"] = tuple(sorted(tags, key=lambda t: int(t[2:])))
                yield Sighting(table, version, self._source(project), self.today, words)

    def toolkits(self) -> dict[str, Any]:
        """Return toolkit release → the wheel that pins its parts."""
        found = {}
        for version, files in self._releases(TOOLKIT).items():
            parts = version.split(".")
            if len(parts) == 3 or (len(parts) == 4 and parts[3] == "0"):
                wheels = [file for file in files if file.package_type == "wheel"]
                if wheels:
                    found[".".join(parts[:3])] = wheels[0]
        return found

    def toolkit(self, version: str) -> Sighting:
        """Return that the index has a toolkit release."""
        return Sighting("toolkits", version, self._source(TOOLKIT), self.today)

    def parts(self, wheel: Any) -> list[tuple[str, str | None]]:  # noqa: ANN401
        """Return the wheel projects that a toolkit consists of, with the version it pins.

        The version is None where a range stands instead of a pin.
        """
        from pypi_simple import PyPISimple

        with PyPISimple(endpoint=self.url, session=session(self.url)) as client:
            text = wheel_metadata(client, wheel, self.url, self.cache / "metadata")
        found: dict[str, str | None] = {}
        for line in re.findall(r"^Requires-Dist: *(.+)$", text, re.MULTILINE):
            try:
                need = Requirement(line.strip())
            except InvalidRequirement:
                continue
            name = canonicalize_name(need.name)
            pins = [one.version for one in need.specifier if one.operator == "=="]
            exact = len(pins) == 1 and len(need.specifier) == 1 and "*" not in pins[0]
            if name.startswith("nvidia-"):
                found[name] = pins[0] if exact else None
        return sorted(found.items())

    def _source(self, project: str) -> str:
        return f"{self.title}{project}/ as read on {self.today}"

    def _releases(self, project: str) -> dict[str, list[Any]]:
        """Return a project's releases, without candidates, rebuilds and what was withdrawn."""
        from pypi_simple import PyPISimple

        with PyPISimple(endpoint=self.url, session=session(self.url)) as client:
            try:
                with reachable(self.url, project):
                    page = client.get_project_page(project, timeout=TIMEOUT_S)
            except WheelIndexError:
                return {}
        found: dict[str, list[Any]] = {}
        for file in page.packages:
            try:
                version = Version(file.version or "")
            except InvalidVersion:
                continue
            plain = not (version.is_prerelease or version.is_postrelease or version.local)
            if plain and not file.is_yanked:
                found.setdefault(str(version), []).append(file)
        return found


def _python(filename: str) -> str | None:
    """Return the interpreter tag of a wheel that is for one interpreter."""
    found = re.search(r"-(cp\d+)-[^-]+-[^-]+\.whl$", filename)
    return found.group(1) if found else None
