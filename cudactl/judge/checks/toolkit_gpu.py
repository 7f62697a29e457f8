"""toolkit on each GPU: products are right bit for bit, and as fast as this GPU should be.

What a GPU's generation does not have is skipped, and only because the GPU table says so.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from ..context import Answer, Context, Unmeasured, integer, number, text
from .registry import Decide, Values, check, failed, no_reference, passed, unmeasured

LEG = "toolkit"
TYPES = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8")
JUDGED_SPEEDS = ("fp32", "tf32", "bf16", "fp16", "fp8")
"""Types whose rate the GPU table can hold; the others' are measured and shown with the product."""
SPARSE = 2.0  # NVIDIA's sparse rates are twice the dense ones: nothing dense lies above
CAPPED_W = 100.0
"""Below this board power the rate follows the power limit, and no sourced figure is known."""


def generation(text: str) -> Tuple[int, int]:
    """Return a compute capability as numbers."""
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def lacking(context: Context, expect: Values, what: str) -> Optional[Answer]:
    """Return a skip where the GPU table says that this GPU has no such thing; None otherwise.

    Of a GPU that the table does not hold, its own word is taken, and nothing is judged by it.
    """
    least = str(expect["least_cc"])
    if context.reference is not None:
        cc = str(context.reference["cc"])
        if generation(cc) >= generation(least):
            return None
        reason = "%s (compute capability %s) has no %s, which begins with %s"
        name = str(context.reference["name"])
        return "SKIP", "", "", "the GPU table: " + reason % (name, cc, what, least)
    device = (context.measurement(LEG, "toolkit.device") or {}).get("values") or {}
    if isinstance(device.get("cc"), str) and generation(device["cc"]) < generation(least):
        reason = "a GPU that is not in the table says that it has no %s" % what
        return no_reference("compute capability %s" % device["cc"], reason)
    return None


def measured_values(context: Context, leg: str, id: str) -> Any:  # noqa: ANN401
    """Return a check's values, or the answer where there are none."""
    measured = context.measurement(leg, id)
    if measured is None:
        return unmeasured(context.why_unmeasured(leg, id))
    if measured.get("error"):
        return failed("", "", str(measured["error"]))
    return measured["values"]


def wrong(values: Values, prefix: str = "") -> Optional[Tuple[str, str]]:
    """Return (measured, reason) where values are wrong; None where none is."""
    count, rows = values.get(prefix + "wrong_values"), integer(values, prefix + "wrong_rows")
    if rows == 0 and integer(values, prefix + "wrong_values") == 0:
        return None
    place = values.get(prefix + "first_wrong")
    shown = "%s wrong values in %d rows" % (count, rows)
    reason = "first at %s: %s instead of %s" % (
        place,
        values.get(prefix + "first_found"),
        values.get(prefix + "first_expected"),
    )
    return shown, reason


@check(
    "toolkit.device",
    LEG,
    "cudart computes on the GPU that was asked for",
    needs=("address", "cc"),
    per_gpu=True,
)
def toolkit_device(context: Context, values: Values, expect: Values) -> Answer:
    assert context.gpu is not None
    wanted, found = str(context.gpu.get("address")), text(values, "address")
    if pci_address(found) != pci_address(wanted):
        return failed(found, wanted, "cudart answers for another GPU")
    cc = text(values, "cc")
    if context.reference is None:
        return no_reference("%s, compute capability %s" % (found, cc), "an unknown GPU")
    if cc != str(context.reference["cc"]):
        reason = "it is not what %s has" % context.reference["name"]
        return failed(cc, str(context.reference["cc"]), reason)
    return passed("%s, compute capability %s" % (found, cc), wanted, "the GPU that was asked for")


def pci_address(text: str) -> Tuple[int, str]:
    """Return a PCI address so that two writings of it are equal."""
    domain, _, rest = text.lower().partition(":")
    return int(domain, 16), rest


def _matmul(name: str) -> Decide:
    id = "toolkit.matmul." + name

    def matmul(context: Context, state: Values, expect: Values) -> Answer:
        skip = lacking(context, expect, name.upper())
        if skip is not None:
            return skip
        values = measured_values(context, LEG, id)
        if isinstance(values, tuple):
            return values
        bad = wrong(values)
        if bad is not None:
            return failed(bad[0], "0 wrong values", bad[1])
        compared, least = integer(values, "compared_values"), int(expect["compared"])
        if compared < least:
            return unmeasured("only %d values were compared" % compared, "%d values" % least)
        bad = wrong(values, "large_")
        size = " × ".join(str(one) for one in values.get("large_size") or [])
        if bad is not None:
            return failed(bad[0], "0 wrong values", "only at %s; %s" % (size, bad[1]))
        reason = "%d values bit for bit; %s by Freivalds%s" % (
            compared,
            size,
            _rate(context, name),
        )
        return passed("0 wrong values", "0 wrong values", reason)

    return matmul


def _rate(context: Context, name: str) -> str:
    """Return a rate that is measured but held against nothing."""
    measured = context.measurement(LEG, "toolkit.speed." + name) or {}
    median = (measured.get("values") or {}).get("tflops_median")
    if name in JUDGED_SPEEDS or not isinstance(median, (int, float)):
        return ""
    return "; %.1f Tflop/s, not judged" % median


