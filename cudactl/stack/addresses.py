"""Where a lock's sources really are: with the user and password that the spec's mirror carries.

A lock's sources never hold a password; the mirror that a spec names may.
"""

from __future__ import annotations

from cudactl.contracts.spec import StackSpec
from cudactl.stack.fetching import without_password


def mirror_address(url: str, spec: StackSpec) -> str:
    """Return an apt source's address as it has to be asked for."""
    mirror = spec.mirror.url.rstrip("/") if spec.mirror is not None else ""
    bare = without_password(mirror)
    return mirror + url.removeprefix(bare) if mirror and url.startswith(bare + "/") else url
