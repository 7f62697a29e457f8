"""How much each tier measures: one table of tier × leg × seconds.

`gate` reads the last certificate and measures nothing, so it is not here. `prolog` touches no GPU
context; the others compute, and only on GPUs that nobody uses.
"""

from __future__ import annotations

from dataclasses import dataclass

from cudactl.contracts.certificate import Tier

LINKAGE = ("driver", "health", "toolkit", "cudnn", "tensorrt", "nvcc")


@dataclass(frozen=True)
class TierPlan:
    """What a tier runs."""

    name: Tier
    """Its name."""
    budget_s: float
    """Seconds that a run may take on an idle machine, all GPUs at once."""
    legs: tuple[str, ...]
    """Legs whose machine part runs."""
    device_s: dict[str, float]
    """Leg → seconds that its part on one GPU may take, at most."""
    timed_s: float
    """Seconds of load behind each speed figure, after the warm-up."""
    memory_share: float
    """Share of a GPU's free memory that the pattern walk covers."""


TIERS: dict[Tier, TierPlan] = {
    "prolog": TierPlan("prolog", 2.0, ("driver", "health"), {}, 0.0, 0.0),
    "smoke": TierPlan(
        "smoke",
        90.0,
        (*LINKAGE, "containers"),
        {
            "driver": 25.0,
            "health": 10.0,
            "toolkit": 25.0,
            "cudnn": 15.0,
            "tensorrt": 45.0,
            "nvcc": 30.0,
            "frameworks": 40.0,
        },
        0.3,
        0.05,
    ),
    "nightly": TierPlan(
        "nightly",
        300.0,
        (*LINKAGE, "containers", "collectives", "ingest"),
        {
            "driver": 90.0,
            "health": 20.0,
            "toolkit": 60.0,
            "cudnn": 40.0,
            "tensorrt": 90.0,
            "nvcc": 30.0,
            "frameworks": 120.0,
            "energy": 30.0,
        },
        2.0,
        0.8,
    ),
    "burn-in": TierPlan(
        "burn-in",
        24 * 3600.0,
        (*LINKAGE, "containers", "collectives", "ingest"),
        {
            "driver": 7200.0,
            "health": 60.0,
            "toolkit": 7200.0,
            "cudnn": 3600.0,
            "tensorrt": 600.0,
            "nvcc": 60.0,
            "frameworks": 7200.0,
            "energy": 600.0,
        },
        60.0,
        0.95,
    ),
}
