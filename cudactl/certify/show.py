"""A certificate as people read it: the level first, then every check with what was measured."""

from __future__ import annotations

import shutil
import textwrap
import time

import click

from cudactl.contracts.certificate import Certificate, Verdict

COLORS = {
    "PASS": "green",
    "FAIL": "red",
    "ERROR": "red",
    "WARN": "yellow",
    "SKIP": "bright_black",
    "NO_REFERENCE": "yellow",
    "WAIVED": "yellow",
}
LEVEL_COLORS = {"linkage": "green", "simulated": "magenta", "none": "red"}
MAX_WIDTH = 110


def certificate_table(certificate: Certificate) -> str:
    """Return the certificate as lines of text."""
    width = min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns)
    verdict = click.style(certificate.verdict, fg=COLORS[certificate.verdict], bold=True)
    level = click.style(
        certificate.level, fg=LEVEL_COLORS.get(certificate.level, "green"), bold=True
    )
    resolved = ", ".join(f"{k} {v}" for k, v in sorted(certificate.resolved.items()))
    lines = [
        f"Certificate for {click.style(certificate.host, bold=True)}: {verdict}, level {level}",
        *_wrapped(certificate.level_reason, width),
        f"  machine  {certificate.hostname}, {certificate.os}, kernel {certificate.kernel}",
        f"  lock     {certificate.lock_hash[:12]}: {resolved}",
        f"  driver   {certificate.driver or 'none loaded'};  GPUs: "
        f"{', '.join(certificate.gpus) or 'none'}",
    ]
    for allowed in certificate.allowed:
        lines.append(f"  allowed  {allowed['code']}: {allowed['reason']}")
    lines.append("")
    room = max(len(v.check) for v in certificate.verdicts)
    for one in certificate.verdicts:
        lines += _verdict(one, room, width)
    lines.append("")
    lines.append(
        f"  {_counts(certificate)}; {len(certificate.libraries)} vendor libraries loaded and hashed"
        + (
            f"; valid until {_day(certificate.expires)}"
            if certificate.verdict in ("PASS", "WARN")
            else ""
        )
    )
    return "\n".join(lines)


def _verdict(one: Verdict, room: int, width: int) -> list[str]:
    status = click.style(f"{one.status:<5}", fg=COLORS[one.status])
    head = f"  {status} {one.check:<{room}}  "
    indent = " " * (2 + 5 + 1 + room + 2)
    text = one.measured or "-"
    if one.status not in ("PASS", "SKIP") and one.expected:
        text += f" (expected {one.expected})"
    text += f": {one.reason}" if one.reason else ""
    wrapped = textwrap.wrap(text, max(30, width - len(indent)), break_on_hyphens=False) or [""]
    return [head + wrapped[0], *(indent + line for line in wrapped[1:])]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")


def _counts(certificate: Certificate) -> str:
    parts = []
    for status in ("PASS", "WARN", "FAIL", "ERROR", "SKIP", "NO_REFERENCE", "WAIVED"):
        count = sum(1 for v in certificate.verdicts if v.status == status)
        if count:
            parts.append(f"{count} {status}")
    return ", ".join(parts)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
