"""A real apt with folders of its own, which sees only the lab's mirror."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from cudactl.lab.mirror import Mirror

EXTERNAL = {"build-essential", "dkms", "python3"}
"""What the mirror expects from the distribution."""


class Apt:
    """apt with folders of its own: it sees only the mirror, and a few names from outside."""

    def __init__(self, root: Path, mirror: Mirror, repository: str, url: str = "") -> None:
        for folder in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
            (root / folder).mkdir(parents=True)
        stanza = "Package: {}\nStatus: install ok installed\nVersion: 99\nArchitecture: all\n"
        stanza += "Maintainer: none\nDescription: none\n\n"
        (root / "status").write_text("".join(stanza.format(name) for name in sorted(EXTERNAL)))
        shutil.copyfile(mirror.key_file, root / "key.asc")
        address = f"{url}/{repository}/x86_64" if url else f"file://{mirror.repository(repository)}"
        (root / "list").write_text(f"deb [signed-by={root}/key.asc] {address} /\n")
        self.root = root
        options = {
            "Dir::State": root / "state",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "Dir::Etc": root / "etc",
            "Dir::Etc::SourceList": root / "list",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Check-Date": "true",
            "Acquire::Check-Valid-Until": "true",
            "Acquire::http::Proxy": "DIRECT",
        }
        self._options = [part for k, v in options.items() for part in ("-o", f"{k}={v}")]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["apt-get", *self._options, *command], capture_output=True, text=True, check=False
        )

    def updated(self) -> Apt:
        done = self.run("update")
        assert done.returncode == 0, done.stderr
        return self

    def installs(self, *wishes: str) -> dict[str, str]:
        """What a simulated installation comes to: package → version."""
        done = self.run("-s", "install", *wishes)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith("Inst ")]
        return {words[1]: words[2].lstrip("(") for words in lines}

    def refuses(self, *wishes: str) -> str:
        """Why a simulated installation fails."""
        done = self.run("-s", "install", *wishes)
        assert done.returncode == 100, done.stdout
        return done.stdout + done.stderr
