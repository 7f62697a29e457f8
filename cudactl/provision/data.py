"""Where playbooks and roles lie: inside an installed wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

import cudactl
from cudactl.contracts.errors import CudactlError, Exit


def data_folder(name: str) -> Path:
    """Return the folder `name` ("playbooks", "roles", "images") that travels with cudactl."""
    package = Path(cudactl.__file__).parent
    for candidate in (package / "_data" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise CudactlError(
        "DATA-MISSING",
        f"the folder {name} is not in this installation of cudactl ({package})",
        expected="it travels in the wheel",
        remedy="install cudactl again: pip install --force-reinstall cudactl",
        exit_code=Exit.INTERNAL,
    )
