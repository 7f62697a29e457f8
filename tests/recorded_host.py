"""A host whose files are recorded in a folder, reached like any other through an inventory.

The probe runs for real; its interpreter is a script that adds `--root FOLDER`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

NAME = "n1"
DPKG = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22.6\n"


class RecordedHost:
    """Files below a folder, and an inventory that leads there."""

    def __init__(self, folder: Path, os: str = "ubuntu-24.04") -> None:
        self.root = folder / "root"
        self.inventory = folder / "hosts.yml"
        python = folder / "python"
        folder.mkdir(parents=True, exist_ok=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@" --root {self.root}\n')
        python.chmod(0o755)
        self.inventory.write_text(
            f"all:\n  hosts:\n    {NAME}:\n      ansible_connection: local\n"
            f"      ansible_python_interpreter: {python}\n"
        )
        name, _, version = os.partition("-")
        self.file("/etc/os-release", f'ID={name}\nVERSION_ID="{version}"\nPRETTY_NAME="{os}"\n')
        self.packages({})

    def file(self, path: str, content: str = "") -> RecordedHost:
        """Write a file."""
        where = self.root / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(content)
        return self

    def packages(self, packages: Mapping[str, str], *, held: bool = True) -> RecordedHost:
        """Say which packages are installed."""
        wish = "hold" if held else "install"
        stanzas = [
            f"Package: {name}\nStatus: {wish} ok installed\nArchitecture: amd64\nVersion: {v}\n"
            for name, v in packages.items()
        ]
        return self.file("/var/lib/dpkg/status", "\n".join([DPKG, *stanzas]))

    def source(self, url: str, key: str) -> RecordedHost:
        """Set up an apt source, trusted by a key."""
        path = "/usr/share/keyrings/mirror.asc"
        self.file(path, key)
        return self.file("/etc/apt/sources.list.d/cuda.list", f"deb [signed-by={path}] {url} /\n")

    def gpu(self, device: str) -> RecordedHost:
        """Put a GPU into the machine."""
        at = "/sys/bus/pci/devices/0000:01:00.0"
        for name, value in (("vendor", "0x10de"), ("class", "0x030200"), ("device", f"0x{device}")):
            self.file(f"{at}/{name}", value + "\n")
        return self
