"""What a lock wants on a host, as file contents: apt source, key, preferences, environment.

Pure: the same lock gives the same bytes, so a plan can compare hashes with what the probe found.
Every file is named cudactl-*, the only names cudactl owns on a host.
"""

from __future__ import annotations

import hashlib
import re

from cudactl.contracts.base import Contract
from cudactl.contracts.lock import LockSource, StackLock
from cudactl.contracts.preferences import GENERATED, apt_packages, apt_preferences

# Libraries and tools that a login shell should find; nothing is put into LD_LIBRARY_PATH, because
# the packages register their folders with ldconfig.
STACKS = "/opt/cudactl/stacks"
# NVIDIA's folder names for the architectures.
TARGET_FOLDER = {"x86_64": "x86_64-linux", "sbsa": "sbsa-linux"}


class DesiredFile(Contract):
    """One file as it should be."""

    path: str
    """Absolute path."""
    content: str
    """Its text."""
    mode: str = "0644"
    """Permissions, octal."""

    @property
    def sha256(self) -> str:
        """sha256 of the content, to compare with the probe's."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def key_path(source: LockSource) -> str:
    """Return where the source's public key lies on a host."""
    return f"/usr/share/keyrings/cudactl-{source.name}.asc"


def repository_files(lock: StackLock) -> list[DesiredFile]:
    """Return key, deb822 source and preferences for every apt source of the lock."""
    files: list[DesiredFile] = []
    for source in lock.sources:
        if source.kind != "apt":
            continue
        head = GENERATED.format(lock=lock.short_hash)
        files.append(DesiredFile(path=key_path(source), content=source.signing_key or ""))
        files.append(
            DesiredFile(
                path=f"/etc/apt/sources.list.d/cudactl-{source.name}.sources",
                content=head
                + "Types: deb\n"
                + f"URIs: {source.url}\n"
                + "Suites: ./\n"
                + f"Architectures: {deb_architecture(lock)}\n"
                + f"Signed-By: {key_path(source)}\n",
            )
        )
    pins = apt_preferences(lock)
    if pins:
        files.append(DesiredFile(path="/etc/apt/preferences.d/cudactl-lock.pref", content=pins))
    return files


def environment_files(lock: StackLock) -> list[DesiredFile]:
    """Return the login-shell environment for an apt toolkit."""
    cuda = lock.resolved.get("cuda")
    if cuda is None or lock.target.packages != "apt":
        return []
    home = cuda_home(cuda)
    return [
        DesiredFile(
            path="/etc/profile.d/cudactl-cuda.sh",
            content=GENERATED.format(lock=lock.short_hash)
            + f"export CUDA_HOME={home}\n"
            + f'case ":$PATH:" in *":{home}/bin:"*) ;; *) export PATH="{home}/bin:$PATH" ;; esac\n',
        )
    ]


def protection_files(lock: StackLock) -> list[DesiredFile]:
    """Return the apt configuration that keeps unattended-upgrades off exactly the closure.

    The list holds anchored regular expressions, which is what unattended-upgrades matches names
    with; everything outside the closure keeps getting its security updates.
    """
    names = [p.name for p in apt_packages(lock)]
    if not names:
        return []
    # A character class instead of a backslash, which apt.conf would read for itself.
    patterns = [re.sub(r"([.+])", r"[\1]", name) for name in names]
    lines = "".join(f'        "^{pattern}$";\n' for pattern in patterns)
    return [
        DesiredFile(
            path="/etc/apt/apt.conf.d/cudactl-protection.conf",
            content=GENERATED.format(lock=lock.short_hash).replace("#", "//", 1)
            + "Unattended-Upgrade::Package-Blacklist {\n"
            + lines
            + "};\n",
        )
    ]


def stack_folder(lock: StackLock) -> str:
    """Return the folder of a wheel stack on the host."""
    return f"{STACKS}/{lock.short_hash}"


def cuda_home(cuda: str) -> str:
    """Return the toolkit's folder: "13.0.2" → "/usr/local/cuda-13.0"."""
    return "/usr/local/cuda-" + ".".join(cuda.split(".")[:2])


def deb_architecture(lock: StackLock) -> str:
    """Return dpkg's name of the lock's architecture."""
    return {"x86_64": "amd64", "sbsa": "arm64"}[lock.target.arch]
