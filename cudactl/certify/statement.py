"""A certificate as an in-toto statement: what it is about, by digest, and what is said of it.

Source of the layout: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import ValidationError

from cudactl.certify.reading import NotJson, parse_object
from cudactl.contracts.base import canonical_json
from cudactl.contracts.certificate import Certificate

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:cudactl:certificate:v1"
PAYLOAD = "application/vnd.in-toto+json"


class NotAStatement(ValueError):
    """The payload is no statement of ours."""


def statement(certificate: Certificate) -> bytes:
    """Return the statement's bytes, the same for the same certificate."""
    return canonical_json(
        {
            "_type": STATEMENT,
            "subject": subjects(certificate),
            "predicateType": PREDICATE,
            "predicate": certificate.model_dump(mode="json"),
        }
    )


def subjects(certificate: Certificate) -> list[dict[str, Any]]:
    """Return what a certificate is about: the machine, its GPUs, the lock and the evidence.

    The machine's digest is that of its machine-id (of its own name, where it has none), a GPU's
    that of its name in the certificate; the lock's and the evidence's are their own hashes.
    """
    machine = certificate.machine_id or certificate.hostname
    found = [_subject(f"host:{certificate.hostname}", _digest(machine))]
    found += [_subject(f"gpu:{gpu}", _digest(gpu)) for gpu in certificate.gpus]
    found.append(_subject(f"lock:{certificate.lock_hash[:12]}", certificate.lock_hash))
    found.append(_subject("evidence", certificate.evidence_sha256))
    return found


def certificate_of(payload: bytes) -> Certificate:
    """Return the certificate that a statement carries.

    Raises:
        NotAStatement: one sentence.
    """
    try:
        document = parse_object(payload, finite=True)
    except NotJson as error:
        raise NotAStatement(str(error)) from None
    if document.get("_type") != STATEMENT:
        raise NotAStatement("it is no in-toto statement of version 1")
    if document.get("predicateType") != PREDICATE:
        raise NotAStatement("it states something else than a cudactl certificate")
    certificate = read_certificate(document.get("predicate"))
    if document.get("subject") != subjects(certificate):
        raise NotAStatement("its subjects are not those of the certificate in it")
    return certificate


def read_certificate(document: Any) -> Certificate:  # noqa: ANN401 - anything JSON can hold
    """Return a document as a Certificate.

    Raises:
        NotAStatement: naming the place.
    """
    try:
        return Certificate.model_validate(document)
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:120]
        raise NotAStatement(f"{where or 'the certificate'}: {first['msg']}") from None
    except RecursionError:
        raise NotAStatement("it is nested too deeply") from None


def _subject(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
