"""tensorrt on a GPU: a small classifier built there, whole numbers exact, half precision near."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..context import Answer, Context, dotted, entries, integer, number, text
from .provenance import wrong_place
from .registry import Values, check, failed, no_reference, passed, unmeasured

MUST = ("fp32", "fp16")
SHAPES = {"input_shape": [1, 3, 224, 224], "output_shape": [1, 1000]}
WEAKER = "through trtexec, which is weaker evidence than the Python bindings"
# Half precision keeps 11 bits: a rounding is up to 4.9e-4 of a number. Sums of 27 and of 392 terms
# in FP16 drift by about the square root of their count: 20 × 4.9e-4, twice over.
FP16_TOLERANCE = 0.02
# Single precision keeps 24 bits: the same sums drift by about 1e-6 of the largest output.
FP32_TOLERANCE = 1e-4
LEAST_SAMPLES = 100


@check(
    "tensorrt.engine",
    "tensorrt",
    "TensorRT builds, keeps, loads and runs an engine, and its whole numbers are exact",
    needs=("via", "precisions"),
    per_gpu=True,
    level="execution",
)
def tensorrt_engine(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the network of whole numbers, in every precision that it was built in."""
    via, wanted = text(values, "via"), str(expect["version"])
    version = _version(values)
    if version != wanted:
        return failed(str(version), wanted, "it is of another version")
    if expect.get("via") == "bindings" and via != "bindings":
        said = values.get("bindings_error") or "no reason given"
        return failed(via, "the Python bindings", "the bindings do not import: %s" % said)
    if via == "bindings":
        wrong = wrong_place(context, text(values, "path"), expect)
        if wrong:
            return failed(str(version), wanted, wrong)
    found: Dict[str, Dict[str, Any]] = dict(values["precisions"])
    missing = [name for name in MUST if name not in found]
    if missing:
        return unmeasured("%s was not measured" % ", ".join(missing), wanted)
    exact: List[str] = []
    without: List[str] = []
    for name, one in found.items():
        if one.get("error") and name not in MUST:
            without.append("%s (%s)" % (name, str(one["error"])[:120]))
            continue
        wrong = _wrong(one)
        if wrong:
            return failed(name, "1000 exact numbers", "%s: %s" % (name, wrong))
        exact.append(name)
    reason = "built, serialised, deserialised and run, exact in %s" % ", ".join(exact)
    if via == "trtexec":
        reason += "; " + WEAKER
    if without:
        reason += "; not built: %s" % "; ".join(without)
    return passed("%d precisions" % len(exact), "1000 exact numbers in each", reason)


def _version(values: Values) -> Optional[str]:
    if values.get("version_number") is not None:
        return dotted(integer(values, "version_number"))
    return ".".join(text(values, "version").split(".")[:3])


def _wrong(one: Dict[str, Any]) -> Optional[str]:
    """Return what is wrong with one precision's engine, or None."""
    if one.get("error"):
        return str(one["error"])
    for key, shape in SHAPES.items():
        if entries(one, key) != shape:
            return "its %s is %s: it is another network" % (key.replace("_", " "), one[key])
    # FP16 weights of the matrix alone take 784000 bytes; low precisions half of it.
    if integer(one, "plan_bytes") < 100000:
        return "an engine of %d bytes cannot hold the weights" % one["plan_bytes"]
    checked, wrong = integer(one, "checked"), integer(one, "wrong")
    if checked != 1000:
        return "%d numbers came out" % checked
    if integer(one, "untouched") == checked:
        return "nothing was written to the output"
    if integer(one, "not_finite"):
        return "%d of 1000 outputs are no numbers" % one["not_finite"]
    if one.get("all_zero"):
        return "nothing but zeros came out"
    if wrong:
        return "%d of 1000 numbers are wrong, by up to %s" % (wrong, one.get("largest_error"))
    repeats, equal = integer(one, "repeats"), integer(one, "repeats_equal")
    if repeats < 1:
        return "it ran only once"
    if equal != repeats:
        return "%d of %d repetitions gave other numbers" % (repeats - equal, repeats)
    return None


@check(
    "tensorrt.accuracy",
    "tensorrt",
    "TensorRT's FP32 is right and its FP16 drifts no further than half precision must",
    needs=("images", "largest_output", "fp16_max_abs", "fp32_max_abs", "not_finite"),
    per_gpu=True,
    level="execution",
)
def tensorrt_accuracy(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the network of real numbers."""
    if integer(values, "not_finite"):
        found = "%d outputs" % values["not_finite"]
        return failed(found, "numbers", "outputs are no numbers")
    largest, images = number(values, "largest_output"), integer(values, "images")
    if not largest > 0 or images < 1:
        return failed("%g" % largest, "outputs", "nothing but zeros came out")
    full, half = number(values, "fp32_max_abs") / largest, number(values, "fp16_max_abs") / largest
    agree = integer(values, "top1_agree")
    measured = "FP16 %.1e off, FP32 %.1e; same class in %d of %d" % (half, full, agree, images)
    expected = "at most %g and %g of the largest output" % (FP16_TOLERANCE, FP32_TOLERANCE)
    if full > FP32_TOLERANCE:
        return failed(measured, expected, "FP32 is not what double precision gives")
    if half > FP16_TOLERANCE:
        return failed(measured, expected, "FP16 drifts further than its rounding explains")
    if agree != images:
        return failed(measured, expected, "FP16 sees other classes, though the margins are wide")
    if half == 0:
        return failed(measured, expected, "FP16 gives the very same numbers: it is not FP16")
    reason = "within what half precision must lose"
    if values.get("via") == "trtexec":
        reason += "; " + WEAKER
    return passed(measured, expected, reason)


@check(
    "tensorrt.latency",
    "tensorrt",
    "The classifier's median and p99 latency, FP32 and FP16",
    needs=("fp32", "fp16"),
    per_gpu=True,
    level="execution",
)
def tensorrt_latency(context: Context, values: Values, expect: Values) -> Answer:
    """Judge latencies against the policy's own limits; the catalogue has none."""
    shown = []
    for name in MUST:
        one = dict(values[name])
        median, p99 = number(one, "median_ms"), number(one, "p99_ms")
        shown.append("%s %.3f ms (p99 %.3f)" % (name.upper(), median, p99))
        if integer(one, "samples") < LEAST_SAMPLES:
            return unmeasured("%d runs are too few for a 99th percentile" % one["samples"])
        if not 0 < median <= p99:
            return failed(shown[-1], "0 < median ≤ p99", "these are no latencies")
    measured = ", ".join(shown)
    limits = dict(expect.get("p99_ms") or {})
    if not limits:
        return no_reference(measured, "no latency is known for this GPU; the policy names none")
    expected = ", ".join("%s p99 ≤ %g ms" % (k.upper(), v) for k, v in sorted(limits.items()))
    for name, limit in sorted(limits.items()):
        if number(dict(values[name]), "p99_ms") > float(limit):
            return failed(measured, expected, "%s is too slow" % name.upper())
    return passed(measured, expected, "within the policy's limits")
