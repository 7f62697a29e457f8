"""JSON with a schema: docs/schemas/certified.schema.json describes each element of the list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cudactl.certify.formats.judged import Judged
from cudactl.contracts.verification import CertifiedHost, ErrorDocument


def documents(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return each host's document."""
    return [
        CertifiedHost(
            host=one.host,
            certificate=one.certificate,
            signed_by=one.signed_by,
            error=ErrorDocument(**one.error.as_dict()) if one.error is not None else None,
        ).model_dump()
        for one in judged
    ]


def render(judged: Sequence[Judged]) -> str:
    """Return the documents as text."""
    return json.dumps(documents(judged), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
