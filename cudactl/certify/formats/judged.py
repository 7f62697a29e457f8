"""One host's outcome, as every output form gets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cudactl.contracts.certificate import Certificate, Status
from cudactl.contracts.errors import CudactlError

STATUSES: tuple[Status, ...] = ("PASS", "WARN", "FAIL", "ERROR", "SKIP", "NO_REFERENCE", "WAIVED")
MAX_LINE = 200


@dataclass(frozen=True)
class Judged:
    """One host's certificate, or the reason why there is none."""

    host: str
    """Name it was asked for under."""
    certificate: Certificate | None = None
    """The certificate."""
    error: CudactlError | None = None
    """Why there is none."""
    envelope: dict[str, Any] | None = None
    """The signed certificate, where a key signed it."""
    signed_by: str | None = None
    """Id of that key."""
    evidence: dict[str, Any] | None = field(default=None, repr=False)
    """What was measured."""


def counts(certificate: Certificate) -> dict[Status, int]:
    """Return status → number of verdicts, of those that occur."""
    found = {s: sum(v.status == s for v in certificate.verdicts) for s in STATUSES}
    return {status: count for status, count in found.items() if count}


def summary(one: Judged) -> str:
    """Return a host's outcome in one printable line of at most 200 characters."""
    if one.certificate is None:
        error = one.error
        text = f"not certified: {error.code}: {error.found}" if error else "not certified"
    else:
        certificate = one.certificate
        red = [v.check for v in certificate.verdicts if v.status in ("FAIL", "ERROR", "WARN")]
        named = ", ".join(dict.fromkeys(red))
        text = f"{certificate.verdict} at level {certificate.level}, "
        text += f"lock {certificate.lock_hash[:12]}"
        text += f": {named}" if named else ""
    return one_line(f"cudactl: {one.host}: {text}")


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """Return a text on one printable line, cut where it is longer than `limit`."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text[: 8 * limit]).split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def said(measured: str, expected: str, reason: str) -> str:
    """Return what a verdict says, as one text."""
    parts = [f"measured {measured}"] if measured else []
    parts += [f"expected {expected}"] if expected and expected != measured else []
    return "; ".join([*([reason] if reason else []), *parts])


def successful(judged: Sequence[Judged]) -> list[Judged]:
    """Return the hosts that passed."""
    return [j for j in judged if j.certificate and j.certificate.verdict in ("PASS", "WARN")]
