"""From an examination to what is said: causes first, with the symptoms that they explain."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set

from ..errors import JudgeError
from .exam import Exam
from .layers import FINDINGS
from .registry import BROKEN, Finding, Seen

RANK = {"broken": 0, "risk": 1}


def diagnose(document: Dict[str, Any]) -> Dict[str, Any]:
    """Return the Diagnosis document for an Examination document.

    Raises:
        JudgeError: when it is no examination.
    """
    try:
        exam = Exam(document)
    except (AttributeError, TypeError, ValueError) as error:
        raise JudgeError("the examination is not of the right shape: %s" % error) from error
    held: Dict[str, Seen] = {}
    unclear: List[Dict[str, str]] = []
    for declared in FINDINGS:
        try:
            seen = declared.rule(exam)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            # A sign of the wrong shape is one that was not read; it must not hide the others.
            unclear.append(
                {
                    "what": declared.code,
                    "needs": "a look at this by hand",
                    "why": "the signs cannot be read (%s: %s)" % (type(error).__name__, error),
                }
            )
            continue
        if seen is not None:
            held[declared.code] = seen
    explained = {code for one in FINDINGS if one.code in held for code in one.explains}
    causes = [one for one in FINDINGS if one.code in held and one.code not in explained]
    shown = [_shown(one, held) for one in causes]
    shown.sort(key=lambda one: RANK[one["severity"]])
    return {
        "schema_version": 1,
        "hostname": str(exam.state.get("hostname")),
        "taken_at": exam.taken_at,
        "verdict": shown[0]["severity"] if shown else "ok",
        "findings": shown,
        "unread": list(exam.signs.get("unread") or []) + unclear,
        "looked_at": _looked_at(exam),
    }


def _shown(one: Finding, held: Dict[str, Seen]) -> Dict[str, Any]:
    seen = held[one.code]
    follow = _followers(one, held, set())
    worst = min([one.severity, *(f.severity for f in follow)], key=RANK.__getitem__)
    return {
        "code": one.code,
        "severity": worst,
        "cause": one.title,
        "confidence": seen.confidence,
        "seen": seen.seen,
        "where": seen.where,
        "remedy": seen.remedy,
        "considered": list(seen.considered),
        "explains": [
            {"code": f.code, "cause": f.title, "seen": held[f.code].seen[:3]} for f in follow
        ],
    }


def _followers(one: Finding, held: Dict[str, Seen], seen: Set[str]) -> List[Finding]:
    """Return the findings that follow from one, and from those, each once."""
    found = []
    for other in FINDINGS:
        if other.code in one.explains and other.code in held and other.code not in seen:
            seen.add(other.code)
            found.append(other)
            found += _followers(other, held, seen)
    return found


def _looked_at(exam: Exam) -> str:
    gpus = "%d NVIDIA GPU%s on the PCI bus" % (len(exam.gpus), "s" * (len(exam.gpus) != 1))
    driver = "driver %s loaded" % exam.loaded if exam.loaded else "no NVIDIA driver loaded"
    return "%s, %s, kernel %s" % (gpus, driver, exam.running or "unknown")


def exit_code(diagnosis: Dict[str, Any], strict: bool = False) -> int:
    """Return 3 where something is broken, otherwise 0.

    Under strict, 4 where a corner could not be looked at, 5 where there are risks.
    """
    if diagnosis["verdict"] == BROKEN:
        return 3
    if not strict:
        return 0
    if diagnosis["unread"]:
        return 4
    return 5 if diagnosis["findings"] else 0


def explain(code: str) -> Optional[Dict[str, Any]]:
    """Return what is known of a finding's code, or None where there is no such code."""
    for one in FINDINGS:
        if one.code == code.upper():
            return {
                "code": one.code,
                "severity": one.severity,
                "cause": one.title,
                "explanation": one.explanation,
                "needs": one.needs,
                "explains": list(one.explains),
            }
    return None
