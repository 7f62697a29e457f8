"""What a signed certificate is worth now: every reason against it, each said clearly.

The signature is looked at first, and nothing in the file is believed before a trusted key vouches
for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cudactl.certify.keys import Revocation, TrustedKey, revoked_for
from cudactl.certify.reading import read_object
from cudactl.certify.signing import NotAnEnvelope, Signed
from cudactl.certify.statement import NotAStatement, certificate_of, read_certificate
from cudactl.contracts.certificate import Certificate
from cudactl.contracts.errors import UsageError
from cudactl.contracts.state import HostState
from cudactl.contracts.verification import Finding, Verification

CLOCK_SLACK_S = 300.0
EXPECTED = "a signed certificate, as `certify host --output dsse=FILE` or --store write it"
AGAIN = "certify the host again"


@dataclass(frozen=True)
class Trust:
    """Whose signatures count."""

    keys: Mapping[str, TrustedKey] = field(default_factory=dict)
    revocations: Mapping[str, Sequence[Revocation]] = field(default_factory=dict)


def verify_file(
    path: Path,
    trust: Trust,
    now: float,
    *,
    lock_hash: str | None = None,
    state: HostState | None = None,
) -> Verification:
    """Return what a certificate file is worth.

    Args:
        path: The file.
        trust: Whose signatures count.
        now: Unix time, seconds.
        lock_hash: The lock that it must be bound to.
        state: The machine that it must be bound to, as it is now.

    Raises:
        UsageError: CERTIFICATE-UNREADABLE.
    """
    document = read_object(path, "CERTIFICATE-UNREADABLE", EXPECTED, AGAIN)
    checked = ["signature", "key", "time", "verdict"]
    checked += ["lock"] if lock_hash is not None else []
    checked += ["host"] if state is not None else []
    if "verdicts" in document and "signatures" not in document:
        try:
            read_certificate(document)
        except NotAStatement as error:
            raise _unreadable(path, str(error)) from None
        finding = _finding(
            "CERTIFICATE-NOT-SIGNED",
            "nobody signed it: anybody who could write the file may have written this",
            "make a key with `certify key new` and certify again",
        )
        return Verification(file=str(path), stands=False, findings=[finding], checked=checked[:1])
    try:
        signed = Signed(document)
    except NotAnEnvelope as error:
        raise _unreadable(path, str(error)) from None
    good = signed.signed_by(trust.keys)
    if not good:
        finding = _not_vouched(signed, trust)
        return Verification(file=str(path), stands=False, findings=[finding], checked=checked[:2])
    try:
        certificate = certificate_of(signed.payload)
    except NotAStatement as error:
        raise _unreadable(path, str(error)) from None
    key, findings = _standing_key(good, trust, certificate.issued)
    findings += _times(certificate, now)
    if certificate.verdict not in ("PASS", "WARN"):
        findings.append(
            _finding(
                "CERTIFICATE-NOT-PASSED",
                f"it says {certificate.verdict}: {certificate.level_reason}",
                "repair what its failed checks name, and certify again",
            )
        )
    elif certificate.level == "none":
        findings.append(
            _finding(
                "CERTIFICATE-NOTHING-SHOWN",
                f"it shows nothing: {certificate.level_reason}",
                "certify the host without leaving anything out",
            )
        )
    if lock_hash is not None and certificate.lock_hash != lock_hash:
        findings.append(
            _finding(
                "CERTIFICATE-OTHER-LOCK",
                f"it is bound to lock {certificate.lock_hash[:12]}, not to {lock_hash[:12]}",
                "certify the host by that lock",
            )
        )
    if state is not None:
        findings += _machine(certificate, state)
    return Verification(
        file=str(path),
        stands=not findings,
        findings=findings,
        host=certificate.host,
        lock_hash=certificate.lock_hash,
        level=certificate.level,
        verdict=certificate.verdict,
        expires=certificate.expires,
        key=key.id,
        key_name=key.name,
        checked=checked,
    )


def _not_vouched(signed: Signed, trust: Trust) -> Finding:
    known = [name for name in signed.key_ids if name in trust.keys]
    if known:
        return _finding(
            "CERTIFICATE-ALTERED",
            f"the signature of key {known[0][:12]} does not fit: it was altered after signing",
            "get the file again from where it was made; do not believe this one",
        )
    shown = ", ".join(_short(name) for name in signed.key_ids[:3])
    return _finding(
        "CERTIFICATE-KEY-UNKNOWN",
        f"it is signed by {shown}, which is not trusted here",
        "if you know whose key it is: certify key trust FILE.pub",
    )


def _standing_key(
    good: Sequence[TrustedKey], trust: Trust, issued: float
) -> tuple[TrustedKey, list[Finding]]:
    """Return a key that stood when it signed; or the first one, and why it did not."""
    findings = []
    for key in good:
        gone = revoked_for(trust.revocations.get(key.id, ()), issued)
        if gone is None:
            return key, []
        findings.append(
            _finding(
                "CERTIFICATE-KEY-REVOKED",
                f"its key {key.name} ({key.id[:12]}) is revoked: {gone.reason}",
                "certify again with a key that stands",
            )
        )
    return good[0], findings


def _times(certificate: Certificate, now: float) -> list[Finding]:
    # Written so that a time which is no number does not stand.
    if not now <= certificate.expires:
        hours = (now - certificate.expires) / 3600.0
        return [_finding("CERTIFICATE-EXPIRED", f"it expired {hours:.1f} h ago", AGAIN)]
    if not certificate.issued <= now + CLOCK_SLACK_S:
        return [
            _finding(
                "CERTIFICATE-FROM-FUTURE",
                "it was issued after now: a clock is wrong, or was",
                "set the clocks, and certify again",
            )
        ]
    return []


def _machine(certificate: Certificate, state: HostState) -> list[Finding]:
    findings = []
    if certificate.machine_id is None or certificate.machine_id != state.machine_id:
        text = f"it is the certificate of {certificate.hostname}, which is another machine"
        findings.append(_finding("CERTIFICATE-OTHER-MACHINE", text, "certify this machine"))
    elif certificate.boot_id is None or certificate.boot_id != state.boot_id:
        findings.append(
            _finding("CERTIFICATE-OTHER-BOOT", "the machine was rebooted since then", AGAIN)
        )
    if certificate.driver != state.module.loaded:
        was, now_is = certificate.driver or "none", state.module.loaded or "none"
        text = f"it was made with driver {was}; loaded is {now_is}"
        findings.append(_finding("CERTIFICATE-OTHER-DRIVER", text, AGAIN))
    return findings


def _short(name: str) -> str:
    shown = name[:12]
    return f"key {shown}" if shown.isprintable() else "a key without a readable name"


def _finding(code: str, text: str, remedy: str) -> Finding:
    return Finding(code=code, text=text, remedy=remedy)


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError("CERTIFICATE-UNREADABLE", f"{path}: {why}", expected=EXPECTED, remedy=AGAIN)
