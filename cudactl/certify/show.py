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
GPU_DIGITS = 12  # "GPU-" and as many digits as tell a host's GPUs apart


def certificate_table(certificate: Certificate) -> str:
    """Return the certificate as lines of text."""
    width = min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns)
    verdict = click.style(certificate.verdict, fg=COLORS[certificate.verdict], bold=True)
    level = click.style(
        certificate.level, fg=LEVEL_COLORS.get(certificate.level, "green"), bold=True
    )
    resolved = ", ".join(f"{k} {v}" for k, v in sorted(certificate.resolved.items()))
    host = click.style(_plain(certificate.host), bold=True)
    machine = f"{certificate.hostname}, {certificate.os}, kernel {certificate.kernel}"
    gpus = ", ".join(certificate.gpus) or "none"
    lines = [
        f"Certificate for {host}: {verdict}, level {level}",
        *_wrapped(_plain(certificate.level_reason), width),
        _plain(f"  machine  {machine}"),
        _plain(f"  lock     {certificate.lock_hash[:12]}: {resolved}"),
        _plain(f"  driver   {certificate.driver or 'none loaded'};  GPUs: {gpus}"),
    ]
    for allowed in certificate.allowed:
        lines.append(_plain(f"  allowed  {allowed.get('code')}: {allowed.get('reason')}"))
    lines += [_plain(f"  reached  {text}") for text in _reached(certificate)]
    lines.append("")
    several = len({v.gpu for v in certificate.verdicts} - {None}) > 1
    room = max((len(v.check) for v in certificate.verdicts), default=0)
    for one in certificate.verdicts:
        lines += _verdict(one, room, width, several=several)
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


def _verdict(one: Verdict, room: int, width: int, *, several: bool) -> list[str]:
    status = click.style(f"{one.status:<5}", fg=COLORS[one.status])
    head = f"  {status} {_plain(one.check):<{room}}  "
    indent = " " * (2 + 5 + 1 + room + 2)
    text = f"{one.gpu[:GPU_DIGITS]}: " if several and one.gpu else ""
    text += one.measured or "-"
    if one.status not in ("PASS", "SKIP") and one.expected:
        text += f" (expected {one.expected})"
    text += f": {one.reason}" if one.reason else ""
    wrapped = textwrap.wrap(_plain(text), max(30, width - len(indent)), break_on_hyphens=False) or [
        ""
    ]
    return [head + wrapped[0], *(indent + line for line in wrapped[1:])]


def _reached(certificate: Certificate) -> list[str]:
    """Return, by GPU, how much of it was reached."""
    found = []
    for gpu, reached in certificate.coverage.items():
        one = reached if isinstance(reached, dict) else {}
        parts = []
        if "sms_visited" in one:
            parts.append(f"{one['sms_visited']} of {one.get('sm_count', '?')} SMs")
        if "checked_bytes" in one and one.get("total_bytes"):
            share = 100 * one["checked_bytes"] / one["total_bytes"]
            parts.append(f"{share:.0f} % of its memory")
        if parts:
            found.append(f"{gpu}: {', '.join(parts)}")
    return found


def _plain(text: str) -> str:
    """Return a text that cannot move the reader's cursor, whoever wrote the certificate."""
    return "".join(c if c.isprintable() else " " for c in text)


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
