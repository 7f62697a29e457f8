"""Monitoring plugins: state, a text, and performance data after a bar, on one line.

Source of the form: https://www.monitoring-plugins.org/doc/guidelines.html
"""

from __future__ import annotations

from collections.abc import Sequence

from cudactl.certify.formats.judged import STATUSES, Judged, counts, one_line, summary

WORDS = {"PASS": "OK", "WARN": "WARNING", "FAIL": "CRITICAL"}
ORDER = ("CRITICAL", "UNKNOWN", "WARNING", "OK")


def state(one: Judged) -> str:
    """Return a host's state in the plugins' words; what could not be measured is unknown."""
    return WORDS.get(one.certificate.verdict, "UNKNOWN") if one.certificate else "UNKNOWN"


def render(judged: Sequence[Judged]) -> str:
    """Return one line for the run, and one for each further host."""
    states = {state(one) for one in judged}
    worst = next((word for word in ORDER if word in states), "UNKNOWN")
    total = dict.fromkeys(STATUSES, 0)
    for one in judged:
        for status, count in (counts(one.certificate) if one.certificate else {}).items():
            total[status] += count
    # The bar begins the performance data, so none may come from a host.
    lines = [summary(one).replace("|", "/") for one in judged] or ["cudactl: no host"]
    figures = " ".join(f"{status.lower()}={count}" for status, count in total.items())
    first = one_line(f"CERTIFICATE {worst} - {lines[0]}")
    return "\n".join([f"{first} | {figures}", *lines[1:]]) + "\n"
