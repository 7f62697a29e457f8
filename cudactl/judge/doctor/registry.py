"""How a finding is declared, and what a rule says when it holds."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Tuple

from .exam import Exam

BROKEN = "broken"
RISK = "risk"
CERTAIN = "certain"
LIKELY = "likely"
POSSIBLE = "possible"


class Seen(NamedTuple):
    """What a rule found."""

    seen: List[str]
    """What was seen, in words, with the values."""
    where: List[str]
    """Where in the examination (and so on the machine) it was seen."""
    remedy: List[str]
    """What to do, as commands where there are some; in this order."""
    confidence: str = CERTAIN
    """certain, likely or possible."""
    considered: Tuple[str, ...] = ()
    """What else it might be, and why that is less likely."""


Rule = Callable[[Exam], Optional[Seen]]


class Finding(NamedTuple):
    """A declared finding."""

    code: str
    severity: str
    title: str
    explanation: str
    explains: Tuple[str, ...]
    needs: str
    rule: Rule


FINDINGS: "List[Finding]" = []
"""As declared; `layers.py` brings them into order."""


def finding(
    code: str,
    title: str,
    explanation: str,
    severity: str = BROKEN,
    explains: Tuple[str, ...] = (),
    needs: str = "nothing",
) -> Callable[[Rule], Rule]:
    """Declare a finding.

    Args:
        code: Stable code, "DOCTOR-…".
        title: The likely cause in one line.
        explanation: What `--explain CODE` says: why it happens and how it was recognised.
        severity: BROKEN: something does not work now; RISK: it works and will not for long, or
            not for everybody.
        explains: Codes of findings that follow from this one, and are told with it.
        needs: Privilege that its evidence needs.
    """

    def declare(rule: Rule) -> Rule:
        if any(known.code == code for known in FINDINGS):
            raise ValueError("%s is declared twice" % code)
        FINDINGS.append(Finding(code, severity, title, explanation, explains, needs, rule))
        return rule

    return declare
