"""What every contract shares: strict models, canonical bytes and hashes.

Canonical JSON (sorted keys, no blanks, UTF-8) is what every hash in cudactl is taken over, so the
same content always has the same hash, whoever wrote the file and however it was indented.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

# Looking for pydantic plugins in every installed package costs each command 25 ms; we have none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BaseModel, ConfigDict

DESCRIBE = "CUDACTL_DESCRIBE_MODELS"
"""Set in the environment while JSON Schemas are made: fields then carry their docstrings."""


class Contract(BaseModel):
    """A model that crosses a room's border: unknown fields are refused, instances never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # Reading the docstrings costs every command a tenth of a second; only schemas show them.
        use_attribute_docstrings=DESCRIBE in os.environ,
    )


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - anything JSON can hold
    """Return `value` as canonical JSON bytes: sorted keys, no blanks, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def canonical_hash(value: Any) -> str:  # noqa: ANN401
    """Return the sha256 of `value`'s canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def short(digest: str) -> str:
    """Return the 12 digits of a hash that people see."""
    return digest[:12]
