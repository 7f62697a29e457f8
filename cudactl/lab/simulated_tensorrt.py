"""Puts the simulated TensorRT into a folder: the Python module of 8.6, 10 or 11, and trtexec."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from cudactl.lab.gpus import CONF, SOURCES

FOLDER = SOURCES / "tensorrt_module"
VERSIONS = ("8.6.1.6", "10.13.3.9", "11.4.0.106")


def write(
    site: Path, version: str = "10.13.3.9", faults: Mapping[str, object] | None = None
) -> Path:
    """Write module, program and conf into `site`; return trtexec's path.

    Args:
        site: Folder that plays the site folder; made when it is not there.
        version: One of `VERSIONS`.
        faults: Fault → strength: "tensorrt.NAME" for the module, "trtexec.NAME" for the program.
    """
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(FOLDER / "tensorrt", site / "tensorrt", ignore=ignored)
    tool = site / "trtexec"
    shutil.copyfile(FOLDER / "trtexec.py", tool)
    tool.chmod(0o755)
    lines = [f"tensorrt.version {version}"]
    lines += [f"fault.{name} {strength}" for name, strength in (faults or {}).items()]
    (site / CONF).write_text("\n".join(lines) + "\n")
    return tool
