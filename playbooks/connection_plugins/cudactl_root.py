"""Ansible into a mounted root: commands by chroot, files below it. The caller mounts it."""

from __future__ import annotations

import shlex
from pathlib import Path

from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = r"""
name: cudactl_root
short_description: Work inside a mounted root
description:
  - Runs every task inside a folder that holds a system which is not running, by C(chroot).
  - C(cudactl provision host --root) mounts /proc, /dev and the rest in a namespace of its own and
    keeps services from starting.
author: cudactl
options:
  root:
    description: The folder.
    type: path
    required: true
    vars:
      - name: cudactl_root
"""


class Connection(LocalConnection):  # type: ignore[misc]
    """Like the local connection, one folder further down."""

    transport = "cudactl_root"

    def _below(self, path: str) -> str:
        root = Path(str(self.get_option("root")))
        return str(root / path.lstrip("/"))

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        """Run a command inside the root."""
        words = ["chroot", str(self.get_option("root")), "/bin/sh", "-c", cmd]
        # What a script asks to know whether it is in a machine that runs.
        command = "SYSTEMD_OFFLINE=1 " + shlex.join(words)
        done: tuple[int, bytes, bytes] = super().exec_command(command, in_data, sudoable)
        return done

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file into the root."""
        super().put_file(in_path, self._below(out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file out of the root."""
        super().fetch_file(self._below(in_path), out_path)
