"""energy: what a known amount of work cost, by NVML's own counter; is that draw plausible?"""

from __future__ import annotations

from ..context import Answer, Context, integer, number, text
from .registry import Values, check, failed, passed, unmeasured

OVER_LIMIT = 1.1
"""Power is regulated over tens of milliseconds; short averages may lie a little above the limit."""
APART = 0.25
"""How far the counter's average and the sampled maximum may lie apart, as a share."""


@check(
    "energy.draw",
    "energy",
    "Under load the GPU draws more than at rest and no more than its limit",
    needs=("joules", "average_w", "idle_w", "limit_w", "seconds", "tflops", "threads"),
    per_gpu=True,
    level="execution",
)
def energy_draw(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the draw's plausibility; the rate per watt is shown beside the data sheet's."""
    threads, wrong = integer(values, "threads"), integer(values, "wrong_threads")
    if wrong or threads < 1:
        found = "%d of %d threads" % (wrong, threads)
        return failed(found, "0 wrong", "the load itself computed something wrong")
    average, idle = number(values, "average_w"), number(values, "idle_w")
    limit, rate = number(values, "limit_w"), number(values, "tflops")
    measured = "%.0f J in %.1f s: %.0f W (%.0f W at rest)" % (
        number(values, "joules"),
        number(values, "seconds"),
        average,
        idle,
    )
    expected = "above %.0f W, at most %.0f W" % (idle, OVER_LIMIT * limit)
    if not rate > 0 or not limit > 0:
        return unmeasured("the load did nothing", expected)
    if average <= 0:
        return failed(measured, expected, "NVML's energy counter stands still or runs backwards")
    if average > OVER_LIMIT * limit:
        return failed(measured, expected, "more than the enforced limit of %.0f W" % limit)
    if average <= idle:
        return failed(measured, expected, "no more than at rest, though it computed all the time")
    sampled = values.get("sampled_w")
    if sampled is not None and average > (1 + APART) * number(values, "sampled_w"):
        reason = "the counter says more than any sample of the power (%.0f W)" % sampled
        return failed(measured, expected, reason)
    return passed(measured, expected, _efficiency(context, values, rate / average))


def _efficiency(context: Context, values: Values, per_watt: float) -> str:
    """Return the rate per watt, beside what the data sheet's figures give."""
    by = {"counter": "NVML's counter", "samples": "samples of the power"}[text(values, "by")]
    found = "%.3f Tflop/s per W in FP32, by %s" % (per_watt, by)
    reference = context.reference or {}
    contested = list(reference.get("contested") or [])
    rate, watts = (reference.get("tflops") or {}).get("fp32"), reference.get("watts")
    if not rate or not watts or "watts" in contested:
        return found + "; no data sheet to hold it beside"
    return "%s; the data sheet's %.3f (%g Tflop/s at %g W)" % (found, rate / watts, rate, watts)
