"""A lab on disk and what is known of it: its folder, its hosts, and what a caller asks for.

The folder holds what people and tools need to get to the hosts (key, known_hosts, ssh_config,
inventory.yml) and lab.json. Docker's labels say which hosts there are; the folder never decides.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cudactl.contracts.errors import UsageError
from cudactl.lab.engine import LabError
from cudactl.lab.machine import Machine

NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
"""A host's name: a DNS label of 2 to 40 characters (Docker refuses names of one)."""


@dataclass(frozen=True)
class HostRequest:
    """A host that is wished for."""

    base: str
    """Base's name, e.g. "debian-12"."""
    name: str | None = None
    """Host's name; None takes the next free one, e.g. "debian-12-1"."""


@dataclass(frozen=True)
class LabHost(Machine):
    """A disposable host."""

    name: str
    """Name in ssh_config and inventory; also its host name."""
    base: str
    """Base it was made from, e.g. "ubuntu-24.04"."""
    look_alike: str
    """What is really underneath ("Debian 13"), or empty where it is the real thing."""
    state: str
    """Docker's word: "running", "paused", "restarting", "exited"…"""
    host_key: str
    """Public SSH key that it was made with."""

    @property
    def title(self) -> str:
        """The base as every output must name it."""
        return f"{self.base} look-alike ({self.look_alike})" if self.look_alike else self.base


@dataclass(frozen=True)
class MirrorState:
    """The package mirror of a lab."""

    url: str
    """Where it is served, as the hosts reach it."""
    key_file: Path
    """Public key that its indexes are signed with."""
    fingerprint: str
    """The key's fingerprint."""
    pid: int
    """Process that serves it."""
    running: bool
    """Whether that process is alive."""


@dataclass(frozen=True)
class Lab:
    """A lab as it stands."""

    files: Folder
    hosts: tuple[LabHost, ...]
    gateway: str | None
    """This machine's address on the lab's network; None where there is no network."""
    mirror: MirrorState | None

    @property
    def folder(self) -> Path:
        """The lab's folder."""
        return self.files.path

    @property
    def inventory(self) -> Path:
        """Ansible inventory, every host in the group `lab`."""
        return self.files.inventory

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`."""
        return self.files.ssh_config

    def host(self, name: str) -> LabHost:
        """Return a host by its name."""
        for host in self.hosts:
            if host.name == name:
                return host
        names = ", ".join(host.name for host in self.hosts)
        raise UsageError(
            "LAB-UNKNOWN-HOST",
            f"the lab has no host {name!r}",
            expected=f"one of: {names}" if names else "a lab with hosts; this one has none",
            remedy="cudactl lab status shows them, cudactl lab up makes them",
        )


@dataclass(frozen=True)
class Folder:
    """A lab's folder."""

    path: Path

    @property
    def lab_id(self) -> str:
        """Eight digits that tell labs on one engine apart; they follow from the folder's path."""
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:8]

    @property
    def network(self) -> str:
        """The lab's own Docker network."""
        return f"cudactl-lab-{self.lab_id}"

    def container(self, name: str) -> str:
        """Name of a host's container."""
        return f"cudactl-lab-{self.lab_id}-{name}"

    @property
    def key(self) -> Path:
        """Private key made for the lab."""
        return self.path / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys."""
        return self.path / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`."""
        return self.path / "ssh_config"

    @property
    def inventory(self) -> Path:
        """For `-i`: every host, in the group `lab`."""
        return self.path / "inventory.yml"

    @property
    def record(self) -> Path:
        """lab.json: hosts and mirror as of the last change, for scripts."""
        return self.path / "lab.json"

    def write(self, path: Path, content: str) -> None:
        """Write a file whole or not at all."""
        handle, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(content)
        Path(temporary).replace(path)

    def read_record(self) -> dict[str, Any]:
        """Return lab.json, empty where it is not there or not readable as ours."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep a second `lab up` or `lab down` on this folder waiting."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise LabError(
                "LAB-FOLDER",
                f"the lab's folder {self.path} cannot be written: {error.strerror}",
                remedy="set CUDACTL_LAB_DIR to a folder that can",
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def clear(self) -> None:
        """Remove what the lab wrote; a file of somebody else's stays, and so does the folder."""
        for path in (self.key, self.key.with_suffix(".pub"), self.known_hosts, self.ssh_config,
                     self.inventory, self.record):  # fmt: skip
            path.unlink(missing_ok=True)

    def public_key(self) -> str:
        """Return the lab's public key; the pair is made at the first call."""
        public = self.key.with_suffix(".pub")
        if not (self.key.exists() and public.exists()):
            self.key.unlink(missing_ok=True)
            make_key(self.key, "cudactl lab")
        return public.read_text(encoding="utf-8")


def make_key(path: Path, comment: str) -> None:
    """Make an SSH key pair without a passphrase at `path` and `path`.pub."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError as error:
        raise LabError(
            "LAB-PROGRAM-MISSING",
            "ssh-keygen is not installed",
            remedy="sudo apt-get install openssh-client",
        ) from error


def lab_folder() -> Folder:
    """Return the lab's folder: $CUDACTL_LAB_DIR, or cudactl/lab in the XDG state folder."""
    chosen = os.environ.get("CUDACTL_LAB_DIR")
    if chosen:
        return Folder(Path(chosen).expanduser().resolve())
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Folder((Path(state).expanduser() / "cudactl" / "lab").resolve())


def parse_request(text: str, bases: Sequence[str]) -> HostRequest:
    """Read BASE[:NAME] as it is typed; `bases` are those that there are."""
    base, colon, name = text.partition(":")
    if base not in bases:
        raise UsageError(
            "LAB-UNKNOWN-BASE",
            f"there is no base {base!r}",
            expected=f"one of: {', '.join(bases)}",
            remedy=f"for example: cudactl lab up {bases[0]}:my-host",
        )
    if colon and not NAME.fullmatch(name):
        raise UsageError(
            "LAB-BAD-NAME",
            f"{name!r} cannot be a host's name",
            expected="2 to 40 characters: a letter, then letters, digits and hyphens, in lower "
            "case, no hyphen at the end",
        )
    return HostRequest(base, name if colon else None)
