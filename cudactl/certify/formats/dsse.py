"""The signed certificate. One host gives one envelope, several give one envelope a line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cudactl.certify.formats.judged import Judged
from cudactl.contracts.errors import UsageError


def render(judged: Sequence[Judged]) -> str:
    """Return the envelopes.

    Raises:
        UsageError: CERTIFICATE-NOT-SIGNED, when no key signed.
    """
    certified = [one for one in judged if one.certificate is not None]
    if any(one.envelope is None for one in certified):
        raise UsageError(
            "CERTIFICATE-NOT-SIGNED",
            "there is no signed certificate to write: no key signed it",
            expected="a key to sign with",
            remedy="make one: certify key new",
        )
    return "".join(json.dumps(one.envelope, sort_keys=True) + "\n" for one in certified)
