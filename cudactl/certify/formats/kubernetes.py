"""A Kubernetes node condition, ready for `kubectl patch node NAME --subresource=status`.

Source of the fields: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.34/#nodecondition-v1-core
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from cudactl.certify.formats.judged import Judged, summary

TYPE = "CudactlCertified"
REASONS = {"PASS": "ChecksPassed", "WARN": "ChecksWarned", "FAIL": "ChecksFailed"}


def condition(one: Judged) -> dict[str, Any]:
    """Return a host's condition: True, False, or Unknown where nothing could be said."""
    certificate = one.certificate
    if certificate is None:
        status, reason, moment = "Unknown", "NotMeasured", None
    elif certificate.verdict in ("PASS", "WARN"):
        status, reason, moment = "True", REASONS[certificate.verdict], certificate.issued
    elif certificate.verdict == "FAIL":
        status, reason, moment = "False", REASONS["FAIL"], certificate.issued
    else:
        status, reason, moment = "Unknown", "NotMeasured", certificate.issued
    found = {"type": TYPE, "status": status, "reason": reason, "message": summary(one)}
    if moment is not None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
        found.update(lastHeartbeatTime=stamp, lastTransitionTime=stamp)
    return found


def render(judged: Sequence[Judged]) -> str:
    """Return a patch of a node's status; several hosts give an object by host."""
    patches = {one.host: {"status": {"conditions": [condition(one)]}} for one in judged}
    document: Any = next(iter(patches.values())) if len(judged) == 1 else patches
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
