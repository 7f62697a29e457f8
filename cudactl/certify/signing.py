"""Signs certificates and opens signed ones: a statement in a DSSE envelope, by securesystemslib.

Source of the envelope: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from cudactl.certify.keys import SigningKey, TrustedKey
from cudactl.certify.statement import PAYLOAD, statement
from cudactl.contracts.certificate import Certificate

MAX_SIGNATURES = 16


class NotAnEnvelope(ValueError):
    """The document is no DSSE envelope of ours."""


def sign(certificate: Certificate, key: SigningKey) -> dict[str, Any]:
    """Return a certificate's signed envelope."""
    envelope = Envelope(statement(certificate), PAYLOAD, {})
    envelope.sign(CryptoSigner(key.private, _public(key.id, key.private.public_key())))
    document: dict[str, Any] = envelope.to_dict()
    return document


class Signed:
    """An envelope: its payload is to be believed only under a key that signed it."""

    def __init__(self, document: dict[str, Any]) -> None:
        """Read an envelope.

        Raises:
            NotAnEnvelope: one sentence.
        """
        signatures = document.get("signatures")
        if not isinstance(signatures, list) or not signatures:
            raise NotAnEnvelope("it holds no signatures")
        if len(signatures) > MAX_SIGNATURES:
            raise NotAnEnvelope(f"it holds more than {MAX_SIGNATURES} signatures")
        if set(document) != {"payload", "payloadType", "signatures"}:
            raise NotAnEnvelope("it is no DSSE envelope")
        if document.get("payloadType") != PAYLOAD:
            raise NotAnEnvelope("it carries something else than an in-toto statement")
        try:
            self._envelope = Envelope.from_dict(copy.deepcopy(document))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise NotAnEnvelope("its signatures or its payload cannot be read") from None
        self.key_ids = [str(one) for one in self._envelope.signatures]

    @property
    def payload(self) -> bytes:
        """The statement's bytes."""
        return bytes(self._envelope.payload)

    def signed_by(self, keys: Mapping[str, TrustedKey]) -> list[TrustedKey]:
        """Return the trusted keys whose signatures are good."""
        good = []
        for name in self.key_ids:
            key = keys.get(name)
            if key is None:
                continue
            try:
                self._envelope.verify([_public(key.id, key.public)], 1)
            except VerificationError:
                continue
            good.append(key)
        return good


def _public(key_id: str, public: Ed25519PublicKey) -> SSlibKey:
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    return SSlibKey(key_id, "ed25519", "ed25519", {"public": raw})
