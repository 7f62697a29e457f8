"""The lab's package mirror: NVIDIA's repositories in small, signed with the lab's own key.

`Mirror.build` writes `www/compute/cuda/repos/<distribution>/<arch>/` once and reuses it while the
universe is the same; `serve` puts it on the network. What can go wrong with a mirror is in
`situations.py`: each situation is one call and gives a mirror of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

from cudactl.contracts.errors import UsageError
from cudactl.lab import situations, universe
from cudactl.lab.serve import URL_PATH, Server, serving
from cudactl.lab.simulated.build import Libraries, sources_digest
from cudactl.lab.universe.shape import Arch
from cudactl.stack.bundle.repository import Deb, SigningKey, Stanza, write_deb, write_index

ALL = (
    *("ubuntu2404", "ubuntu2204", "debian12", "debian13", "ubuntu2604"),
    "ubuntu2404/sbsa",
)
"""Every repository; a name without architecture is x86_64."""
OWNER = "cudactl lab (simulated packages) <lab@cudactl.invalid>"


@dataclass(frozen=True)
class Mirror:
    """A folder with repositories and the key that signed them."""

    folder: Path
    key: SigningKey
    repositories: tuple[str, ...]
    """"<distribution>/<arch>" of each."""

    @classmethod
    def build(cls, folder: Path, *, repositories: Sequence[str] = ALL) -> Mirror:
        """Write the mirror into `folder`, or reuse what is there from the same universe."""
        wanted = tuple(_full_name(name) for name in repositories)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            built = folder / "mirror.json"
            digest = universe_digest(wanted)
            if built.is_file() and json.loads(built.read_text()).get("universe") == digest:
                return cls(folder, SigningKey.load(folder / "key"), wanted)
            started = time.monotonic()
            built.unlink(missing_ok=True)
            for stale in ("www", "situations"):
                shutil.rmtree(folder / stale, ignore_errors=True)
            if not (folder / "key").is_dir():
                SigningKey.create(folder / "key", OWNER)
            mirror = cls(folder, SigningKey.load(folder / "key"), wanted)
            number = mirror._write()
            about = {
                "universe": digest,
                "repositories": wanted,
                "packages": number,
                "seconds": round(time.monotonic() - started, 2),
            }
            built.write_text(json.dumps(about, indent=2) + "\n")
            return mirror

    @property
    def root(self) -> Path:
        """What is served."""
        return self.folder / "www"

    @property
    def url_path(self) -> str:
        """Where the repositories lie below the server's root."""
        return URL_PATH

    @property
    def key_file(self) -> Path:
        """The armoured public key that hosts and locks are told to trust."""
        return self.folder / "lab-key.asc"

    @property
    def fingerprint(self) -> str:
        """Full fingerprint of that key."""
        return self.key.fingerprint

    def repository(self, name: str) -> Path:
        """The folder of one repository, e.g. "ubuntu2404" or "ubuntu2404/sbsa"."""
        return self.root / URL_PATH / _full_name(name)

    def serve(self, address: str, port: int = 0) -> AbstractContextManager[Server]:
        """Serve the mirror for as long as the block runs."""
        return serving(self.root, address, port)

    def tampered_index(self, into: Path | None = None) -> Mirror:
        """A copy whose index was altered after signing."""
        return situations.tampered_index(self, self._place("tampered-index", into))

    def unsigned(self, into: Path | None = None) -> Mirror:
        """A copy without signatures."""
        return situations.unsigned(self, self._place("unsigned", into))

    def signed_by_other_key(self, into: Path | None = None) -> Mirror:
        """A copy signed by a key nobody was told to trust."""
        return situations.signed_by_other_key(self, self._place("other-key", into))

    def expired_valid_until(self, into: Path | None = None) -> Mirror:
        """A copy whose index is no longer valid."""
        return situations.expired_valid_until(self, self._place("expired", into))

    def truncated_packages(self, into: Path | None = None) -> Mirror:
        """A copy whose index ends in the middle."""
        return situations.truncated_packages(self, self._place("truncated", into))

    def missing_package(self, package: str, into: Path | None = None) -> Mirror:
        """A copy that lists a package it does not have."""
        return situations.missing_package(self, self._place("missing", into), package)

    def wrong_hash(self, package: str, into: Path | None = None) -> Mirror:
        """A copy where a package's file was altered."""
        return situations.wrong_hash(self, self._place("wrong-hash", into), package)

    def new_release(self, into: Path | None = None) -> Mirror:
        """A copy with later versions of CUDA 13.0, cuDNN, TensorRT, NCCL and the 580 driver."""
        return situations.new_release(self, self._place("new-release", into))

    def expired_pin(self, package: str, version: str, into: Path | None = None) -> Mirror:
        """A copy that no longer has that version of the package."""
        return situations.expired_pin(self, self._place("expired-pin", into), package, version)

    def huge_index(self, into: Path | None = None, size: int = situations.HUGE_BYTES) -> Mirror:
        """A copy whose index unpacks to `size` bytes."""
        return situations.huge_index(self, self._place("huge-index", into), size)

    def universe(self) -> universe.Universe:
        """The packages this mirror is made from, compiling the libraries when they are missing."""
        return universe.Universe(Libraries.build(self.folder / "libraries"), self.key.keyring)

    def _place(self, situation: str, into: Path | None) -> Path:
        """Where a situation's copy goes: `into`, or a new folder below the mirror's own."""
        if into is not None:
            return into
        (self.folder / "situations").mkdir(exist_ok=True)
        return Path(mkdtemp(prefix=f"{situation}-", dir=self.folder / "situations")) / "mirror"

    def _write(self) -> int:
        packages = self.universe()
        self.key_file.write_text(self.key.public_key)
        written: dict[int, tuple[Stanza, Path]] = {}
        total = 0
        for name in self.repositories:
            folder = self.repository(name)
            folder.mkdir(parents=True)
            distribution, arch = name.split("/")
            debs = packages.debs(distribution, cast(Arch, arch))
            stanzas = [place(deb, folder, written) for deb in debs]
            total += len(stanzas)
            write_index(folder, stanzas, key=self.key, architecture=arch)
        return total


def place(deb: Deb, folder: Path, written: dict[int, tuple[Stanza, Path]]) -> Stanza:
    """Write a package, or link the file that another repository already has.

    `written` goes by the object's identity: the universe shares equal packages and outlives it.
    """
    if id(deb) not in written:
        written[id(deb)] = (write_deb(deb, folder), folder / deb.filename)
    stanza, file = written[id(deb)]
    if file.parent != folder:
        (folder / deb.filename).hardlink_to(file)
    return stanza


def universe_digest(repositories: Sequence[str]) -> str:
    """Return a hash that changes whenever the mirror would."""
    digest = hashlib.sha256(json.dumps([sources_digest(), list(repositories)]).encode())
    here = Path(universe.__file__).parent
    writer = here.parent.parent / "stack/repository.py"
    for path in [*sorted(here.iterdir()), Path(__file__), writer]:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _full_name(name: str) -> str:
    distribution, _, arch = name.partition("/")
    arch = arch or "x86_64"
    if distribution not in universe.REPOSITORIES or arch not in ("x86_64", "sbsa"):
        raise UsageError(
            "LAB-UNKNOWN-REPOSITORY",
            f"the lab's mirror has no repository {name!r}",
            expected=", ".join(universe.REPOSITORIES) + ", each with /x86_64 or /sbsa",
            remedy="Name one of these.",
        )
    return f"{distribution}/{arch}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process build at a time; the others then find it built."""
    with (folder / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
