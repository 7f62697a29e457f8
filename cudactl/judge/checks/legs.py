"""Every leg came to its end: a crash after the last measurement is a crash too."""

from __future__ import annotations

from typing import Tuple

from ..context import ENDED, Answer, Context
from .registry import Decide, Values, check, failed, passed, unmeasured

LEGS = (
    *("driver", "health", "toolkit", "cudnn", "tensorrt", "nvcc", "collectives"),
    *("containers", "ingest"),
)
"""Legs with a machine part."""
DEVICE_LEGS: "Tuple[str, ...]" = (
    *("driver", "health", "toolkit", "cudnn"),
    *("tensorrt", "nvcc", "frameworks", "energy"),
)
"""Legs with a part on each GPU."""


def _ran(leg: str) -> Decide:
    def ran(context: Context, values: Values, expect: Values) -> Answer:
        result = context.part(leg)
        if result is None:
            return unmeasured("the leg %s did not run" % leg, "ran")
        outcome = result["outcome"]
        if outcome == "ran":
            return passed("ran", "ran", "the process ended by itself")
        reason = "the leg %s" % ENDED[outcome]
        if result.get("detail"):
            reason += ": %s" % result["detail"]
        if outcome in ("no_output", "deferred"):
            return unmeasured(reason, "ran")
        return failed(outcome, "ran", reason)

    return ran


for _leg in LEGS:
    check(_leg + ".ran", _leg, "The %s leg ended by itself, in time" % _leg)(_ran(_leg))
for _leg in DEVICE_LEGS:
    check(
        _leg + ".ran_on_gpu",
        _leg,
        "The %s leg ended by itself, in time, on the GPU" % _leg,
        per_gpu=True,
    )(_ran(_leg))
