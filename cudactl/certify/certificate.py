"""From evidence and policy to a certificate, by the judge that also travels to hosts."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from cudactl.contracts.certificate import Certificate, Policy
from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.evidence import Evidence
from cudactl.judge import JudgeError, exit_code, judge

MAX_CONTAINERS = 50_000
"""Objects and lists; a host with eight GPUs and every leg has some 5,000."""


class EvidenceError(CudactlError):
    """Evidence that cannot be judged."""

    exit_code = Exit.USAGE


def make_certificate(
    evidence: dict[str, Any], policy: Policy, host: str, now: float
) -> Certificate:
    """Return the certificate for an Evidence document.

    Raises:
        EvidenceError: EVIDENCE-UNREADABLE.
    """
    # Before anything is checked: each wrong entry would become an error of its own.
    if too_many(evidence):
        raise _unreadable(f"it holds more than {MAX_CONTAINERS} objects and lists")
    try:
        Evidence.model_validate(evidence)
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:120]
        raise _unreadable(f"{where or 'the document'}: {first['msg']}") from wrong
    try:
        # As Python's own values: an expectation may hold text that has no bytes.
        document = judge(evidence, policy.model_dump(), host, now)
        return Certificate.model_validate(document)
    except JudgeError as error:
        raise _unreadable(str(error)) from error
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:120]
        raise _unreadable(f"no certificate can be made of it ({where}: {first['msg']})") from wrong


def too_many(document: Any) -> bool:  # noqa: ANN401 - anything JSON can hold
    """Return True when a document holds more objects and lists than a host has to tell."""
    waiting, seen = [document], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        items = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        waiting += [item for item in items if isinstance(item, (dict, list))]
        if seen + len(waiting) > MAX_CONTAINERS:
            return True
    return False


def exit_of(certificate: Certificate) -> Exit:
    """Return the exit code of a certificate's verdict."""
    return Exit(exit_code(certificate.verdict))


def _unreadable(why: str) -> EvidenceError:
    return EvidenceError(
        "EVIDENCE-UNREADABLE",
        "the evidence cannot be judged: " + "".join(c if c.isprintable() else " " for c in why),
        expected="evidence as cudactl's probe writes it",
        remedy="measure again with this version of cudactl",
    )
