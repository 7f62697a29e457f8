"""Evidence and policy to a certificate's content: pure, no clock, no files."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List, Optional

from .checks import CHECKS
from .checks.registry import Check, ask
from .context import Context
from .errors import JudgeError
from .levels import coverage, level_of, lowered

# Worst first; SKIP, NO_REFERENCE and WAIVED never worsen the whole.
ORDER = ("FAIL", "ERROR", "WARN", "PASS")
MAX_TEXT = 600


def judge(
    evidence: Dict[str, Any], policy: Dict[str, Any], host: str, now: float
) -> Dict[str, Any]:
    """Return the Certificate document for `evidence` under `policy`.

    Args:
        evidence: An Evidence document.
        policy: A Policy document.
        host: Name the certificate is for.
        now: Unix time of issue, seconds.

    Raises:
        JudgeError: when a document is not what it should be, or asks for an unknown check.
    """
    try:
        return _judge(evidence, policy, host, now)
    except RecursionError as error:
        raise JudgeError("the evidence is nested too deeply") from error


def _judge(
    evidence: Dict[str, Any], policy: Dict[str, Any], host: str, now: float
) -> Dict[str, Any]:
    context = Context(evidence)
    verdicts: List[Dict[str, Any]] = []
    for expectation in _expectations(policy):
        verdicts += _asked(context, expectation, policy)
    _waive(verdicts, policy, host, now)
    verdict = overall([v["status"] for v in verdicts])
    level, reason = lowered(*level_of(context, verdict, verdicts), policy)
    state = context.state
    system = state["os"]
    driver = state["module"].get("loaded")
    return {
        "schema_version": 1,
        "host": plain(host),
        "hostname": plain(state["hostname"]),
        "machine_id": _text_or_none(state.get("machine_id")),
        "os": plain("%s-%s" % (system["id"], system["version_id"]))
        + (" look-alike" if system.get("look_alike") else ""),
        "kernel": plain(state["kernel"]["running"]),
        "boot_id": _text_or_none(state.get("boot_id")),
        "driver": _text_or_none(driver),
        "gpus": [plain("%s %s" % (g["address"], g["device"])) for g in context.gpus],
        "lock_hash": str(policy["lock_hash"]),
        "resolved": dict(policy.get("resolved") or {}),
        "level": level,
        "level_reason": reason,
        "tier": str(policy.get("tier", "smoke")),
        "coverage": coverage(context),
        "verdict": verdict,
        "verdicts": verdicts,
        "libraries": context.libraries,
        "allowed": list(policy.get("allowed") or []),
        "issued": now,
        # What was measured grows old from the measurement on, however late it is judged.
        "expires": min(now, context.taken_at) + float(policy.get("valid_s", 0)),
        "evidence_sha256": _digest(evidence),
        "tool": plain(evidence.get("probe_version", "")),
    }


def _expectations(policy: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the policy's expectations, and one for every leg that must have run."""
    expectations = policy.get("expectations") if isinstance(policy, dict) else None
    if not isinstance(expectations, list) or not expectations:
        raise JudgeError("the policy expects nothing, so nothing could fail")
    if not isinstance(policy.get("lock_hash"), str):
        raise JudgeError("the policy names no lock")
    named = set()
    for expectation in expectations:
        name = expectation.get("check") if isinstance(expectation, dict) else None
        if not isinstance(name, str) or name not in CHECKS:
            raise JudgeError("the policy names a check that this judge does not know: %r" % (name,))
        if name in named:
            raise JudgeError("the policy names the check %s twice" % name)
        named.add(name)
    ran = ["%s.ran" % leg for leg in policy.get("legs") or []]
    ran += ["%s.ran_on_gpu" % leg for leg in policy.get("device_legs") or []]
    unknown = [name for name in ran if name not in CHECKS]
    if unknown:
        raise JudgeError("the policy names a leg that this judge does not know: %s" % unknown[0])
    return expectations + [{"check": name} for name in ran if name not in named]


def _asked(
    context: Context, expectation: Dict[str, Any], policy: Dict[str, Any]
) -> List[Dict[str, Any]]:
    """Return a check's verdicts: one, or one for every tested GPU."""
    declared = CHECKS[expectation["check"]]
    if not declared.per_gpu:
        return [_one(context, expectation, None)]
    references = policy.get("references") or {}
    if context.tested:
        return [_one(context.at(g, references), expectation, g["id"]) for g in context.tested]
    without = (expectation.get("expect") or {}).get("without_gpu") or policy.get("without_gpu")
    if expectation.get("skip") or (without and not context.gpus):
        skip = expectation.get("skip") or without
        return [_one(context, dict(expectation, skip=skip), None)]
    answer = _verdict(declared, "ERROR", "", "", "no GPU was tested, so nothing can be said", None)
    return [answer]


def _one(context: Context, expectation: Dict[str, Any], gpu: Optional[str]) -> Dict[str, Any]:
    declared = CHECKS[expectation["check"]]
    if expectation.get("skip"):
        return _verdict(declared, "SKIP", "", "", str(expectation["skip"]), gpu)
    return _verdict(declared, *ask(declared, context, expectation.get("expect") or {}), gpu)


def _verdict(
    declared: Check, status: str, measured: str, expected: str, reason: str, gpu: Optional[str]
) -> Dict[str, Any]:
    return {
        "check": declared.id,
        "leg": declared.leg,
        "gpu": plain(gpu) if gpu is not None else None,
        "status": status,
        "measured": plain(measured),
        "expected": plain(expected),
        "reason": plain(reason),
    }


def _waive(verdicts: List[Dict[str, Any]], policy: Dict[str, Any], host: str, now: float) -> None:
    """Mark findings that somebody answers for; what could not be measured is never waived."""
    for waiver in policy.get("waivers") or []:
        for verdict in verdicts:
            if (
                verdict["check"] != waiver.get("check")
                or verdict["status"] not in ("FAIL", "WARN")
                or waiver.get("gpu") not in (None, verdict["gpu"])
                or waiver.get("host") not in (None, host)
            ):
                continue
            if now >= float(waiver["expires"]):
                verdict["reason"] += " (the waiver of %s has expired)" % plain(waiver["owner"])
                continue
            verdict["reason"] = "waived by %s: %s; it was %s: %s" % (
                plain(waiver["owner"]),
                plain(waiver["reason"]),
                verdict["status"],
                verdict["reason"],
            )
            verdict["status"] = "WAIVED"


def plain(value: Any) -> str:  # noqa: ANN401 - evidence may hold anything
    """Return a text for people: one line, no control characters, not endless.

    Evidence comes from another machine and ends up on a terminal.
    """
    shown = str(value)[: 2 * MAX_TEXT]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else " " for c in shown)
    shown = " ".join(shown.split())
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


def _text_or_none(value: Any) -> Any:  # noqa: ANN401
    return plain(value) if isinstance(value, str) and value else None


def _digest(evidence: Dict[str, Any]) -> str:
    """Return the sha256 of the evidence's canonical JSON, as contracts.base takes it."""
    canonical = json.dumps(evidence, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return hashlib.sha256(canonical.encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise JudgeError("the evidence holds text that is no Unicode") from error


def overall(statuses: List[str]) -> str:
    """Return the verdict of the whole: its worst; nothing passed is no pass."""
    for status in ORDER:
        if status in statuses:
            return status
    return "ERROR"
