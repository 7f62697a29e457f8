"""Refusals of a wish, and how one is overridden.

A refusal says what cannot stand together and why. `--allow CODE --reason TEXT` lets those through
that are a judgement; what no package could satisfy stays refused.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import Allowance
from cudactl.contracts.verdict import SpecFinding


class StackRefused(CudactlError):
    """A wish that cannot, or should not, be locked. Exit code 3."""

    findings: tuple[SpecFinding, ...] = ()
    """Every reason, where the solver gave them."""

    @classmethod
    def because(cls, findings: Sequence[SpecFinding]) -> StackRefused:
        """Return the error that says why a wish was refused: the first reason, and the others."""
        first, *others = findings
        facts = [f"{fact.text} ({_short(fact.source)})" for fact in first.facts]
        nearest = [change.text for change in first.nearest]
        remedy = first.remedy
        if nearest:
            remedy = f"nearest that works: {'; or '.join(nearest)}. Or {remedy}"
        found = first.text
        if first.wishes:
            found = f"{found} (asked for: {', '.join(first.wishes)})"
        if others:
            found += "".join(f"\n  also {one.code}: {one.text}" for one in others)
        error = cls(first.code, found, expected="; ".join(facts), remedy=remedy)
        error.findings = tuple(findings)
        return error


def _short(source: str) -> str:
    """Return a source for an error's one line; `stack check --explain` tells it whole."""
    return textwrap.shorten(source, 90, placeholder=" …")


def check_allowances(allowed: Sequence[Allowance], allowable: Sequence[str]) -> None:
    """Refuse overrides of what cannot be overridden, or without a reason.

    Raises:
        UsageError: STACK-NOT-ALLOWABLE, STACK-REASON-MISSING.
    """
    for allowance in allowed:
        if allowance.code not in allowable:
            raise UsageError(
                "STACK-NOT-ALLOWABLE",
                f"--allow {allowance.code}: this code cannot be overridden",
                expected="one of: " + ", ".join(allowable),
                remedy="mend the spec instead",
            )
        if not allowance.reason.strip():
            raise UsageError(
                "STACK-REASON-MISSING",
                f"--allow {allowance.code} has no reason",
                expected="a reason, which every certificate will show",
                remedy="add: --reason TEXT",
            )


def listed(versions: Iterable[str], most: int = 8) -> str:
    """Return versions for a sentence, the first `most` of them."""
    every = list(dict.fromkeys(versions))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more if every else "none"
