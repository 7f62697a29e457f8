"""Where overlays of the catalogue lie, and in which order they are laid over it.

Standard library only, and apart from reading them (`overlays.py`): whoever only has to know that
there are none, as `gpu list` does, need not load what reads them.
"""

from __future__ import annotations

import os
from pathlib import Path

SITE = Path("/etc/cudactl/catalogue.d")


def user_folder() -> Path:
    """Return the folder of the user's own overlays."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "cudactl/catalogue.d"


def overlay_files() -> list[Path]:
    """Return the overlays of this machine and user, in the order in which they are laid over."""
    found: list[Path] = []
    for folder in (SITE, user_folder()):
        if folder.is_dir():
            files = (p for p in folder.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
            found += sorted(p for p in files if not p.name.startswith("."))
    named = os.environ.get("CUDACTL_CATALOGUE", "")
    found += [Path(part).expanduser() for part in named.split(":") if part]
    return found
