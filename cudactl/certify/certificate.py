"""From evidence and policy to a certificate, by the judge that also travels to hosts."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from cudactl.contracts.certificate import Certificate, Policy
from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.evidence import Evidence
from cudactl.judge import JudgeError, exit_code, judge


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
    try:
        Evidence.model_validate(evidence)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _unreadable(f"{where or 'the document'}: {first['msg']}") from wrong
    try:
        document = judge(evidence, policy.model_dump(mode="json"), host, now)
    except JudgeError as error:
        raise _unreadable(str(error)) from error
    return Certificate.model_validate(document)


def exit_of(certificate: Certificate) -> Exit:
    """Return the exit code of a certificate's verdict."""
    return Exit(exit_code(certificate.verdict))


def _unreadable(why: str) -> EvidenceError:
    return EvidenceError(
        "EVIDENCE-UNREADABLE",
        f"the evidence cannot be judged: {why}",
        expected="evidence as cudactl's probe writes it",
        remedy="measure again with this version of cudactl",
    )
