"""What `make bench` measures with: figures, and how one is taken beside its reference.

Machines are noisy, so a figure and its reference are measured in turn (A B A B …) and the median of
the pairwise ratios is held against the bar.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
Measure = Callable[[], float]


@dataclass(frozen=True)
class Figure:
    """One figure: seconds, or the ratio to a reference measured in turn."""

    what: str
    measured_s: float
    reference: str
    reference_s: float | None
    value: float
    bar: float | None
    """None: good to know, and nothing is promised."""

    @property
    def missed(self) -> bool:
        """Whether the bar is missed."""
        return self.bar is not None and self.value > self.bar


def run(command: list[str], *, cpu: bool = False, check: bool = True) -> float:
    """Return the wall (or user and system) seconds of a command; a failure ends the bench."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return used if cpu else wall


def paired(
    what: str, mine: Measure, reference: str, other: Measure, bar: float, runs: int
) -> Figure:
    """Measure both in turn and return the median of the pairwise ratios."""
    mine(), other()  # once each, not counted: caches, connections, page cache
    pairs = [(mine(), other()) for _ in range(runs)]
    return Figure(
        what,
        statistics.median(a for a, _ in pairs),
        reference,
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
        bar,
    )


def absolute(what: str, mine: Measure, bar: float | None, runs: int) -> Figure:
    """Measure against a limit in seconds."""
    mine()
    seconds = statistics.median(mine() for _ in range(runs))
    return Figure(what, seconds, "", None, seconds, bar)
