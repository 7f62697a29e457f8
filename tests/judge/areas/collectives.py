"""The GPUs of a machine together."""

from __future__ import annotations

from typing import Any

from tests.judge.healthy import DRIVER, SYSTEM, add_leg, library, value
from tests.judge.red import Change, Evidence, Red, error, library_is, outcome, put, unmeasured

NCCL, PEERS = "collectives.nccl", "collectives.peers"
SUMS, BUS = "collectives.allreduce", "collectives.bandwidth"
LIBRARY = f"{SYSTEM}/libnccl.so.2.27.3"


def nightly(evidence: Evidence) -> None:
    """Two H200 on one switch."""
    seen: dict[str, Any] = {"gpus": 2, "users": []}
    pairs = [
        {
            "from": a,
            "to": 1 - a,
            "direct": True,
            "checked_bytes": 4_194_304,
            "wrong_bytes": 0,
            "gbs": 310.0,
        }
        for a in (0, 1)
    ]
    sums = {
        kind: [{"gpu": g, "checked": 1_048_579, "wrong": 0, "first": None} for g in (0, 1)]
        for kind in ("int32", "fp32", "fp16", "bf16")
    }
    bus = {"bytes": 268_435_456, "algorithm_gbs": 366.0, "bus_gbs": 366.0, "slowest_gbs": 365.0}
    add_leg(
        evidence,
        "collectives",
        {
            NCCL: {
                "soname": "libnccl.so.2",
                "path": LIBRARY,
                "loaded": True,
                "version_number": 22703,
            },
            PEERS: {**seen, "pairs": pairs},
            SUMS: {**seen, "by_type": sums},
            BUS: {**seen, **bus, "samples": 5},
        },
        [
            library(LIBRARY, "libnccl2"),
            library(f"{SYSTEM}/libcuda.so.{DRIVER}", "libnvidia-compute-580"),
        ],
    )


def policy(document: dict[str, Any]) -> None:
    """Somebody knows how the GPUs are linked."""
    for one in document["expectations"]:
        if one["check"] == BUS:
            one["expect"]["bus_gbs"] = 300.0
        if one["check"] == PEERS:
            one["expect"]["direct"] = True


def _sum(kind: str, **values: object) -> Change:
    return lambda e: value(e, SUMS)["by_type"][kind][1].update(values)


def _pair(**values: object) -> Change:
    return lambda e: value(e, PEERS)["pairs"][1].update(values)


FIRST = {"at": 31, "found_hex": "41000000", "expected_hex": "41100000"}
RED = [
    Red(NCCL, "another version", "nightly", put(NCCL, version_number=22105), "another version"),
    Red(
        NCCL,
        "somebody else's file",
        "nightly",
        library_is("libnccl", package=None),
        "belongs to nobody",
        also=("stack.libraries",),
    ),
    Red(NCCL, "does not load", "nightly", error(NCCL, "libnccl.so.2: no such file"), "no such"),
    Red(
        PEERS,
        "a byte arrives wrong",
        "nightly",
        _pair(wrong_bytes=1),
        "GPU 1 to GPU 0: 1 of 4194304 bytes",
    ),
    Red(PEERS, "nothing was compared", "nightly", _pair(checked_bytes=0), "of 0 bytes"),
    Red(
        PEERS,
        "linked GPUs do not reach each other",
        "nightly",
        _pair(direct=False),
        "do not reach each other",
    ),
    Red(
        PEERS,
        "a pair was left out",
        "nightly",
        lambda e: value(e, PEERS)["pairs"].pop(),
        "1 of 2 pairs",
        status="ERROR",
    ),
    Red(PEERS, "CUDA sees one GPU only", "nightly", put(PEERS, gpus=1), "sees other GPUs"),
    Red(
        PEERS,
        "the copy fails",
        "nightly",
        error(PEERS, "cuMemcpyPeer answers CUDA_ERROR_ILLEGAL_ADDRESS (700)"),
        "ILLEGAL_ADDRESS",
    ),
    Red(
        SUMS,
        "one GPU's part is missing",
        "nightly",
        _sum("fp32", wrong=1_014_753, first=FIRST),
        "fp32 on GPU 1: 1014753 of 1048579 sums are wrong, first at 31 (41000000 for 41100000)",
    ),
    Red(
        SUMS,
        "nothing was written",
        "nightly",
        _sum("bf16", wrong=1_048_579, untouched=1_048_579, first=FIRST),
        "nothing was written",
    ),
    Red(
        SUMS,
        "GPUs do not find together",
        "nightly",
        error(SUMS, "ncclCommInitAll answers 2 (unhandled system error)"),
        "ncclCommInitAll",
    ),
    Red(
        SUMS,
        "one GPU was not read",
        "nightly",
        lambda e: value(e, SUMS)["by_type"]["int32"].pop(),
        "1 of 2 GPUs were read",
        status="ERROR",
    ),
    Red(
        SUMS,
        "somebody computes there",
        "nightly",
        put(SUMS, users=[4711], gpus=0),
        "process 4711 computes",
        status="ERROR",
    ),
    Red(BUS, "slow", "nightly", put(BUS, bus_gbs=30.0), "slower than the policy demands"),
    Red(BUS, "nothing moved", "nightly", put(BUS, bus_gbs=0.0), "nothing was moved"),
    Red(BUS, "not measured", "nightly", unmeasured(BUS), "measured no coll", status="ERROR"),
    Red(
        "collectives.ran",
        "hangs",
        "nightly",
        outcome("collectives", "timeout", "no end within 120 s"),
        "did not end in time",
    ),
]
