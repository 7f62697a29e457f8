"""How what the catalogue says of a wish is shown to people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import click

from cudactl.contracts.verdict import SpecFinding, SpecVerdict

COLOURS = {"ok": "green", "flagged": "yellow", "refused": "red"}
WIDTH = 96


def verdict_text(name: str, verdict: SpecVerdict, *, explain: bool = False) -> str:
    """Return a spec's verdict: one line, then each finding."""
    judged = click.style(verdict.verdict, fg=COLOURS[verdict.verdict], bold=True)
    stack = ", ".join(f"{name} {version}" for name, version in sorted(verdict.resolved.items()))
    if verdict.driver_flavour:
        stack = stack.replace("driver ", f"driver ({verdict.driver_flavour}) ", 1)
    lines = [f"{name}: {judged}" + (f"  {stack}" if stack else "")]
    for finding in verdict.findings:
        lines += finding_lines(finding, explain=explain)
    return "\n".join(lines)


def finding_lines(finding: SpecFinding, *, explain: bool = False) -> list[str]:
    """Return one finding: what, between which wishes, why, and what would work."""
    allowed = f", allowed: {finding.allowed}" if finding.allowed is not None else ""
    lines = [f"  {finding.severity} {finding.code}{allowed}"]
    lines += _wrapped(finding.text)
    if finding.severity == "note" and not explain:
        return lines
    if finding.wishes:
        lines += _wrapped("between: " + "  +  ".join(finding.wishes))
    for fact in finding.facts if explain or finding.severity == "refused" else []:
        source = fact.source if explain else textwrap.shorten(fact.source, 100, placeholder=" …")
        lines += _wrapped(f"fact: {fact.text} [{source}]")
    if finding.nearest:
        lines.append("    nearest that works:")
        lines += [f"      {change.text}" for change in finding.nearest]
    lines += _wrapped(f"what to do: {finding.remedy}")
    return lines


def name_text(name: str, os: str, findings: Sequence[SpecFinding]) -> str:
    """Return what a package name means."""
    lines = [f"{name} (on {os})"]
    for finding in findings:
        lines += finding_lines(finding, explain=True)
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="    ", subsequent_indent="      ", break_long_words=False
    )
