"""A diagnosis as text: the cause, what was seen, what to do. The same from zipapp and cudactl."""

from __future__ import annotations

import textwrap
from typing import Any, Dict, List

WIDTH = 100
LABEL = 12
VERDICTS = {
    "ok": "nothing was found to be wrong",
    "risk": "it works; what may become a problem:",
    "broken": "something does not work:",
}


def diagnosis_text(name: str, diagnosis: Dict[str, Any]) -> str:
    """Return a diagnosis as lines of text."""
    lines = ["%s: %s" % (name, VERDICTS[diagnosis["verdict"]])]
    lines.append("  " + diagnosis["looked_at"])
    for number, one in enumerate(diagnosis["findings"], 1):
        lines += ["", *_finding(number, one)]
    if diagnosis["unread"]:
        lines += ["", "Not looked at:"]
        for one in diagnosis["unread"]:
            lines += _wrapped("  ", "%s (%s): needs %s" % (one["what"], one["why"], one["needs"]))
    if any(one["confidence"] != "certain" for one in diagnosis["findings"]):
        lines += ["", "More about a finding: cudactl doctor --explain CODE"]
    return "\n".join(lines)


def _finding(number: int, one: Dict[str, Any]) -> List[str]:
    head = "%d. %s" % (number, one["cause"])
    lines = _wrapped("", head, "   ")
    lines.append("   %s, %s, %s" % (one["code"], one["severity"], one["confidence"]))
    lines += _listed("seen", one["seen"])
    lines += _listed("where", [", ".join(one["where"])])
    # Commands are to be copied: they are never wrapped.
    for index, text in enumerate(one["remedy"]):
        lines.append("   %-*s%s" % (LABEL, "what to do" if index == 0 else "", text))
    lines += _listed("or it is", one["considered"])
    if one["explains"]:
        lines += _listed("from it", ["%s (%s)" % (f["cause"], f["code"]) for f in one["explains"]])
    return lines


def _listed(label: str, texts: List[str]) -> List[str]:
    lines: List[str] = []
    for index, text in enumerate(texts):
        head = "   %-*s" % (LABEL, label if index == 0 else "")
        lines += _wrapped(head, text, " " * (3 + LABEL + 2))
    return lines


def _wrapped(head: str, text: str, after: str = "    ") -> List[str]:
    return textwrap.wrap(
        _printable(text),
        WIDTH,
        initial_indent=head,
        subsequent_indent=after,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head]


def _printable(text: str) -> str:
    """Logs may hold anything; a terminal gets only what is to be read."""
    return "".join(c if c.isprintable() else " " for c in text)


def explanation_text(told: Dict[str, Any]) -> str:
    """Return what `--explain` says."""
    lines = ["%s (%s): %s" % (told["code"], told["severity"], told["cause"]), ""]
    lines += textwrap.wrap(told["explanation"], WIDTH)
    lines += ["", "needs: " + told["needs"]]
    if told["explains"]:
        lines += _wrapped("", "explains: " + ", ".join(told["explains"]), "  ")
    return "\n".join(lines)
