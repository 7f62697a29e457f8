"""A textfile for Prometheus' node exporter: what was judged, what was measured, until when.

Source of the form: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cudactl.certify.formats.judged import STATUSES, Judged

CODES = {status: code for code, status in enumerate(STATUSES)}
MAX_MEASURES = 2000
"""Values of one host: a series each, and Prometheus keeps every one."""
SAMPLE = re.compile(
    r'^cudactl_last_success_timestamp_seconds\{host="((?:[^"\\\n]|\\.)*)"\} ([0-9.e+]+)$', re.M
)
HELP = {
    "cudactl_check_status": "How a check was judged: "
    + ", ".join(f"{code} {status}" for status, code in CODES.items())
    + ".",
    "cudactl_measure": "A measured value; its unit is the ending of the label value.",
    "cudactl_certificate_info": "The last certificate of a host.",
    "cudactl_certificate_verdict": "How the whole was judged; codes as in cudactl_check_status, "
    "3 where there is no certificate.",
    "cudactl_certificate_issued_timestamp_seconds": "When the certificate was issued.",
    "cudactl_certificate_expiry_timestamp_seconds": "Until when the certificate stands.",
    "cudactl_last_success_timestamp_seconds": "When this host was last certified with PASS or "
    "WARN.",
}
Sample = tuple[Mapping[str, str], float]


def render(judged: Sequence[Judged], earlier: str = "") -> str:
    """Return the file.

    Args:
        judged: The hosts.
        earlier: The file's content before: a host that fails now keeps its last success.
    """
    lines = []
    for name, text in HELP.items():
        samples = list(_samples(name, judged, earlier))
        if samples:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _samples(name: str, judged: Sequence[Judged], earlier: str) -> Iterator[Sample]:
    if name == "cudactl_last_success_timestamp_seconds":
        yield from _successes(judged, earlier)
        return
    for one in judged:
        certificate, host = one.certificate, {"host": one.host}
        if name == "cudactl_certificate_verdict":
            yield host, CODES[certificate.verdict] if certificate else CODES["ERROR"]
        elif certificate is None:
            continue
        elif name == "cudactl_check_status":
            for verdict in certificate.verdicts:
                labels = {"check": verdict.check, "leg": verdict.leg, "gpu": verdict.gpu or ""}
                yield {**host, **labels}, CODES[verdict.status]
        elif name == "cudactl_measure":
            yield from _measures(one)
        elif name == "cudactl_certificate_info":
            info = {
                "level": certificate.level,
                "tier": certificate.tier,
                "verdict": certificate.verdict,
                "lock": certificate.lock_hash[:12],
                "driver": certificate.driver or "",
                "signed": str(one.envelope is not None).lower(),
            }
            yield {**host, **info}, 1
        elif name == "cudactl_certificate_issued_timestamp_seconds":
            yield host, certificate.issued
        elif name == "cudactl_certificate_expiry_timestamp_seconds":
            yield host, certificate.expires


def _successes(judged: Sequence[Judged], earlier: str) -> Iterator[Sample]:
    before = {_unescaped(host): float(value) for host, value in SAMPLE.findall(earlier)}
    for one in judged:
        if one.certificate is not None and one.certificate.verdict in ("PASS", "WARN"):
            yield {"host": one.host}, one.certificate.issued
        elif one.host in before:
            yield {"host": one.host}, before[one.host]


def _measures(one: Judged) -> Iterator[Sample]:
    """Return the finite numbers that the legs measured, as many as are kept."""
    left = MAX_MEASURES
    judged = {(v.check, v.gpu) for v in one.certificate.verdicts} if one.certificate else set()
    legs: list[dict[str, Any]] = (one.evidence or {}).get("legs") or []
    for leg in legs:
        for measured in leg["measurements"]:
            if (measured["check"], leg.get("gpu")) not in judged:
                continue  # what no check asks of is nobody's series
            for key, value in measured["values"].items():
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if left and number and abs(value) < 1e300 and math.isfinite(value):
                    left -= 1
                    labels = {"check": measured["check"], "gpu": leg.get("gpu") or ""}
                    yield {"host": one.host, **labels, "value": str(key)}, value


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + inner + "}"


def _escaped(value: str) -> str:
    clean = "".join(c if c.isprintable() or c == "\n" else "�" for c in value)
    return clean.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)


def _number(value: float) -> str:
    return (
        repr(float(value)) if isinstance(value, float) and value != int(value) else str(int(value))
    )
