"""Versions as numbers: comparing, prefixes by dotted component, the nearest that exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=16384)
def numbers(version: str) -> tuple[int, ...]:
    """Return a version's leading dotted numbers, for comparing: "580.95.05" → (580, 95, 5)."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def admits(prefix: str, version: str) -> bool:
    """Return True when `prefix` covers `version` by dotted component: "10.1" is not 10.13."""
    wanted = numbers(prefix)
    return numbers(version)[: len(wanted)] == wanted


def nearest(wanted: str, versions: Iterable[str], count: int = 3) -> list[str]:
    """Return the versions nearest to one that does not exist, for a remedy; nearest first."""
    goal = numbers(wanted)

    def distance(version: str) -> tuple[int, ...]:
        padded = (*numbers(version), 0, 0, 0, 0)
        return tuple(abs(a - b) for a, b in zip(goal, padded, strict=False))

    return sorted(dict.fromkeys(versions), key=distance)[:count]
