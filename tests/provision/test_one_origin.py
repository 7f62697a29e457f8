"""One origin for the driver: apt itself, told by a lock's pins, takes nothing from another.

Two archives offer the driver under the same names, as Ubuntu's and NVIDIA's do.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from cudactl.contracts.lock import ExternalDependency, StackLock
from cudactl.contracts.preferences import apt_preferences

STANZA = """\
Package: {name}
Version: {version}
Architecture: amd64
Maintainer: x
Filename: ./{name}.deb
Size: 1
SHA256: {digest}
Description: x

"""
UBUNTU = {
    "nvidia-open-580": "580.178.04-0ubuntu0.24.04.1",
    "nvidia-utils-535": "535.183.01-0ubuntu0.24.04.1",
    "libnvidia-common-580": "580.178.04-0ubuntu0.24.04.1",
    "nvidia-settings": "510.47.03-0ubuntu4",
    "nginx": "1.24.0-2ubuntu7",
}
NVIDIA = {
    "nvidia-open-580": "580.95.05-1ubuntu1",
    "nvidia-utils-580": "580.95.05-1ubuntu1",
    "cuda-cudart-13-0": "13.0.96-1",
}


def archive(folder: Path, origin: str, packages: dict[str, str]) -> str:
    """Write an archive and return its line of sources.list."""
    folder.mkdir()
    text = "".join(
        STANZA.format(name=n, version=v, digest=hashlib.sha256(n.encode()).hexdigest())
        for n, v in packages.items()
    ).encode()
    (folder / "Packages").write_bytes(text)
    (folder / "Release").write_text(
        f"Origin: {origin}\nDate: Tue, 24 Nov 2026 00:00:00 UTC\nSHA256:\n"
        f" {hashlib.sha256(text).hexdigest()} {len(text)} Packages\n"
    )
    return f"deb [trusted=yes] file:{folder} ./\n"


def candidates_of(tmp_path: Path, preferences: str) -> dict[str, str]:
    """Package → the version that apt would install."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("etc/apt.conf.d", "etc/sources.list.d", "etc/trusted.gpg.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "status").touch()
    sources = archive(tmp_path / "u", "Ubuntu", UBUNTU) + archive(tmp_path / "n", "NVIDIA", NVIDIA)
    (tmp_path / "etc/sources.list").write_text(sources)
    (tmp_path / "etc/preferences.d/cudactl-lock.pref").write_text(preferences)
    places = {"State": "state", "State::status": "status", "Cache": "cache", "Etc": "etc"}
    options = [f"-oDir::{key}={tmp_path / path}" for key, path in places.items()]
    options += ["-oAPT::Architecture=amd64", "-oAPT::Architectures=amd64"]
    options += ["-oAPT::Sandbox::User=root", "-oAcquire::AllowInsecureRepositories=1"]
    subprocess.run(["apt-get", *options, "update", "-qq"], check=True, capture_output=True)
    names = sorted({**UBUNTU, **NVIDIA})
    said = subprocess.run(
        ["apt-cache", *options, "policy", *names],
        check=True,
        capture_output=True,
        text=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    ).stdout
    found = {}
    for line in said.splitlines():
        if not line.startswith(" "):
            name = line.rstrip(":")
        elif line.strip().startswith("Candidate:"):
            found[name] = line.split(":", 1)[1].strip()
    return found


def test_the_driver_is_nvidias_and_nothing_of_it_the_distributions(
    apt_lock: StackLock, tmp_path: Path
) -> None:
    needed = ExternalDependency(name="libnvidia-common-580", needed_by=["nvidia-open-580"])
    lock = apt_lock.model_copy(update={"external": [needed]})
    assert candidates_of(tmp_path, apt_preferences(lock)) == {
        "nvidia-open-580": "580.95.05-1ubuntu1",
        "nvidia-utils-580": "580.95.05-1ubuntu1",
        "nvidia-utils-535": "(none)",
        # What the lock needs of the distribution, and what is no driver, is left alone.
        "libnvidia-common-580": "580.178.04-0ubuntu0.24.04.1",
        "nvidia-settings": "510.47.03-0ubuntu4",
        "nginx": "1.24.0-2ubuntu7",
        "cuda-cudart-13-0": "13.0.96-1",
    }


def test_the_driver_is_the_distributions_and_nothing_of_it_nvidias(
    apt_lock: StackLock, tmp_path: Path
) -> None:
    archive_ = apt_lock.sources[0].model_copy(update={"name": "ubuntu", "distribution": True})
    driver = apt_lock.packages[-1].model_copy(
        update={"source": "ubuntu", "version": UBUNTU["nvidia-open-580"]}
    )
    lock = apt_lock.model_copy(
        update={
            "sources": [*apt_lock.sources, archive_],
            "packages": [*apt_lock.packages[:-1], driver],
        }
    )
    found = candidates_of(tmp_path, apt_preferences(lock))
    assert found["nvidia-open-580"] == UBUNTU["nvidia-open-580"]
    assert found["nvidia-utils-580"] == "(none)"
    assert found["nvidia-utils-535"] == UBUNTU["nvidia-utils-535"]
    assert found["cuda-cudart-13-0"] == NVIDIA["cuda-cudart-13-0"]


def test_a_lock_without_a_driver_says_nothing_of_drivers(apt_lock: StackLock) -> None:
    packages = [p for p in apt_lock.packages if p.component != "driver"]
    text = apt_preferences(apt_lock.model_copy(update={"packages": packages}))
    assert "Pin-Priority: -1" not in text
