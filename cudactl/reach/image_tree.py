"""An image's few telling files, read without ever running it.

A container is created, never started, exported and removed; of the stream only what the probe reads
is written to a temporary folder: the text of dpkg's and apt's files, the mere names of libraries.
Nothing in an image can write elsewhere: no absolute path, no "..", no device, no link is followed.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from cudactl import zipapp
from cudactl.contracts.errors import CudactlError, UnreachableError, UsageError

TIMEOUT_S = 120
LARGEST_TEXT = 64 << 20
"""Largest file that is read, bytes; dpkg's status of a full desktop has 5 MB."""
LARGEST_SUM = 1 << 30
"""Largest sum of what is read, bytes."""
MOST_NAMES = 500_000
LABEL = "cudactl.capture"
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}

_TEXT = re.compile(
    r"(?:etc|usr/lib)/os-release|var/lib/dpkg/status|var/lib/dpkg/info/[^/]+\.list"
    r"|etc/apt/sources\.list(?:\.d/[^/]+)?|(?:usr/share|etc/apt)/keyrings/[^/]+"
    r"|usr/local/cuda[^/]*/version\.json|opt/cudactl/stacks/[^/]+/manifest\.json"
)
_NAME = re.compile(
    r"usr/local/cuda[^/]*/(?:targets/[^/]+/lib|lib64)/lib[^/]+\.so[^/]*|usr/local/cuda[^/]*/bin/nvcc"
    r"|usr/local/lib(?:64)?/lib[^/]+\.so[^/]*|usr/local/nvidia/lib64/lib[^/]+\.so[^/]*"
    r"|usr/lib(?:64|/x86_64-linux-gnu|/aarch64-linux-gnu)?/lib[^/]+\.so[^/]*"
    r"|usr/bin/nvidia-(?:un)?install(?:er)?|opt/[^/]+/(?:envs/[^/]+/)?conda-meta/[^/]+\.json"
    r"|(?:usr/local/lib|usr/lib|opt/[^/]+/lib)/python3[^/]*/(?:dist|site)-packages/"
    r"[^/]+\.dist-info/METADATA"
)
_LINK = re.compile(
    r"usr/local/cuda(?:-[0-9.]+)?|etc/alternatives/cuda(?:-[0-9]+)?|opt/cudactl/active"
)


class ImageRefused(CudactlError):
    """An image that cannot be read as a machine. Exit code 3."""


def image_state(reference: str) -> dict[str, Any]:
    """Return the HostState document of an image that this machine's Docker Engine has.

    Raises:
        UsageError: IMAGE-MISSING.
        UnreachableError: IMAGE-NO-ENGINE, IMAGE-CUT-OFF.
        ImageRefused: IMAGE-NOT-LINUX, IMAGE-NO-DPKG, IMAGE-TOO-LARGE.
    """
    with tempfile.TemporaryDirectory(prefix="cudactl-image-") as temporary:
        tree = Path(temporary) / "root"
        tree.mkdir()
        machine = _export(reference, tree)
        if not (tree / "var/lib/dpkg/status").is_file():
            raise ImageRefused(
                "IMAGE-NO-DPKG",
                f"the image {reference} has no dpkg status file",
                expected="an image of Ubuntu or Debian, with its package database",
                remedy="capture the image that it was built from",
            )
        (tree / "machine").write_text(machine + "\n")
        probe = Path(temporary) / "cudactl.pyz"
        zipapp.write(probe)
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(probe), "--root", str(tree), "state"],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    document: dict[str, Any] = json.loads(done.stdout)
    return {**document, "hostname": reference}


