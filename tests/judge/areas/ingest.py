"""Results of other tools, given by somebody on the host at night."""

from __future__ import annotations

from typing import Any

from tests.judge.healthy import DRIVER, add_leg, value
from tests.judge.red import Evidence, Red, outcome, put, unmeasured

RESULTS = "ingest.results"


def policy(document: dict[str, Any]) -> None:
    """Somebody gave results."""
    if document["tier"] != "nightly":
        return
    document["expectations"].append({"check": RESULTS, "source": "results that were given"})
    document["request"]["legs"]["ingest"] = {"deadline_s": 30.0, "files": ["/srv/results"]}
    document["legs"] = sorted([*document["legs"], "ingest"])


def nightly(evidence: Evidence) -> None:
    """Three tools, three passes."""
    dcgm = {
        "file": "/srv/results/dcgm.json",
        "tool": "dcgmi diag",
        "version": "4.5.3",
        "driver": DRIVER,
        "verdict": "PASS",
        "counts": {"PASS": 14},
        "failures": [],
        "figures": [],
    }
    name = "host_to_device_memcpy_ce"
    bandwidth = {
        **dcgm,
        "file": "/srv/results/nvb.json",
        "tool": "nvbandwidth",
        "version": "v0.8",
        "counts": {"PASS": 1},
        "figures": [{"name": f"{name}, least", "value": 55.1, "unit": "GB/s"}],
    }
    nccl = {
        **dcgm,
        "file": "/srv/results/nccl.txt",
        "tool": "nccl-tests",
        "version": None,
        "driver": None,
        "counts": {"PASS": 1},
        "figures": [{"name": "all_reduce, average bus bandwidth", "value": 366.0, "unit": "GB/s"}],
    }
    add_leg(evidence, "ingest", {RESULTS: {"results": [dcgm, bandwidth, nccl], "unread": []}})


def _result(at: int, **values: Any) -> Any:
    return lambda e: value(e, RESULTS)["results"][at].update(values)


RED: list[Red] = [
    Red(
        RESULTS,
        "dcgmi found a fault",
        "nightly",
        _result(
            0, verdict="FAIL", counts={"PASS": 13, "FAIL": 1}, failures=["memory on GPU 0: ECC"]
        ),
        "memory on GPU 0: ECC",
    ),
    Red(
        RESULTS,
        "nvbandwidth broke off",
        "nightly",
        _result(1, verdict="ERROR", counts={"ERROR": 1}, failures=["CUDA_ERROR_UNKNOWN"]),
        "CUDA_ERROR_UNKNOWN",
        status="ERROR",
    ),
    Red(
        RESULTS,
        "dcgmi declined to test",
        "nightly",
        _result(0, verdict="SKIP", counts={"SKIP": 14}, failures=[]),
        "tested nothing",
        status="ERROR",
    ),
    Red(
        RESULTS,
        "some were skipped",
        "nightly",
        _result(0, counts={"PASS": 1, "SKIP": 4}),
        "4 of their tests were skipped",
        status="WARN",
    ),
    Red(
        RESULTS,
        "dcgmi warns",
        "nightly",
        _result(0, verdict="WARN", counts={"WARN": 1, "PASS": 9}, failures=["software: no cublas"]),
        "software: no cublas",
        status="WARN",
    ),
    Red(
        RESULTS,
        "from before the driver update",
        "nightly",
        _result(1, driver="580.82.07"),
        "was run with driver 580.82.07",
    ),
    Red(
        RESULTS,
        "a file of no known tool",
        "nightly",
        put(RESULTS, unread=[{"file": "/srv/results/x.json", "why": "it is no JSON"}]),
        "/srv/results/x.json: it is no JSON",
        status="ERROR",
    ),
    Red(
        RESULTS,
        "nothing was given",
        "nightly",
        put(RESULTS, results=[]),
        "no result was given",
        status="ERROR",
    ),
    Red(RESULTS, "not read", "nightly", unmeasured(RESULTS), "measured no", status="ERROR"),
    Red(
        "ingest.ran",
        "crashed",
        "nightly",
        outcome("ingest", "crashed", "exit status 1"),
        "exit status 1",
    ),
]
