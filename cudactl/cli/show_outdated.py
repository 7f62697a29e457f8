"""How it is shown what about a lock is no longer good: worst first, alike things together."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from cudactl.contracts.base import short
from cudactl.contracts.outdated import Outdated, StaleFinding

MARKS = {"bad": "✗", "unmeasured": "?", "soft": "!", "info": "·"}
MOST = 5
"""Findings of one code that are shown in full; the rest are counted. --json has all."""


def outdated_text(found: Outdated, *, explain: bool = False) -> str:
    """Return the findings as text."""
    where = "catalogue and index" if found.index_asked else "catalogue only, no index was asked"
    lines = [f"{short(found.lock)}  on {found.day}, by {where}"]
    if not found.findings:
        lines.append("  nothing about it is out of date")
    for code in dict.fromkeys(finding.code for finding in found.findings):
        alike = [finding for finding in found.findings if finding.code == code]
        lines += ["", *_group(code, alike, explain)]
    return "\n".join(lines)


def _group(code: str, alike: Sequence[StaleFinding], explain: bool) -> list[str]:
    lines = [f"{MARKS[alike[0].level]} {code}"]
    if explain:
        from cudactl.stack.lock.outdated import EXPLANATIONS

        lines += textwrap.wrap(
            EXPLANATIONS[code], 96, initial_indent="    ", subsequent_indent="    "
        )
    for finding in alike[:MOST]:
        about = "" if finding.subject in finding.found else f"{finding.subject}: "
        lines.append(f"    {about}{finding.found}")
        if explain and finding.expected:
            lines.append(f"      expected: {finding.expected}")
        if explain and finding.source:
            lines.append(f"      source: {finding.source}")
    if len(alike) > MOST:
        lines.append(f"    and {len(alike) - MOST} more")
    remedies = dict.fromkeys(finding.remedy for finding in alike if finding.remedy)
    lines += [f"    what to do: {remedy}" for remedy in remedies]
    return lines
