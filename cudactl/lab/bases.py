"""Base images of lab hosts: found, pulled or built on demand, and kept.

A base is a root file system (mmdebstrap from the Debian archive this machine itself uses, or an
image from a registry) on which base/Dockerfile makes a lab host. Its tag carries the hash of its
recipe, so a changed recipe is a new image. Where no registry can be reached, Ubuntu is a
look-alike: Debian's packages under Ubuntu's identity, and it says so wherever it is named.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cudactl.lab.archive import DebianArchive, machine_archive
from cudactl.lab.engine import (
    LABEL_BASE,
    LABEL_LAB,
    LABEL_LOOK_ALIKE,
    LabError,
    engine_errors,
)

if TYPE_CHECKING:
    from docker import DockerClient

RECIPE = Path(__file__).parent / "base"
# fmt: off
PACKAGES = [
    "systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "procps", "iproute2", "kmod",
    "pciutils", "ca-certificates", "gpg", "gpgv", "lsb-release", "python3", "python3-apt",
    "python3-debian",
    "build-essential",  # nvcc needs a host compiler, and NVIDIA's packages depend on this one
]
# fmt: on
PULL_TIMEOUT_S = 20
"""For a registry's first answer; without one the build from packages is at most two minutes."""


@dataclass(frozen=True)
class Base:
    """A base and where it may come from."""

    name: str
    image: str
    """Image in a registry."""
    suite: str
    """Debian suite that it is made from when the registry is not used."""
    pull_first: bool = False
    """Try the registry first, since Debian's packages are only a look-alike of it."""

    @property
    def look_alike(self) -> str:
        """What is underneath when it is made from packages; empty when that is the real thing."""
        return f"Debian {'13' if self.suite == 'trixie' else '12'}" if self.pull_first else ""


BASES = {
    base.name: base
    for base in (
        Base("debian-12", "debian:12", "bookworm"),
        Base("debian-13", "debian:13", "trixie"),
        Base("ubuntu-24.04", "ubuntu:24.04", "trixie", pull_first=True),
    )
}


@dataclass(frozen=True)
class BaseImage:
    """A base that is there to be started."""

    base: str
    tag: str
    look_alike: str
    """What is really underneath ("Debian 13"), or empty."""


def ensure(
    client: DockerClient, names: Sequence[str], *, say: Callable[[str], None]
) -> dict[str, BaseImage]:
    """Return the images of the named bases; those that are missing are made first."""
    wanted = sorted(set(names))
    images = {name: _present(client, BASES[name]) for name in wanted}
    if None in images.values():
        with _building():
            # Another lab may have made them while this one waited.
            images = {name: _present(client, BASES[name]) for name in wanted}
            absent = [BASES[name] for name in wanted if images[name] is None]
            images |= _make(client, absent, say)
    return {name: image for name, image in images.items() if image is not None}


def _make(
    client: DockerClient, absent: Sequence[Base], say: Callable[[str], None]
) -> dict[str, BaseImage]:
    archive = machine_archive()
    pulled = {base.name: base.pull_first and _pull(client, base, say) for base in absent}
    rest = sorted({base.suite for base in absent if not pulled[base.name]})
    roots = _root_file_systems(client, rest, archive, say)
    images = {}
    for base in absent:
        root = base.image if pulled[base.name] else roots.get(base.suite)
        if root is None:  # no mmdebstrap here
            if base.pull_first or not _pull(client, base, say):
                raise LabError(
                    "LAB-NO-BASE",
                    f"base {base.name} can neither be pulled nor built: no registry answers "
                    "and mmdebstrap is not installed",
                    remedy="sudo apt-get install mmdebstrap",
                )
            root = base.image
        images[base.name] = _build(client, base, root, say)
    return images


@contextmanager
def _building() -> Iterator[None]:
    """Let one lab build bases at a time; it takes every core there is anyway."""
    lock = Path(tempfile.gettempdir()) / f"cudactl-lab-bases-{os.getuid()}.lock"
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def remove_all(client: DockerClient) -> list[str]:
    """Remove every base image that no container uses; return the tags that went."""
    import docker

    removed = []
    for image in client.images.list(filters={"label": LABEL_LAB}):
        for tag in image.tags:
            try:
                client.images.remove(tag)
            except docker.errors.APIError:  # another lab's hosts run on it
                continue
            removed.append(tag)
    return removed


