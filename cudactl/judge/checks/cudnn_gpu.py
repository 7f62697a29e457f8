"""cudnn on each GPU: convolutions are right, by every algorithm that cuDNN does not refuse.

Algorithms of matrix products are exact on small integers. Those that transform (Winograd, FFT)
round; theirs is right when every number rounds to the right integer.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..context import Answer, Context, Unmeasured, entries, integer, number, text
from .registry import Decide, Values, check, failed, no_reference, passed, unmeasured
from .toolkit_gpu import SPARSE

OPERATIONS = {
    "forward": "Convolutions",
    "backward_data": "Gradients of convolutions by their input",
    "backward_filter": "Gradients of convolutions by their filter",
}
MOST_ERROR = 0.25  # of an integer: half of the way to where it would round to another one


def _refused(run: Values) -> bool:
    """Return whether cuDNN says that it has no such algorithm, rather than that it failed.

    Statuses: 9 in cuDNN 8, 3000 to 3999 in cuDNN 9 (NOT_SUPPORTED); when merely asked for the
    workspace also 3, and 2000 to 2999 (BAD_PARAM).
    """
    code = integer(run, "code")
    if code == 9 or 3000 <= code < 4000:
        return True
    return run.get("stage") == "workspace" and (code == 3 or 2000 <= code < 3000)


def _named(run: Values) -> str:
    return "%s in %s %s" % (
        text(run, "algorithm"),
        text(run, "kind").upper(),
        text(run, "layout").upper(),
    )


def _fault(run: Values, expect: Values) -> Optional[str]:
    """Return what is wrong with one run."""
    if integer(run, "code") != 0:
        return None if _refused(run) else "%s: %s" % (_named(run), run.get("text"))
    if integer(run, "compared_values") < int(expect["compared"]):
        raise Unmeasured("%s: too little was compared" % _named(run))
    count = integer(run, "wrong_values")
    if text(run, "algorithm") in expect["transforms"]:
        error = number(run, "worst_error")
        if error < MOST_ERROR:
            return None
        return "%s: %d values, off by up to %.3g" % (_named(run), count, error)
    if count == 0:
        return None
    return "%s: %d wrong values, first at %s: %s instead of %s" % (
        _named(run),
        count,
        run.get("first_wrong"),
        run.get("first_found"),
        run.get("first_expected"),
    )


def _convolution(operation: str) -> Decide:
    def convolution(context: Context, values: Values, expect: Values) -> Answer:
        runs: List[Dict[str, Any]] = entries(values, "runs")
        faults = [fault for fault in (_fault(run, expect) for run in runs) if fault is not None]
        if faults:
            more = "" if len(faults) == 1 else "; and %d more" % (len(faults) - 1)
            return failed("%d of %d runs" % (len(faults), len(runs)), "none", faults[0] + more)
        right = [run for run in runs if run["code"] == 0]
        for kind in expect["kinds"]:
            exact = [r for r in right if r["algorithm"] not in expect["transforms"]]
            if any(run["kind"] == kind for run in exact):
                continue
            tried = [run for run in runs if run.get("kind") == kind]
            if not tried:
                return unmeasured("nothing was tried in %s" % kind.upper())
            reason = "no exact algorithm computes in %s: %s" % (kind.upper(), tried[0].get("text"))
            return failed("0 of %d" % len(tried), "at least 1", reason)
        refused = sorted({str(run["algorithm"]) for run in runs} - {r["algorithm"] for r in right})
        reason = "%d algorithms right" % len({run["algorithm"] for run in right})
        if refused:
            reason += "; cuDNN refuses %s on this GPU" % ", ".join(refused)
        measured = "%d runs, 0 wrong" % len(right)
        return passed(measured, "0 wrong", reason)

    return convolution


for _operation, _title in OPERATIONS.items():
    check(
        "cudnn." + _operation,
        "cudnn",
        _title + " on the GPU are right, number by number",
        needs=("runs",),
        per_gpu=True,
        level="execution",
    )(_convolution(_operation))


@check(
    "cudnn.speed",
    "cudnn",
    "An FP16 convolution is right and repeatable under load, at a rate that can be",
    needs=("repeats_differ", "worst_error_sigma"),
    per_gpu=True,
    level="execution",
)
def cudnn_speed(context: Context, values: Values, expect: Values) -> Answer:
    shown = "%.1f Tflop/s (±%.2f %%), %.0f images/s" % (
        number(values, "tflops_median"),
        number(values, "variation_percent"),
        number(values, "images_per_s"),
    )
    if values["repeats_differ"] is not False:
        return failed(shown, "", "the same convolution gives other bits when it is repeated")
    error = number(values, "worst_error_sigma")
    if error > float(expect["error_sigma"]):
        reason = "under load an entry is wrong by %.3g standard deviations" % error
        return failed(shown, "", reason)
    rate = ((context.reference or {}).get("tflops") or {}).get("fp16")
    if rate is None:
        return no_reference(shown, "no FP16 rate of this GPU is known")
    most = SPARSE * float(rate)
    if number(values, "tflops_median") > most:
        reason = "faster than the data sheet's sparse rate: nothing can have been computed"
        return failed(shown, "at most %.0f Tflop/s" % most, reason)
    reason = "right under load; %.2f of the data sheet, for which no floor is known" % (
        number(values, "tflops_median") / float(rate)
    )
    return passed(shown, "right and repeatable", reason)
