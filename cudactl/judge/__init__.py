"""Is it right: evidence and policy to verdicts. Standard library only, pure, Python ≥ 3.8."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List, Tuple

from .checks import CHECKS
from .context import Context, JudgeError

__all__ = ["JudgeError", "exit_code", "judge"]

# Worst first; SKIP, NO_REFERENCE and WAIVED never worsen the whole.
ORDER = ("FAIL", "ERROR", "WARN", "PASS")


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
    context = Context(evidence)
    expectations = policy.get("expectations")
    if not isinstance(expectations, list) or not expectations:
        raise JudgeError("the policy expects nothing, so nothing could fail")
    verdicts = [_one(context, expectation) for expectation in expectations]
    verdict = overall([v["status"] for v in verdicts])
    level, reason = _level(context, verdict)
    state = context.state
    system = state["os"]
    return {
        "schema_version": 1,
        "host": host,
        "hostname": str(state["hostname"]),
        "machine_id": state.get("machine_id"),
        "os": "%s-%s%s"
        % (system["id"], system["version_id"], " look-alike" if system.get("look_alike") else ""),
        "kernel": str(state["kernel"]["running"]),
        "boot_id": state.get("boot_id"),
        "driver": state["module"].get("loaded"),
        "gpus": ["%s %s" % (g["address"], g["device"]) for g in state["gpus"]],
        "lock_hash": str(policy["lock_hash"]),
        "resolved": dict(policy.get("resolved") or {}),
        "level": level,
        "level_reason": reason,
        "verdict": verdict,
        "verdicts": verdicts,
        "libraries": context.libraries,
        "allowed": list(policy.get("allowed") or []),
        "issued": now,
        "expires": now + float(policy.get("valid_s", 0)),
        "evidence_sha256": hashlib.sha256(
            json.dumps(evidence, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        ).hexdigest(),
        "tool": str(evidence.get("probe_version", "")),
    }


def _one(context: Context, expectation: Dict[str, Any]) -> Dict[str, str]:
    name = expectation.get("check")
    if name not in CHECKS:
        raise JudgeError("the policy names a check that this judge does not know: %r" % (name,))
    leg, check = CHECKS[name]
    if expectation.get("skip"):
        status, measured, expected, reason = "SKIP", "", "", str(expectation["skip"])
    else:
        try:
            status, measured, expected, reason = check(context, expectation.get("expect") or {})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # A value of the wrong shape is a value that could not be measured, never a pass.
            status, measured, expected = "ERROR", "", ""
            reason = "the measured values cannot be read (%s: %s)" % (type(error).__name__, error)
    return {
        "check": str(name),
        "leg": leg,
        "status": status,
        "measured": measured,
        "expected": expected,
        "reason": reason,
    }


def overall(statuses: List[str]) -> str:
    """Return the verdict of the whole: its worst; nothing passed is no pass."""
    for status in ORDER:
        if status in statuses:
            return status
    return "ERROR"


def _level(context: Context, verdict: str) -> Tuple[str, str]:
    gpu = (
        "no GPU was there"
        if not context.state["gpus"]
        else "the GPU was not used (no execution checks yet)"
    )
    simulated = [library for library in context.libraries if library.get("simulated")]
    if simulated:
        return "simulated", "%d of %d libraries are the lab's simulated ones, and %s" % (
            len(simulated),
            len(context.libraries),
            gpu,
        )
    if verdict in ("FAIL", "ERROR"):
        return "none", "a check did not pass, so nothing is certified"
    if not context.libraries:
        return "none", "no vendor library was loaded, so nothing was shown"
    return "linkage", "right files, right versions, they load, compile and link; %s" % gpu


def exit_code(verdict: str) -> int:
    """Return the exit code for a verdict: 0 pass (warnings too), 3 failure, 4 not measured."""
    return {"FAIL": 3, "ERROR": 4}.get(verdict, 0)
