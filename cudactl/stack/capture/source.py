"""Which repository a machine takes NVIDIA's packages from, by its own apt sources.

The index is asked there, and trusted by the key that the machine itself trusts, unless it is the
vendor's: then the catalogue's fingerprint counts, as for every lock.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from cudactl.contracts.capture import CaptureRemark
from cudactl.contracts.state import AptSource, HostState
from cudactl.stack.facts.rows import Distribution
from cudactl.stack.index.fetching import without_password
from cudactl.stack.index.openpgp import KeyFormatError, read_keys
from cudactl.stack.lock.locking import VENDOR


@dataclass(frozen=True)
class OwnSource:
    """A repository in NVIDIA's layout that a machine is set up with."""

    url: str
    """Base address, below which NVIDIA's folders lie; it may carry a password."""
    key: str | None
    """The key that the machine trusts for it, ASCII-armoured; None where it could not be read."""


def own_source(
    state: HostState, distribution: Distribution, arch: str, *, here: bool
) -> tuple[OwnSource | None, list[CaptureRemark]]:
    """Return where a machine's packages come from; None for the vendor's repository.

    Args:
        state: The machine.
        distribution: Its distribution.
        arch: Its architecture in NVIDIA's words.
        here: True for this machine, whose folders (file://) can be read.
    """
    folder = f"/{distribution.repository}/{arch}"
    fitting: list[tuple[AptSource, str]] = []
    others = []
    for entry in state.apt_sources:
        for uri in entry.uris:
            base = re.sub(r"/+$", "", uri)
            # Several key files in one Signed-By, or an inline key, are not read.
            if base.endswith(folder) and (here or not base.startswith("file:")):
                fitting.append((entry, base.removesuffix(folder)))
            else:
                others.append(f"{without_password(uri)} ({entry.file})")
    fitting.sort(key=lambda one: not one[0].ours)
    chosen = fitting[0] if fitting else None
    others += [f"{without_password(base)}{folder}/ ({e.file})" for e, base in fitting[1:]]
    remarks = []
    if others:
        remarks.append(
            CaptureRemark(
                code="CAPTURE-OTHER-SOURCE",
                text="these apt sources are set up too; only one index is asked",
                items=others,
                remedy="to ask another one: --mirror URL --mirror-key FILE",
            )
        )
    if chosen is None or _vendors(chosen[1]):
        return None, remarks
    return OwnSource(chosen[1], _armoured(chosen[0].key)), remarks


def _vendors(base: str) -> bool:
    return re.sub(r"^http:", "https:", base).rstrip("/") == VENDOR.rstrip("/")


def _armoured(key: str | None) -> str | None:
    if key is None:
        return None
    try:
        return "".join(one.armoured for one in read_keys(base64.b64decode(key)))
    except (KeyFormatError, ValueError):
        return None