def _speed(name: str) -> Decide:
    id = "toolkit.speed." + name

    def speed(context: Context, state: Values, expect: Values) -> Answer:
        skip = lacking(context, expect, name.upper())
        if skip is not None:
            return skip
        values = measured_values(context, LEG, id)
        if isinstance(values, tuple):
            return values
        median = number(values, "tflops_median")
        shown = "%.1f Tflop/s (%.1f to %.1f, ±%.2f %%)" % (
            median,
            number(values, "tflops_least"),
            number(values, "tflops_most"),
            number(values, "variation_percent"),
        )
        trouble = _trouble(values, expect)
        if trouble is not None:
            return failed(shown, "", trouble)
        reference = context.reference or {}
        rate = (reference.get("tflops") or {}).get(name)
        if rate is None:
            return no_reference(shown, "no rate of this GPU is known for %s" % name.upper())
        if median > SPARSE * rate:
            reason = "faster than the data sheet's sparse rate: nothing can have been computed"
            return failed(shown, "at most %.0f Tflop/s" % (SPARSE * rate), reason)
        if _capped(reference):
            return no_reference(shown, "its power limit sets its rate, and no figure is known")
        share, least = median / rate, float(expect["share"])
        expected = "%.0f Tflop/s (%.2f of %g)" % (least * rate, least, rate)
        reason = "%.2f of the data sheet, at size %s" % (share, values.get("size"))
        return (passed if share >= least else failed)(shown, expected, reason)

    return speed


def _trouble(values: Values, expect: Values) -> Optional[str]:
    """Return what is wrong with the results under load."""
    differ = values.get("repeats_differ")
    if not isinstance(differ, bool):
        raise Unmeasured("repeats_differ was not measured")
    if differ:
        return "the same product gives other bits when it is repeated"
    error = number(values, "worst_error_sigma")
    if error > float(expect["error_sigma"]):
        return "under load an entry is wrong by %.3g standard deviations" % error
    return None


def _capped(reference: Dict[str, Any]) -> bool:
    watts = reference.get("watts")
    return watts is not None and float(watts) < CAPPED_W


for _name in TYPES:
    check(
        "toolkit.matmul." + _name,
        LEG,
        "%s products on the GPU are right bit for bit" % _name.upper(),
        per_gpu=True,
        level="execution",
    )(_matmul(_name))
for _name in JUDGED_SPEEDS:
    check(
        "toolkit.speed." + _name,
        LEG,
        "%s products are as fast as this GPU should be" % _name.upper(),
        per_gpu=True,
        level="performance",
    )(_speed(_name))


@check(
    "toolkit.tensor_gain",
    LEG,
    "Tensor Cores are in use: products gain by them what this GPU should gain",
    per_gpu=True,
    level="performance",
)
def toolkit_tensor_gain(context: Context, state: Values, expect: Values) -> Answer:
    skip = lacking(context, expect, "Tensor Cores")
    if skip is not None:
        return skip
    values = measured_values(context, LEG, "toolkit.tensor_gain")
    if isinstance(values, tuple):
        return values
    gain, kind = number(values, "gain"), text(values, "kind")
    shown = "%.1f× (%s to FP32 without Tensor Cores)" % (gain, kind.upper())
    if gain <= 1:
        return failed(shown, "more than 1×", "Tensor Cores gain nothing")
    reference = context.reference or {}
    rates = reference.get("tflops") or {}
    if rates.get(kind) is None or rates.get("fp32") is None or _capped(reference):
        return no_reference(shown, "what this GPU should gain is not known")
    should, least = rates[kind] / rates["fp32"], float(expect["share"])
    expected = "%.1f× (%.2f of %.1f×)" % (least * should, least, should)
    reason = "%.2f of what the data sheet's rates say" % (gain / should)
    return (passed if gain >= least * should else failed)(shown, expected, reason)


@check(
    "toolkit.gemm",
    LEG,
    "A product through cuBLAS is right bit for bit",
    needs=("wrong_values", "wrong_rows", "compared_values"),
    per_gpu=True,
    level="execution",
)
def toolkit_gemm(context: Context, values: Values, expect: Values) -> Answer:
    bad = wrong(values)
    if bad is not None:
        return failed(bad[0], "0 wrong values", bad[1])
    compared, least = integer(values, "compared_values"), int(expect["compared"])
    if compared < least:
        return unmeasured("only %d values were compared" % compared, "%d values" % least)
    return passed("0 wrong values", "0 wrong values", "%d values bit for bit" % compared)


@check(
    "toolkit.nvrtc_run",
    LEG,
    "What NVRTC compiles for this GPU runs on it and is right",
    needs=("architecture", "compared_values", "wrong_values"),
    per_gpu=True,
    level="execution",
)
def toolkit_nvrtc_run(context: Context, values: Values, expect: Values) -> Answer:
    architecture, count = text(values, "architecture"), integer(values, "wrong_values")
    if count != 0:
        reason = "first at %s: %s instead of %s" % (
            values.get("first_wrong"),
            values.get("first_found"),
            values.get("first_expected"),
        )
        return failed("%d wrong values" % count, "0 wrong values", reason)
    compared, least = integer(values, "compared_values"), int(expect["compared"])
    if compared < least:
        return unmeasured("only %d values were compared" % compared, "%d values" % least)
    reason = "compiled for %s in %.2f s, %d values right" % (
        architecture,
        number(values, "compile_s"),
        compared,
    )
    return passed("0 wrong values", "0 wrong values", reason)
