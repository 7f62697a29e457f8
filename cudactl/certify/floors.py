"""Speed floors: the share of a GPU's data sheet that must be reached, each with its source.

A floor outside of 0.4 to 1.0 is a slip of the pen (DCGM 4.6.0 ships memory bandwidths of 0.05 %,
5.7 % and 8.8 % of the data sheet, with which nothing can fail), so a test keeps them inside.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST, MOST = 0.4, 1.0
"""No floor lies outside of these shares."""


@dataclass(frozen=True)
class Floor:
    """One floor."""

    check: str
    """Check id."""
    share: float
    """Share of the reference that must be reached."""
    source: str
    """Why this share."""
    kind: str = ""
    """Which rate of the check, e.g. "bf16", where it has several."""


FLOORS: tuple[Floor, ...] = (
    Floor(
        "driver.bandwidth",
        0.60,
        "research: the kernels behind DCGM 4.6.0's thresholds reach 0.61 (H200 NVL) to 0.90 (V100)"
        " of the data sheet; nothing healthy lies below",
    ),
)


def floor(check: str, kind: str = "") -> Floor:
    """Return a check's floor; raises KeyError when none is declared."""
    for row in FLOORS:
        if (row.check, row.kind) == (check, kind):
            return row
    raise KeyError(f"no floor is declared for {check} {kind}".rstrip())
