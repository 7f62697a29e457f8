"""frameworks without a GPU: the same work on the processor, only where the request asks for it.

It shows that the framework is sound in itself, and nothing about a GPU.
"""

from __future__ import annotations

from ..frameworks.running import measure as run
from . import Emit, Values


def measure(request: Values, emit: Emit) -> None:
    """Measure what the device part does, on the processor: {"on": "cpu", "frameworks": […]}."""
    if request.get("on") == "cpu":
        run(request, emit)
