"""collectives: the GPUs of a machine together: NCCL's sums, and copies from GPU to GPU."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..context import Answer, Context, entries, integer, number
from .provenance import library
from .registry import Values, check, failed, no_reference, passed, unmeasured

ONE_GPU = "one GPU is in this machine: there is nothing to sum over or to copy to"


def nccl_version(number_: int) -> str:
    """Return NCCL's version number as people write it (nccl.h, NCCL_VERSION): 22703 → 2.27.3."""
    return "%d.%d.%d" % (number_ // 10000, number_ // 100 % 100, number_ % 100)


def _together(context: Context, values: Values, expect: Values) -> Optional[Answer]:
    """Return the answer where the GPUs could not be measured together, or None."""
    there, seen = len(context.gpus), integer(values, "gpus")
    if there == 1:
        return "SKIP", "1 GPU", "", ONE_GPU
    if there == 0 and expect.get("without_gpu"):
        return "SKIP", "no GPU", "", str(expect["without_gpu"])
    busy = entries(values, "users")
    if busy:
        shown = ", ".join(str(pid) for pid in busy[:5])
        return unmeasured("not measured: process %s computes on a GPU" % shown)
    if values.get("error"):
        return failed("", "%d GPUs" % there, str(values["error"]))
    if seen != there:
        reason = "CUDA sees other GPUs than the bus holds"
        return failed("%d GPUs" % seen, "%d GPUs" % there, reason)
    return None


@check(
    "collectives.nccl",
    "collectives",
    "NCCL loads and answers the locked version",
    needs=("path", "loaded"),
)
def collectives_nccl(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the library."""
    return library(context, values, expect, lambda v: nccl_version(integer(v, "version_number")))


@check(
    "collectives.peers",
    "collectives",
    "What one GPU copies to another arrives, between all of them",
    needs=("gpus", "users"),
    judges_error=True,
)
def collectives_peers(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the copies between GPUs."""
    early = _together(context, values, expect)
    if early:
        return early
    gpus, pairs = integer(values, "gpus"), entries(values, "pairs")
    wanted = {(a, b) for a in range(gpus) for b in range(gpus) if a != b}
    found = {(integer(pair, "from"), integer(pair, "to")) for pair in pairs}
    expected = "%d pairs, every byte" % len(wanted)
    if found != wanted:
        return unmeasured("%d of %d pairs were copied" % (len(found), len(wanted)), expected)
    for pair in pairs:
        checked, wrong = integer(pair, "checked_bytes"), integer(pair, "wrong_bytes")
        named = "GPU %d to GPU %d" % (pair["from"], pair["to"])
        if checked < 1 or wrong:
            reason = "%s: %d of %d bytes arrived wrong" % (named, wrong, checked)
            return failed("%d bytes wrong" % wrong, expected, reason)
    direct = [pair for pair in pairs if pair.get("direct") is True]
    slowest = min(number(pair, "gbs") for pair in pairs)
    measured = "%d pairs, %d direct, slowest %.1f GB/s" % (len(pairs), len(direct), slowest)
    if expect.get("direct") and len(direct) != len(pairs):
        return failed(measured, "all direct", "GPUs that are linked do not reach each other")
    return passed(measured, expected, "every byte arrived")


@check(
    "collectives.allreduce",
    "collectives",
    "NCCL sums whole numbers exactly, and every GPU holds the same result",
    needs=("gpus", "users"),
    judges_error=True,
)
def collectives_allreduce(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the sums."""
    early = _together(context, values, expect)
    if early:
        return early
    gpus = integer(values, "gpus")
    by_type: Dict[str, List[Dict[str, Any]]] = dict(values["by_type"])
    missing = [kind for kind in ("int32", "fp32") if kind not in by_type]
    if missing:
        return unmeasured("%s was not measured" % ", ".join(missing))
    total = 0
    for kind, results in sorted(by_type.items()):
        if len(results) != gpus:
            return unmeasured("%s: %d of %d GPUs were read" % (kind, len(results), gpus))
        for one in results:
            checked, wrong = integer(one, "checked"), integer(one, "wrong")
            total += checked
            if checked < 1:
                return unmeasured("%s: nothing was compared" % kind)
            if wrong:
                return failed("%d wrong" % wrong, "0 wrong", _described(kind, one, checked, wrong))
    return passed(
        "%d sums on %d GPUs" % (total, gpus), "0 wrong", "exact in %s" % ", ".join(sorted(by_type))
    )


def _described(kind: str, one: Dict[str, Any], checked: int, wrong: int) -> str:
    where = "%s on GPU %s: " % (kind, one.get("gpu"))
    if one.get("untouched") == checked:
        return where + "nothing was written"
    first = dict(one.get("first") or {})
    return where + "%d of %d sums are wrong, first at %s (%s for %s)" % (
        wrong,
        checked,
        first.get("at"),
        first.get("found_hex"),
        first.get("expected_hex"),
    )


@check(
    "collectives.bandwidth",
    "collectives",
    "NCCL's bus bandwidth over all GPUs",
    needs=("gpus", "users"),
    judges_error=True,
)
def collectives_bandwidth(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the bandwidth against the policy's own figure: how GPUs are linked is the machine's."""
    early = _together(context, values, expect)
    if early:
        return early
    bus = number(values, "bus_gbs")
    measured = "%.1f GB/s on the bus over %d GPUs" % (bus, integer(values, "gpus"))
    if not bus > 0:
        return failed(measured, "more than nothing", "nothing was moved")
    least = expect.get("bus_gbs")
    if least is None:
        return no_reference(measured, "how these GPUs are linked is not in the catalogue")
    expected = "at least %g GB/s" % float(least)
    if bus < float(least):
        return failed(measured, expected, "slower than the policy demands")
    return passed(measured, expected, "as fast as the policy demands")
