"""The legs: one file each, each run as a process of its own with a deadline.

A leg is a function `measure(request, emit)`: it calls `emit` once per check, as soon as the values
are there, so that a crash later on loses nothing. It measures; it judges nothing.
"""

from __future__ import annotations

import importlib

from .. import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    Values = Dict[str, Any]
    Emit = Callable[[str, Values, Optional[str]], None]
else:
    Values = Emit = object  # names for annotations only

LEGS = (
    *("driver", "health", "toolkit", "cudnn", "tensorrt", "nvcc"),
    *("frameworks", "collectives", "containers", "energy", "ingest"),
)
"""In the order in which they run: what breaks below is told before what stands on it."""


def measure(leg: str, request: Values, emit: Emit) -> None:
    """Run one leg: its machine part, or with "gpu" in the request its part on that GPU."""
    package = __name__ + (".device" if request.get("gpu") else "")
    importlib.import_module("." + leg, package).measure(request, emit)


def libraries(request: Values) -> Dict[str, List[Any]]:
    """Return the request's libraries: name → [soname, folders]."""
    found = {}
    for name, wanted in (request.get("libraries") or {}).items():
        found[str(name)] = [str(wanted["soname"]), [str(f) for f in wanted["folders"]]]
    return found
