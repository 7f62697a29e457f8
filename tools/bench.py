#!/usr/bin/env python3
"""`make bench`: how fast cudactl is, each figure beside its bar; exits 1 when one is missed.

tools/bench.py [start] [probe] [hosts] [fleet] [stack]     only these; without any: all of them
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import bench_fleet
import bench_hosts
import bench_probe
import bench_stack
import bench_start
from bench_figure import Figure

SUITES = {
    "start": bench_start,
    "probe": bench_probe,
    "hosts": bench_hosts,
    "fleet": bench_fleet,
    "stack": bench_stack,
}


def line(figure: Figure) -> str:
    """Return a figure as a line of the table."""
    beside = f"{figure.reference_s:8.3f} s" if figure.reference_s is not None else ""
    unit = "×" if figure.reference_s is not None else "s"
    bar = f"{figure.bar:.2f} {unit}" if figure.bar is not None else "-"
    word = "" if figure.bar is None else "MISSED" if figure.missed else "ok"
    return (
        f"{figure.what:<34} {figure.measured_s:8.3f} s  {figure.reference:<36} {beside:>10} "
        f"{figure.value:8.2f} {unit}  {bar:>7}  {word}"
    ).rstrip()


def main(wanted: list[str]) -> None:
    """Measure, print each figure as it is had, and fail when a bar is missed."""
    if unknown := sorted(set(wanted) - set(SUITES)):
        sys.exit(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    head = (
        f"{'what':<34} {'median':>10}  {'reference':<36} {'median':>10} {'figure':>10}  {'bar':>7}"
    )
    print(head, flush=True)
    missed = 0
    for name in wanted or SUITES:
        with tempfile.TemporaryDirectory(prefix="cudactl-bench-") as folder:
            for figure in SUITES[name].measure(Path(folder)):
                print(line(figure), flush=True)
                missed += figure.missed
    if missed:
        sys.exit(f"{missed} of the bars {'is' if missed == 1 else 'are'} missed")


if __name__ == "__main__":
    main(sys.argv[1:])
