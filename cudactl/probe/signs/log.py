"""The kernel log's lines that speak of NVIDIA, nouveau or the PCI slots.

/dev/kmsg and the journal need root or the group adm; where nothing can be read, that is said.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List

from ..files import Root
from ..kernel_log import messages, read
from . import ROOT_OR_ADM, Unread

OF_INTEREST = re.compile(
    r"NVRM|nvidia|nouveau|\bXid\b|SXid|nvswitch|AER|PCIe Bus Error|unsigned module|taint"
    r"|Key was rejected|PKCS#7|Lockdown:|I/O error|No space left",
    re.IGNORECASE,
)
MOST_LINES = 600
PATIENCE_S = 10.0  # with the journal: somebody waits for an answer, and no job does


def kernel_log(root: Root, unread: Unread) -> Dict[str, Any]:
    """Return {"source", "lines"}; source is None where no log could be read."""
    found = read(root, [], journal_s=PATIENCE_S)
    if found is None:
        why = "/dev/kmsg may not be read"
        unread.append({"what": "kernel log", "needs": ROOT_OR_ADM, "why": why})
        return {"source": None, "lines": []}
    lines: List[str] = [
        line[:500] for line in messages(found[0], found[2]) if OF_INTEREST.search(line)
    ]
    return {"source": found[0], "lines": lines[-MOST_LINES:]}
