"""How long work on the GPU takes, by its own events: several repetitions, and their spread."""

from __future__ import annotations

import ctypes
import time
from typing import Any, Callable, Dict, List

from .driver_api import Driver

REPETITIONS = 5
LEAST_S = 0.02  # a repetition shorter than this says more of the launch than of the work
MOST_AT_ONCE = 256


class Stopwatch:
    """Two events around work on the default stream."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._begin, self._end = ctypes.c_void_p(), ctypes.c_void_p()
        for event in (self._begin, self._end):
            driver.call("cuEventCreate", ctypes.byref(event), 0)

    def seconds(self, work: Callable[[], object], times: int = 1) -> float:
        """Return the seconds that the GPU needs for `times` × `work`, which must not wait."""
        self._driver.call("cuEventRecord", self._begin, None)
        for _ in range(times):
            work()
        self._driver.call("cuEventRecord", self._end, None)
        self._driver.call("cuEventSynchronize", self._end)
        milliseconds = ctypes.c_float()
        self._driver.call("cuEventElapsedTime", ctypes.byref(milliseconds), self._begin, self._end)
        return milliseconds.value / 1000

    def rates(self, work: Callable[[], object], amount: float, timed_s: float) -> Dict[str, Any]:
        """Return the rate of `work` over repetitions: least, median, most, how many, their spread.

        Args:
            work: Starts the work once.
            amount: What one `work` moves or computes.
            timed_s: Seconds of work that the repetitions take together, by the GPU's clock and, at
                the most four times as long, by ours.
        """
        self.seconds(work)  # the first touches pages and wakes clocks
        once = max(self.seconds(work), 1e-7)
        times = max(1, min(MOST_AT_ONCE, int(LEAST_S / once)))
        self.seconds(work, times)
        until = time.monotonic() + 4 * timed_s
        spent: List[float] = []
        while len(spent) < REPETITIONS or (sum(spent) < timed_s and time.monotonic() < until):
            spent.append(max(self.seconds(work, times), 1e-9))
        found = sorted(amount * times / one for one in spent)
        mean = sum(found) / len(found)
        spread = (sum((one - mean) ** 2 for one in found) / len(found)) ** 0.5
        return {
            "least": found[0],
            "median": found[len(found) // 2],
            "most": found[-1],
            "repetitions": len(found),
            "variation": spread / mean,
            "timed_s": sum(spent),
        }
