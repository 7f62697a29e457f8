"""CTRF JSON: the Common Test Report Format, for the many reporters that read it.

Source of the fields: https://github.com/ctrf-io/ctrf/blob/main/schema/ctrf.schema.json. Our own
status stands in `rawStatus`; what could not be measured is `failed`, since it is no success.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cudactl.certify.formats.judged import Judged, said, successful
from cudactl.contracts.certificate import Verdict

STATUS = {
    "PASS": "passed",
    "WARN": "passed",
    "FAIL": "failed",
    "ERROR": "failed",
    "SKIP": "skipped",
    "NO_REFERENCE": "other",
    "WAIVED": "other",
}


def render(judged: Sequence[Judged]) -> str:
    """Return the report."""
    tests: list[dict[str, Any]] = []
    for one in judged:
        if one.certificate is None:
            code = one.error.code if one.error is not None else "NOT-CERTIFIED"
            found = one.error.found if one.error is not None else "there is no certificate"
            tests.append(
                {
                    "name": "certified",
                    "suite": [one.host],
                    "status": "failed",
                    "rawStatus": "ERROR",
                    "duration": 0,
                    "message": f"{code}: {found}",
                }
            )
        else:
            tests += [_test(one.host, verdict) for verdict in one.certificate.verdicts]
    starts, stops = _times(judged)
    count = {s: sum(t["status"] == s for t in tests) for s in ("passed", "failed", "skipped")}
    document = {
        "reportFormat": "CTRF",
        "specVersion": "0.0.0",
        "generatedBy": "cudactl",
        "results": {
            "tool": {"name": "cudactl"},
            "summary": {
                "tests": len(tests),
                **count,
                "pending": 0,
                "other": sum(t["status"] == "other" for t in tests),
                "suites": len(judged),
                "start": starts,
                "stop": stops,
            },
            "tests": tests,
            "environment": {
                "healthy": len(successful(judged)) == len(judged),
                "extra": {
                    "hosts": {
                        one.host: {
                            "level": one.certificate.level,
                            "tier": one.certificate.tier,
                            "lock": one.certificate.lock_hash,
                            "driver": one.certificate.driver,
                        }
                        for one in judged
                        if one.certificate is not None
                    }
                },
            },
        },
    }
    # Escaped: a lone surrogate of a hostile text must not break the writing of the file.
    return json.dumps(document, indent=1) + "\n"


def _test(host: str, verdict: Verdict) -> dict[str, Any]:
    test: dict[str, Any] = {
        "name": verdict.check + (f" [{verdict.gpu}]" if verdict.gpu else ""),
        "suite": [host, verdict.leg],
        "status": STATUS[verdict.status],
        "rawStatus": verdict.status,
        "duration": 0,
        "message": said(verdict.measured, verdict.expected, verdict.reason),
    }
    if verdict.gpu:
        test["parameters"] = {"gpu": verdict.gpu}
    return test


def _times(judged: Sequence[Judged]) -> tuple[int, int]:
    """Return when measuring began and the last certificate was issued, in milliseconds."""
    stops = [one.certificate.issued for one in judged if one.certificate is not None]
    starts = [
        float(one.evidence["taken_at"])
        for one in judged
        if one.certificate is not None and one.evidence is not None
    ]
    stop = int(1000 * max(stops, default=0.0))
    return min(int(1000 * min(starts, default=max(stops, default=0.0))), stop), stop
