"""health: the GPU's memory: ECC, replaced rows, retired pages, repairs that wait for a reset.

Which way of repair a GPU has follows from its architecture: rows are remapped from Ampere on, pages
are retired before (NVIDIA GPU memory error management, r580). Limits are the policy's.
"""

from __future__ import annotations

from ..context import Answer, Context, integer
from .nvml_answers import compute_capability, count, not_told, refused
from .registry import Values, check, failed, no_reference, passed

AMPERE = (8, 0)


@check(
    "health.ecc",
    "health",
    "ECC is on, and counted no error that it could not correct",
    needs=("codes",),
    per_gpu=True,
)
def health_ecc(context: Context, values: Values, expect: Values) -> Answer:
    reference = context.reference
    if expect["mode"] == "on":
        answer = refused(context, values, "mode")
        if answer and answer[0] == "NO_REFERENCE" and reference is not None:
            # Data-centre GPUs came back as unmeasured: this one is none.
            reason = "the GPU table does not count it to the data-centre GPUs, which all have ECC"
            return "SKIP", "no ECC", "on", reason
        if answer:
            return answer
        if not integer(values, "mode"):
            if reference is not None and reference.get("data_centre"):
                return failed(
                    "off", "on", "ECC is off, so wrong bits go unnoticed: nvidia-smi -e 1"
                )
            return no_reference("off", "ECC is off, and nothing says that this GPU should have it")
    answer = refused(context, values, "uncorrected")
    if answer:
        return answer
    bad, limit = integer(values, "uncorrected"), integer(expect, "uncorrected")
    if bad > limit:
        where = ", ".join(
            "%d in %s" % (count(values, "uncorrected_" + place), place.upper())
            for place in ("dram", "sram")
            if count(values, "uncorrected_" + place)
        )
        reason = "errors that ECC could not correct since the driver was loaded"
        return failed("%d uncorrected" % bad, str(limit), reason + (where and ": " + where))
    if count(values, "sram_threshold_exceeded"):
        reason = "SRAM errors exceed NVIDIA's own threshold: the GPU is to be replaced"
        return failed("threshold exceeded", "not exceeded", reason)
    ever = sum(count(values, "sram_uncorrected_%s_total" % kind) for kind in ("parity", "secded"))
    if ever > integer(expect, "sram_uncorrected_ever"):
        reason = "uncorrected SRAM errors in its life: the GPU is to be replaced"
        return failed(str(ever), "at most %d" % expect["sram_uncorrected_ever"], reason)
    for place in ("dram", "sram"):
        corrected, most = count(values, "corrected_" + place), integer(expect, "corrected_" + place)
        if corrected > most:
            reason = "so many corrected %s errors mean that it is failing" % place.upper()
            return failed("%d corrected" % corrected, "at most %d" % most, reason)
    if values.get("pending_mode") is not None and values["pending_mode"] != values.get("mode"):
        return (
            "WARN",
            "changes",
            "stays",
            "somebody changed ECC's mode; it changes at the next reset",
        )
    ever = count(values, "uncorrected_ever")
    said = "no uncorrected error" + ("; %d in its life" % ever if ever else "")
    shown = "%s, %d corrected" % (
        "on" if count(values, "mode") else "off",
        count(values, "corrected"),
    )
    return passed(shown, str(expect["mode"]), said)


@check(
    "health.memory_repair",
    "health",
    "No row or page of memory waits for its repair, and none could not be repaired",
    needs=("codes",),
    per_gpu=True,
)
def health_memory_repair(context: Context, values: Values, expect: Values) -> Answer:
    capability = compute_capability(context)
    if capability is None:
        pages = not_told(values, "pending", "failure") and not not_told(values, "retired_pending")
    else:
        pages = capability < AMPERE
    return _retired_pages(context, values, expect) if pages else _rows(context, values, expect)


def _rows(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the rows that were replaced, from Ampere on."""
    answer = refused(context, values, "pending", "failure", "correctable", "uncorrectable")
    if answer:
        return answer
    most = integer(expect, "rows")
    rows = integer(values, "correctable") + integer(values, "uncorrectable")
    shown = "%d rows replaced" % rows
    if integer(values, "failure"):
        reason = "a row could not be replaced: reset the GPU; if it stays, replace the GPU"
        return failed("failure", "none", reason)
    if integer(values, "pending"):
        return failed("pending", "none", "a row is replaced at the next reset: drain and reset")
    if rows >= most:
        return failed(shown, "fewer than %d" % most, "so many rows are more than it can replace")
    if count(values, "banks_none"):
        reason = "%d memory banks have no spare row left" % count(values, "banks_none")
        return "WARN", shown, "", reason
    return passed(shown, "fewer than %d" % most, "none pending, none failed")


def _retired_pages(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the pages that were taken out of use, before Ampere."""
    answer = refused(context, values, "retired_single", "retired_double", "retired_pending")
    if answer:
        return answer
    most, some = integer(expect, "pages"), integer(expect, "pages_double")
    double = integer(values, "retired_double")
    pages = double + integer(values, "retired_single")
    shown = "%d pages retired" % pages
    if integer(values, "retired_pending"):
        return failed("pending", "none", "a page is retired at the next reset: drain and reset")
    if pages >= most:
        return failed(shown, "fewer than %d" % most, "it retires no more pages: replace the GPU")
    if double >= some:
        return "WARN", shown, "fewer than %d" % some, "retired for double-bit errors; watch it"
    return passed(shown, "fewer than %d" % most, "none pending")


@check(
    "health.repair",
    "health",
    "No repair of a memory channel or compute cluster waits for a reset",
    needs=("codes",),
    per_gpu=True,
)
def health_repair(context: Context, values: Values, expect: Values) -> Answer:
    # Newer than most GPUs: that it is not told says nothing against the GPU.
    answer = refused(context, values, "channel_pending", "tpc_pending", must=False)
    if answer:
        return answer
    if integer(values, "channel_pending"):
        return failed("pending", "none", "a memory channel is repaired at the next reset")
    if integer(values, "tpc_pending"):
        return failed("pending", "none", "a compute cluster is repaired at the next reset")
    return passed("none pending", "none", "nothing waits for a reset")
