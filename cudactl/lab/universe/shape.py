"""What the families of the universe share: architecture, paths, library files, package stubs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cudactl.lab.simulated.build import Libraries
from cudactl.stack.bundle.repository import Content, Deb

Arch = Literal["x86_64", "sbsa"]
Links = dict[str, str]
Files = dict[str, Content]

NOTE = """\
A package of cudactl's lab. It has the name, version and dependencies of NVIDIA's package and
nothing of its content: libraries and tools in it are simulated. CUDACTL-SIMULATED-LIBRARY
"""


@dataclass(frozen=True)
class Workshop:
    """Makes packages for one architecture; without `libraries` they are stubs for the index."""

    arch: Arch
    libraries: Libraries | None

    @property
    def deb_arch(self) -> Literal["amd64", "arm64"]:
        """Debian's word for the architecture."""
        return "amd64" if self.arch == "x86_64" else "arm64"

    @property
    def target(self) -> str:
        """Folder under /usr/local/cuda-X.Y/targets."""
        return f"{self.arch}-linux"

    @property
    def multiarch(self) -> str:
        """Folder of the distribution's libraries."""
        return (
            "/usr/lib/x86_64-linux-gnu" if self.arch == "x86_64" else "/usr/lib/aarch64-linux-gnu"
        )

    def deb(
        self,
        name: str,
        version: str,
        depends: Sequence[str] = (),
        payload: Payload | None = None,
        **more: Any,  # noqa: ANN401 - the other fields of Deb
    ) -> Deb:
        """Return a package of this architecture, with the lab's note in its documentation."""
        built = Deb(name=name, version=version, arch=self.deb_arch, depends=tuple(depends))
        if payload is not None:
            built = replace(built, files=payload.files, links=payload.links)
        built = replace(built, **more)
        files = {f"/usr/share/doc/{name}/README": NOTE.encode(), **built.files}
        if any(".so" in path for path in files) and not built.triggers:
            built = replace(built, triggers="activate-noawait ldconfig")
        return replace(built, files=files, description=built.description or f"{name} (lab)")


@dataclass
class Payload:
    """Files and links of one package in the making."""

    shop: Workshop
    files: Files = field(default_factory=dict)
    links: Links = field(default_factory=dict)

    def library(
        self, folder: str, soname: str, version: str, *, text: str = "", numbers: Sequence[int] = ()
    ) -> Payload:
        """Add `folder/libx.so.<version>` and the link of its soname.

        `text` is the version as the library says it, `version` the one in its file name.
        """
        if self.shop.libraries is not None:
            real = f"{soname.split('.so')[0]}.so.{version}"
            content = self.shop.libraries.file(soname, text or version, numbers)
            self.files[f"{folder}/{real}"] = content
            if real != soname:
                self.links[f"{folder}/{soname}"] = real
        return self

    def link(self, path: str, target: str) -> Payload:
        """Add a symbolic link."""
        if self.shop.libraries is not None:
            self.links[path] = target
        return self

    def file(self, path: str, content: bytes, mode: int = 0o644) -> Payload:
        """Add a file."""
        if self.shop.libraries is not None:
            self.files[path] = (content, mode)
        return self


def parts(version: str) -> tuple[int, int, int, int]:
    """Return major, minor, patch, build of a version; missing ones are 0."""
    numbers = [int(part) for part in version.split("-")[0].split("+")[0].split(".")][:4]
    major, minor, patch, build = (numbers + [0] * 4)[:4]
    return major, minor, patch, build


def distinct(debs: Sequence[Deb]) -> list[Deb]:
    """Drop repetitions: a component may be the same in two toolkits. The first one stays."""
    found: dict[tuple[str, str, str], Deb] = {}
    for deb in debs:
        found.setdefault((deb.name, deb.version, deb.arch), deb)
    return list(found.values())


def script(when: str, *commands: str) -> str:
    """Return a maintainer script that runs `commands` when its first argument is `when`."""
    body = "".join(f"    {command}\n" for command in commands)
    return f'#!/bin/sh\nset -e\nif [ "$1" = {when} ]; then\n{body}fi\n'
