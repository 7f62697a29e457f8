"""Where cudactl keeps things on the controller (the XDG base directories)."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return cudactl's cache folder, made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "cudactl"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def wheel_cache() -> Path:
    """Return the folder of verified wheels."""
    folder = cache_folder() / "wheels"
    folder.mkdir(exist_ok=True)
    return folder


def data_folder() -> Path:
    """Return the folder of what cannot be fetched again, such as keys; not made here."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "cudactl"


def state_folder() -> Path:
    """Return the folder of what goes on, such as rollouts (CUDACTL_STATE_DIR); not made here."""
    if own := os.environ.get("CUDACTL_STATE_DIR"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "cudactl"
