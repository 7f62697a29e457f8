"""A row of the catalogue's table of XIDs: what the driver's error codes mean, by NVIDIA.

Kept apart from `facts.py`, which is about what a stack is made of. `severity` is ours, derived from
NVIDIA's action; how it is judged is in `judge/checks/health.py`.
"""

from __future__ import annotations

from typing import Literal

from cudactl.stack.facts.row import Known, Row, Unknown, Words


class Xid(Row):
    """An XID: one of the errors that the driver writes into the kernel's log."""

    code: Known
    """Number."""
    name: Known
    """NVIDIA's name in the driver's sources."""
    description: Known
    """What NVIDIA says it is; "Unused" where no driver should write it."""
    severity: Literal["none", "application", "attention", "gpu", ""]
    """Who is to act: nobody, the application, somebody who reads on, or whoever keeps the GPU (a
    reset, a restart, a hand); empty: NVIDIA names no action."""
    action: Unknown
    """NVIDIA's immediate action; empty: none is named."""
    investigation: Unknown
    """NVIDIA's action where the first did not help."""
    contested: Words
    """Columns whose sources disagree; `notes` says how."""
    notes: str
    """Remarks."""