def recipe_hash() -> str:
    """Return twelve digits that change when what a base is made from changes."""
    digest = hashlib.sha256(" ".join(PACKAGES).encode())
    for path in _recipe_files():
        digest.update(f"\0{path.relative_to(RECIPE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _recipe_files() -> list[Path]:
    return sorted(path for path in RECIPE.rglob("*") if path.is_file())


def _tag(base: Base) -> str:
    return f"cudactl-lab/{base.name}:{recipe_hash()}"


def _present(client: DockerClient, base: Base) -> BaseImage | None:
    import docker

    try:
        image = client.images.get(_tag(base))
    except docker.errors.ImageNotFound:
        return None
    return BaseImage(base.name, _tag(base), image.labels.get(LABEL_LOOK_ALIKE, ""))


def _pull(client: DockerClient, base: Base, say: Callable[[str], None]) -> bool:
    """Return True when the registry's image is there in the end."""
    import docker
    import requests

    try:
        client.images.get(base.image)
    except docker.errors.ImageNotFound:
        pass
    else:
        return True
    say(f"{base.name}: asking the registry for {base.image}")
    asking = docker.from_env(timeout=PULL_TIMEOUT_S)
    try:
        asking.images.pull(base.image)
    except (docker.errors.DockerException, requests.RequestException):
        return False
    finally:
        asking.close()
    return True


def _root_file_systems(
    client: DockerClient, suites: list[str], archive: DebianArchive, say: Callable[[str], None]
) -> dict[str, str]:
    """Return suite → image of a root file system with all packages; empty without mmdebstrap."""
    tags = {suite: f"cudactl-lab/rootfs-{suite}:{recipe_hash()}" for suite in suites}
    ready = {suite: tag for suite, tag in tags.items() if client.images.list(name=tag)}
    missing = [suite for suite in suites if suite not in ready]
    if not missing or shutil.which("mmdebstrap") is None:
        return ready
    say(
        f"building a root file system from {archive.main} for: {', '.join(missing)} "
        "(once; a minute or two on two cores)"
    )
    with ThreadPoolExecutor(len(missing)) as pool:
        list(
            pool.map(
                lambda suite: _root_file_system(client, suite, tags[suite], archive, say), missing
            )
        )
    return tags


def _root_file_system(
    client: DockerClient,
    suite: str,
    tag: str,
    archive: DebianArchive,
    say: Callable[[str], None],
) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cudactl-lab-") as folder:
        root = Path(folder) / "rootfs.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        command += ['--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"]
        command += [
            f"--dpkgopt=path-exclude=/usr/share/{unread}/*" for unread in ("man", "doc", "locale")
        ]
        ran = subprocess.run(
            [*command, suite, str(root), *archive.lines(suite)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise LabError(
                "LAB-BASE-BUILD",
                f"mmdebstrap could not make {suite}: {ran.stderr.strip()[-1500:]}",
                remedy=f"see that {archive.main} can be reached, then run it again",
            )
        with engine_errors(f"importing {suite}"):
            client.api.import_image_from_file(
                str(root), repository=tag.partition(":")[0], tag=tag.partition(":")[2],
                changes=[f"LABEL {LABEL_LAB}="],
            )  # fmt: skip
    say(f"{suite}: root file system ready after {time.monotonic() - started:.0f} s")


def _build(client: DockerClient, base: Base, root: str, say: Callable[[str], None]) -> BaseImage:
    import docker

    pulled = root == base.image
    look_alike = "" if pulled else base.look_alike
    if look_alike:
        say(f"{base.name}: no registry, so a look-alike with {look_alike}'s packages underneath")
    if pulled:
        say(f"{base.name}: installing systemd, sshd and a compiler on {root} (once; a minute)")
    started = time.monotonic()
    with engine_errors(f"building {base.name}"):
        try:
            client.images.build(
                fileobj=_context(),
                custom_context=True,
                tag=_tag(base),
                rm=True,
                forcerm=True,
                buildargs={
                    "ROOTFS": root,
                    "PACKAGES": " ".join(PACKAGES),
                    "IDENTITY": base.name if look_alike else "",
                },
                labels={LABEL_LAB: "", LABEL_BASE: base.name, LABEL_LOOK_ALIKE: look_alike},
            )
        except docker.errors.BuildError as error:
            last = [str(line.get("stream", "")).strip() for line in error.build_log]
            raise LabError(
                "LAB-BASE-BUILD",
                f"base {base.name} could not be built: {error.msg}: {' / '.join(last[-5:])}",
                remedy="cudactl lab down --images, then up again",
            ) from error
    say(f"{base.name}: base image ready after {time.monotonic() - started:.0f} s")
    return BaseImage(base.name, _tag(base), look_alike)


def _context() -> io.BytesIO:
    """Return the recipe as the tar that the engine builds from."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in _recipe_files():
            tar.add(path, arcname=str(path.relative_to(RECIPE)))
    out.seek(0)
    return out