def _export(reference: str, tree: Path) -> str:
    """Write the image's telling files below `tree`; return its processor as uname says it."""
    import docker
    import requests

    try:
        client = docker.from_env(timeout=TIMEOUT_S)
    except docker.errors.DockerException as error:
        raise _no_engine(error) from None
    with closing(client):
        try:
            image = client.images.get(reference)
            if image.attrs.get("Os") != "linux":
                raise ImageRefused(
                    "IMAGE-NOT-LINUX",
                    f"the image {reference} is for {image.attrs.get('Os') or 'nobody knows what'}",
                    expected="an image of Ubuntu or Debian",
                )
            # It is never started, so the command only has to be there.
            container = client.containers.create(
                image, command=["true"], labels={LABEL: ""}, network_disabled=True
            )
            try:
                stream: Any = container.export()  # pieces of bytes, whatever the stubs say
                extract(stream, tree)
            finally:
                container.remove(v=True, force=True)
        except docker.errors.ImageNotFound:
            raise UsageError(
                "IMAGE-MISSING",
                f"this machine's Docker Engine has no image {reference}",
                expected="an image that is here already: capture downloads nothing",
                remedy=f"docker pull {reference}",
            ) from None
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise _no_engine(error) from None
    architecture = str(image.attrs.get("Architecture"))
    return MACHINE.get(architecture, architecture)


def _no_engine(error: Exception) -> UnreachableError:
    where = os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"
    return UnreachableError(
        "IMAGE-NO-ENGINE",
        f"the Docker Engine at {where} does not do it: {error}",
        expected="a Docker Engine that this user may use",
        remedy="start it, or add yourself to the group docker",
    )


def extract(pieces: Iterable[bytes], tree: Path) -> None:
    """Write the telling files of an exported file system below `tree`.

    Args:
        pieces: A tar archive.
        tree: An empty folder.

    Raises:
        UnreachableError: IMAGE-CUT-OFF.
        ImageRefused: IMAGE-TOO-LARGE.
    """
    room, names = LARGEST_SUM, 0
    try:
        with tarfile.open(fileobj=_Pieces(iter(pieces)), mode="r|", bufsize=1 << 20) as archive:
            for member in archive:
                name = _inside(member.name)
                if name is None:
                    continue
                if member.issym() and _LINK.fullmatch(name):
                    _link(tree, name, member.linkname)
                elif member.isreg() and _TEXT.fullmatch(name):
                    room -= member.size
                    if member.size > LARGEST_TEXT or room < 0:
                        raise _too_large(name)
                    source = archive.extractfile(member)
                    _write(tree, name, source.read() if source is not None else b"")
                elif (member.isreg() or member.islnk()) and _NAME.fullmatch(name):
                    names += 1
                    if names > MOST_NAMES:
                        raise _too_large(name)
                    _write(tree, name, b"")
    except (tarfile.TarError, EOFError) as error:
        raise UnreachableError(
            "IMAGE-CUT-OFF",
            f"the image's file system ended early: {error}",
            expected="a whole archive from the Docker Engine",
            remedy="try again; see whether the engine has room and still runs",
        ) from None


def _too_large(name: str) -> ImageRefused:
    return ImageRefused(
        "IMAGE-TOO-LARGE",
        f"the image has more to read than any image should ({name})",
        expected=f"files of at most {LARGEST_TEXT >> 20} MiB, {LARGEST_SUM >> 20} MiB in all",
        remedy="look into the image: something is not what its name says",
    )


def _inside(name: str) -> str | None:
    """Return a member's path below the root; None for one that would lead out of it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if not parts or name.startswith("/") or ".." in parts else "/".join(parts)


def _write(tree: Path, name: str, content: bytes) -> None:
    path = _place(tree, name)
    if path is None:
        return
    with suppress(OSError):  # a folder of that name, or a name that is too long here
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(content)


def _link(tree: Path, name: str, target: str) -> None:
    """Keep a link as a link: the probe reads where it points, and never goes there."""
    path = _place(tree, name)
    if path is not None and not os.path.lexists(path):
        with suppress(OSError, ValueError):
            path.symlink_to(target)


def _place(tree: Path, name: str) -> Path | None:
    """Return where a file goes, its folder made; None where a link stands in the way."""
    *folders, last = name.split("/")
    here = tree
    for folder in folders:
        here = here / folder
        if here.is_symlink():
            return None
        try:
            here.mkdir(exist_ok=True)
        except OSError:
            return None
    return here / last


class _Pieces(io.RawIOBase):
    """A stream's pieces as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; empty at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = memoryview(piece)
        taken = bytes(self._left[: size if size >= 0 else len(self._left)])
        self._left = self._left[len(taken) :]
        return taken
