"""How fast something runs: the GPU's own time of many runs, in several samples."""

from __future__ import annotations

import math
import time
from typing import Callable, Dict, List

from .runtime_api import Stopwatch

SAMPLES = 12
MAX_BATCH = 256
Run = Callable[[], None]


def once(watch: Stopwatch, run: Run, runs: int = 1) -> float:
    """Return the seconds of one run, by the GPU's events."""
    watch.begin()
    for _ in range(runs):
        run()
    return watch.end() / runs


def sample(watch: Stopwatch, run: Run, timed_s: float, until: float) -> List[float]:
    """Return seconds per run, one figure per sample, over about `timed_s` after a warm-up.

    Args:
        watch: Two events.
        run: Starts the work; the GPU does it by itself.
        timed_s: Seconds of load behind the figures.
        until: When to stop in any case, by time.monotonic(); one sample is taken all the same.
    """
    single = max(once(watch, run), 1e-9)
    warm = max(1, min(MAX_BATCH, int(0.3 * timed_s / single)))
    single = max(once(watch, run, warm), 1e-9)
    batch = max(1, min(MAX_BATCH, int(timed_s / SAMPLES / single)))
    rounds = SAMPLES
    if batch == MAX_BATCH:  # short runs: more samples, so that they cover the time
        rounds = max(SAMPLES, min(20 * SAMPLES, int(timed_s / (batch * single))))
    begun, found = time.monotonic(), []
    for _ in range(rounds):
        found.append(once(watch, run, batch))
        now = time.monotonic()
        # By the clock on the wall too: a GPU whose events say nothing must not hold the leg.
        if now >= until or (now - begun > 3 * timed_s and len(found) >= 3):
            break
    return found


def rates(seconds: List[float], work: float, unit: str) -> Dict[str, object]:
    """Return median, least and most rate, and how much they vary.

    Args:
        seconds: Seconds per run, of each sample.
        work: What a run does, in the unit's numerator (e.g. floating point operations / 1e12).
        unit: E.g. "tflops": the key's beginning.
    """
    if not all(one > 0 and math.isfinite(one) for one in seconds):
        return {"samples": len(seconds), unit + "_median": None}
    found = sorted(work / one for one in seconds)
    middle = len(found) // 2
    median = found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2
    mean = sum(found) / len(found)
    spread = math.sqrt(sum((one - mean) ** 2 for one in found) / len(found))
    return {
        "samples": len(found),
        unit + "_median": median,
        unit + "_least": found[0],
        unit + "_most": found[-1],
        "variation_percent": 100.0 * spread / mean,
    }
