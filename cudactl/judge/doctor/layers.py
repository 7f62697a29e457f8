"""Every finding, layer by layer: what lies below is asked and told first.

The order of this list is the order of what `doctor` says, so it is written down here and not left
to imports.
"""

from __future__ import annotations

from . import (
    containers,
    driver_answers,
    fabric,
    faults,
    hardware,
    loader,
    machine,
    module,
    nodes,
    packages,
    platform,
    upkeep,
    versions,
)
from .registry import FINDINGS as DECLARED

LAYERS = (
    *(platform, machine, hardware, faults, module, versions, packages),
    *(nodes, fabric, loader, containers, upkeep, driver_answers),
)
_RANK = {layer.__name__: number for number, layer in enumerate(LAYERS)}
# Within a layer they stay as they are declared: sorting is stable.
FINDINGS = sorted(DECLARED, key=lambda one: _RANK[one.rule.__module__])
