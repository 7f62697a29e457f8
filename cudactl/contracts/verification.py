"""Verification: what `certify verify` says of one certificate file, and CertifiedHost, what
`certify host --json` says of one host."""

from __future__ import annotations

from pydantic import Field

from cudactl.contracts.base import Contract
from cudactl.contracts.certificate import Certificate


class Finding(Contract):
    """One reason why a certificate does not stand."""

    code: str
    """Stable code, e.g. "CERTIFICATE-EXPIRED"."""
    text: str
    """What was found, one sentence."""
    remedy: str
    """What to do, one sentence."""


class Verification(Contract):
    """What one certificate file is worth."""

    file: str
    """File that was read."""
    stands: bool
    """True when nothing speaks against it."""
    findings: list[Finding]
    """What speaks against it."""
    host: str | None = None
    """Host that it speaks of; None when its signature is not good."""
    lock_hash: str | None = None
    """Lock that it speaks of."""
    level: str | None = None
    """Level that it claims."""
    verdict: str | None = None
    """Verdict that it holds."""
    expires: float | None = None
    """Unix time until which it stands, seconds."""
    key: str | None = None
    """Id of the trusted key that signed it."""
    key_name: str | None = None
    """Name under which that key is trusted."""
    checked: list[str] = Field(default_factory=list)
    """What was looked at: signature, key, time, verdict, lock, host."""


class ErrorDocument(Contract):
    """An error, as `--json` prints it."""

    code: str
    """Stable code."""
    found: str
    """What was found."""
    expected: str
    """What was expected."""
    remedy: str
    """What to do."""


class CertifiedHost(Contract):
    """One host's certificate, or the reason why there is none."""

    host: str
    """Name it was asked for under."""
    certificate: Certificate | None
    """The certificate; None where none could be made."""
    signed_by: str | None = None
    """Id of the key that signed it; None: not signed."""
    error: ErrorDocument | None
    """Why there is none."""
