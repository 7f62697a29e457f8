"""What building the wheel adds: the catalogue compiled into one file, which costs nothing to load.

In a checkout, and in an editable installation of one, the CSV files are read: nothing goes stale.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledCatalogue(BuildHookInterface):
    """Put cudactl/_data/catalogue.json into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the tables; `version` is "editable" where a checkout is only pointed to."""
        if version == "editable":
            return
        package = Path(self.root) / "cudactl"
        # By its path: cudactl itself is not installed while it is built, nor is what it needs.
        spec = importlib.util.spec_from_file_location("shipped", package / "stack/facts/shipped.py")
        assert spec is not None
        assert spec.loader is not None
        shipped = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(shipped)
        self.folder = tempfile.TemporaryDirectory()
        compiled = Path(self.folder.name) / "catalogue.json"
        compiled.write_text(shipped.compiled(package / "catalogue"), encoding="utf-8")
        build_data["force_include"][str(compiled)] = "cudactl/_data/catalogue.json"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled."""
        if version != "editable":
            self.folder.cleanup()
