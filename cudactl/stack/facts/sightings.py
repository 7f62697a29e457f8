"""What a package index was seen to have: a version, and what its name and version state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sighting:
    """One version of one thing in one index."""

    table: str
    """Table of the catalogue it belongs into."""
    version: str
    """Version, upstream's."""
    source: str
    """Which index."""
    date: str
    """Day of that index, ISO 8601."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column → words that the index states, e.g. cuda_majors → ("13",)."""
    cells: Mapping[str, str] = field(default_factory=dict)
    """Column → cell that the index states, e.g. epoch → "1"."""
