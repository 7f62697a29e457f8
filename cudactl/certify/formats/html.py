"""One HTML page: no script, no outside file, light and dark, and readable on paper."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence

from cudactl.certify.formats.html_style import STYLE
from cudactl.certify.formats.judged import STATUSES, Judged, counts
from cudactl.contracts.certificate import Certificate

# Red first: whoever opens the page wants to know what is wrong.
ORDER = ("FAIL", "ERROR", "WARN", "WAIVED", "NO_REFERENCE", "PASS", "SKIP")
LEGEND = {
    "PASS": "shown by a measured value",
    "WARN": "shown, with a reservation",
    "FAIL": "measured, and not what it should be",
    "ERROR": "could not be measured",
    "SKIP": "declared not to apply, or left out",
    "NO_REFERENCE": "measured, not judged: nothing is known to hold it against",
    "WAIVED": "a known finding that somebody answers for",
}
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(judged: Sequence[Judged]) -> str:
    """Return the page."""
    title = f"Certificate of {judged[0].host}" if len(judged) == 1 else "Certificates"
    body = [_overview(judged)] if len(judged) > 1 else []
    body += [_host(one, number) for number, one in enumerate(judged)]
    statuses = {v.status for j in judged if j.certificate for v in j.certificate.verdicts}
    legend = "".join(
        f"<li>{_badge(status)} {LEGEND[status]}</li>" for status in STATUSES if status in statuses
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        # Nothing that a host said can run or load anything, even if it got past the escaping.
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + f'\n<footer><ul class="legend">{legend}</ul></footer>\n</main>\n</body>\n</html>\n'
    )


def _overview(judged: Sequence[Judged]) -> str:
    rows = []
    for number, one in enumerate(judged):
        name = f'<a href="#host-{number}">{_text(one.host)}</a>'
        certificate = one.certificate
        if certificate is None:
            found = one.error.found if one.error is not None else "there is no certificate"
            rows.append((_badge("ERROR"), name, "none", _text(found)))
            continue
        red = [v.check for v in certificate.verdicts if v.status in ("FAIL", "ERROR", "WARN")]
        rows.append(
            (
                _badge(certificate.verdict),
                name,
                _level(certificate, certificate.level),
                _text(", ".join(dict.fromkeys(red))),
            )
        )
    table = _table(("", "Host", "Level", "What is wrong"), rows, "overview")
    return f"<h1>Certificates of {len(judged)} hosts</h1>\n{table}"


def _host(one: Judged, number: int) -> str:
    certificate = one.certificate
    if certificate is None:
        error = one.error
        code = error.code if error is not None else "NOT-CERTIFIED"
        found = error.found if error is not None else "there is no certificate"
        remedy = f"<p>What to do: {_text(error.remedy)}</p>" if error and error.remedy else ""
        return (
            f'<section id="host-{number}"><header><h2>{_text(one.host)}</h2>{_badge("ERROR")}'
            f"</header><p><code>{_text(code)}</code> {_text(found)}</p>{remedy}</section>"
        )
    tally = " · ".join(f"{count} {status}" for status, count in counts(certificate).items())
    return (
        f'<section id="host-{number}">\n<header><h2>{_text(one.host)}</h2>'
        f"{_badge(certificate.verdict)}{_level(certificate, f'level {certificate.level}')}"
        "</header>\n"
        f'<p class="why">{_text(certificate.level_reason)}</p>\n{_facts(one, certificate)}\n'
        f"<h3>Checks</h3><p>{tally}</p>\n{_verdicts(certificate)}\n{_libraries(certificate)}"
        "</section>"
    )


def _facts(one: Judged, certificate: Certificate) -> str:
    allowed = [f"{a.get('code', '')}: {a.get('reason', '')}" for a in certificate.allowed]
    facts: dict[str, Iterable[str]] = {
        "Machine": [certificate.hostname, certificate.os, f"kernel {certificate.kernel}"],
        "GPUs": certificate.gpus or ["none"],
        "Driver": [certificate.driver or "none loaded"],
        "Lock": [certificate.lock_hash[:12]],
        "Stack": [f"{name} {version}" for name, version in sorted(certificate.resolved.items())],
        "Allowed": allowed,
        "Reached": [_reached(gpu, c) for gpu, c in certificate.coverage.items()],
        "Tier": [certificate.tier],
        "Issued": [_moment(certificate.issued)],
        "Stands until": [_moment(certificate.expires)]
        if certificate.verdict in ("PASS", "WARN")
        else ["it does not stand"],
        "Signed by": [one.signed_by[:12] if one.signed_by else "nobody"],
        "Evidence": [certificate.evidence_sha256],
    }
    rows = "".join(
        f"<dt>{name}</dt><dd>{_text(', '.join(values))}</dd>"
        for name, values in facts.items()
        if values
    )
    return f"<dl>{rows}</dl>"


def _reached(gpu: str, reached: object) -> str:
    if not isinstance(reached, dict):
        return gpu
    return gpu + ": " + ", ".join(f"{key} {value}" for key, value in sorted(reached.items()))


def _verdicts(certificate: Certificate) -> str:
    ordered = sorted(certificate.verdicts, key=lambda v: ORDER.index(v.status))
    rows = [
        (
            _badge(v.status),
            f"<code>{_text(v.check)}</code>" + (f"<br>{_text(v.gpu)}" if v.gpu else ""),
            _text(v.measured),
            _text(v.expected),
            _text(v.reason),
        )
        for v in ordered
    ]
    return _table(("", "Check", "Measured", "Expected", "Why"), rows, "checks")


def _libraries(certificate: Certificate) -> str:
    if not certificate.libraries:
        return ""
    rows = []
    for library in certificate.libraries:
        kind = " (simulated)" if library.get("simulated") else ""
        rows.append(
            (
                f"<code>{_text(library.get('path') or '')}</code>{kind}",
                _text(library.get("package") or "nobody"),
                f"<code>{_text(str(library.get('sha256') or '')[:16])}</code>",
            )
        )
    head = f"<h3>Libraries that were loaded</h3><p>{len(rows)}, read back from memory maps</p>"
    return head + _table(("File", "Belongs to", "sha256"), rows, "libraries")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str) -> str:
    cells = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<table class="{kind}"><thead><tr>{cells}</tr></thead><tbody>\n{body}</tbody></table>'


def _badge(status: str) -> str:
    return f'<span class="badge {_text(status.lower())}">{_text(status.replace("_", " "))}</span>'


def _level(certificate: Certificate, text: str) -> str:
    return f'<span class="level level-{_text(certificate.level)}">{_text(text)}</span>'


def _moment(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "never"


def _text(value: object) -> str:
    """Return a text in which nothing has a meaning for a browser, nor for the reading order."""
    shown = "".join(c if c.isprintable() else "�" for c in str(value))
    return html.escape(shown, quote=True)
