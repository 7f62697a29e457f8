"""frameworks: PyTorch and TensorFlow of the user's interpreter, each asked the same.

Their wheels bring CUDA libraries of their own: what they compute says that the GPU, the driver and
those libraries are right, and nothing about CUDA as it is installed beside them. Verdicts say so.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from ..context import Answer, Context, cuda_version, entries, integer, number, text
from .registry import Decide, Values, check, failed, no_reference, passed, unmeasured

NAMES = {"torch": "PyTorch", "tensorflow": "TensorFlow"}
# Gradient descent in FP32 ends within a few roundings of the closed form: entries of about 3 have
# a spacing of 2.4e-7; two orders of magnitude are left for other orders of summation.
REGRESSION_TOLERANCE = 1e-4
LEAST_ACCURACY = 0.95
"""The four generated patterns are told apart without an error on a processor."""
ARCHITECTURE = re.compile(r"^(sm|compute)_(\d+)(\d)[af]?$")


def loaded(context: Context, values: Values, expect: Values) -> Answer:
    """Judge which copy was imported, what it carries, and whether it has code for this GPU."""
    wanted = str(expect["version"])
    version, path = text(values, "version"), text(values, "path")
    sites = [str(site).rstrip("/") + "/" for site in expect.get("sites") or []]
    if sites and not any(path.startswith(site) for site in sites):
        return failed(path, sites[0], "shadowed: another copy is imported in its place")
    if version.partition("+")[0] != wanted:
        return failed(version, wanted, "it is of another version")
    built = values.get("cuda_version")
    if values.get("available") is not True:
        why = "it sees no GPU, though it is built for CUDA %s" % built
        if not built:
            why = "it is a build for processors only"
        return failed(version, wanted, why)
    built = text(values, "cuda_version")
    wrong = _mixed(values, built)
    if wrong:
        return failed(version, wanted, wrong)
    capability = text(values, "capability")
    architectures = [str(one) for one in entries(values, "architectures")]
    if not architectures:
        return unmeasured("it does not say which GPUs it has code for", wanted)
    if not has_code(capability, architectures):
        reason = "it has no code for compute capability %s (%s)" % (
            capability,
            " ".join(architectures),
        )
        return failed(version, wanted, reason)
    return passed(version, wanted, _carried(values, built, path))


def _mixed(values: Values, built: str) -> Optional[str]:
    """Return why the libraries in its memory do not belong together, or None."""
    short = ".".join(built.split(".")[:2])
    if values.get("cudart_number") is not None:
        found = cuda_version(integer(values, "cudart_number"))
        if found != short:
            return "it is built for CUDA %s, and libcudart %s was loaded" % (short, found)
    if values.get("cudnn_number") is not None and values.get("cudnn_loaded_number") is not None:
        asked, mapped = integer(values, "cudnn_number"), integer(values, "cudnn_loaded_number")
        if asked != mapped:
            return "it says cuDNN %d, and the libcudnn in its memory says %d" % (asked, mapped)
    if values.get("driver_cuda_number") is not None:
        driver = cuda_version(integer(values, "driver_cuda_number"))
        if int(driver.split(".")[0]) < int(short.split(".")[0]):
            return "it brings CUDA %s, and the driver only knows CUDA %s" % (short, driver)
    for kind in ("cudart", "cudnn", "cublas"):
        files = [p for p in entries(values, "libraries") if "/lib%s.so" % kind in p]
        if len(files) > 1:
            return "two copies of lib%s are in its memory: %s" % (kind, " and ".join(files))
    return None


def _carried(values: Values, built: str, path: str) -> str:
    site = path.rsplit("/", 2)[0] + "/"  # the folder above the framework's own
    libraries = [str(p) for p in entries(values, "libraries") if "/libcuda.so" not in p]
    foreign = [p for p in libraries if not p.startswith(site)]
    if foreign:
        return "it uses CUDA %s, and loads from outside of its own folder: %s" % (
            built,
            ", ".join(foreign),
        )
    return (
        "it carries its own CUDA %s, so what it computes says nothing about the CUDA, cuBLAS and "
        "cuDNN that are installed beside it" % built
    )


def has_code(capability: str, architectures: List[str]) -> bool:
    """Return whether a GPU can run one of the builds: same major, or portable code for an older.

    "sm_86" runs on 8.6 to 8.9; "sm_90a" on 9.0 only; "compute_80" on 8.0 and everything later.
    """
    major, minor = (int(part) for part in capability.split("."))
    for name in architectures:
        match = ARCHITECTURE.match(name)
        if match is None:
            continue
        has = (int(match.group(2)), int(match.group(3)))
        if name.endswith("a") and has != (major, minor):
            continue
        if match.group(1) == "compute" and has <= (major, minor):
            return True
        if match.group(1) == "sm" and has[0] == major and has[1] <= minor:
            return True
    return False


def exact(key: str, what: str, must: Tuple[str, ...]) -> Decide:
    """Return a decision: every number of every kind is right, bit for bit."""

    def decide(context: Context, values: Values, expect: Values) -> Answer:
        found: Dict[str, Dict[str, Any]] = dict(values[key])
        missing = [one for one in must if not any(kind.startswith(one) for kind in found)]
        if missing:
            return unmeasured("%s in %s was not measured" % (what, ", ".join(missing)))
        total = 0
        for kind, numbers in sorted(found.items()):
            checked, wrong = integer(numbers, "checked"), integer(numbers, "wrong")
            expected = "%d exact numbers" % integer(numbers, "expected")
            total += checked
            if checked == 0 or checked != numbers["expected"]:
                return failed(
                    "%d numbers" % checked, expected, "%s: the result is not whole" % kind
                )
            if wrong == 0 and numbers.get("not_finite") == 0:
                continue
            reason = "%s: %d of %d numbers are wrong, by up to %s" % (
                kind,
                wrong,
                checked,
                numbers.get("largest_error"),
            )
            if numbers.get("not_finite"):
                reason = "%s: %d of %d are no numbers" % (kind, numbers["not_finite"], checked)
            elif numbers.get("all_zero"):
                reason = "%s: nothing but zeros came back" % kind
            elif kind.startswith("fp32") and what == "matmul" and wrong > checked // 2:
                reason += " (is it TF32 in truth?)"
            return failed("%d wrong" % wrong, expected, reason)
        kinds = ", ".join(sorted(found))
        return passed("%d numbers" % total, "all exact", "%s is exact: %s" % (what, kinds))

    return decide


def training(context: Context, values: Values, expect: Values) -> Answer:
    """Judge where training ended."""
    if values.get("finite") is not True:
        return failed("not finite", "finite weights", "training ended in what are no numbers")
    error, accuracy = number(values, "regression_error"), number(values, "accuracy")
    measured = "%.1e off, accuracy %.3f" % (error, accuracy)
    expected = "at most %.0e off, accuracy %.2f" % (REGRESSION_TOLERANCE, LEAST_ACCURACY)
    if not 0 <= error <= REGRESSION_TOLERANCE:
        return failed(measured, expected, "gradient descent misses the closed-form solution")
    if not LEAST_ACCURACY <= accuracy <= 1:
        return failed(measured, expected, "the small network does not learn what it must")
    return passed(measured, expected, "training reaches its known end")


def digest(context: Context, values: Values, expect: Values) -> Answer:
    """Judge whether the same work gives the same bits, here and elsewhere."""
    first, again = text(values, "digest"), text(values, "again")
    if first != again:
        reason = "the same deterministic training gave two results: silent corruption is likely"
        return failed(again[:16], first[:16], reason)
    wanted = expect.get("digest")
    if wanted and first != wanted:
        reason = "other hosts with this GPU and these versions reach another result"
        return failed(first[:16], str(wanted)[:16], reason)
    held = "as others do" if wanted else "twice"
    return passed(first[:16], str(wanted or first)[:16], "the same bits, %s" % held)


def throughput(context: Context, values: Values, expect: Values) -> Answer:
    """Judge the speed of large matmuls as a share of the GPU's own."""
    kind, rate = text(values, "matmul_type"), number(values, "matmul_tflops")
    measured = "%.4g Tflop/s %s" % (rate, kind)
    if not rate > 0:
        return failed(measured, "", "it computed nothing")
    reference = (context.reference or {}).get("tflops") or {}
    if kind not in reference:
        return no_reference(measured, "nothing is known of this GPU's %s" % kind)
    share, source = float(expect["share"]), str(expect["share_source"])
    floor = share * float(reference[kind])
    expected = "at least %.4g (%.2f of %.4g)" % (floor, share, reference[kind])
    if rate < floor:
        return failed(measured, expected, "matmuls are too slow for this GPU")
    if rate > 1.05 * float(reference[kind]):
        return failed(measured, expected, "faster than the GPU can be: it did not do the work")
    return passed(measured, expected, source)


for _name, _called in NAMES.items():
    for _what, _title, _needs, _decide, _level in (
        (
            "loaded",
            "%s is the locked one, sees the GPU and has code for it",
            ("version", "path", "libraries"),
            loaded,
            "linkage",
        ),
        (
            "matmul",
            "%s multiplies matrices of whole numbers exactly",
            ("by_type",),
            exact("by_type", "matmul", ("fp64", "fp32")),
            "execution",
        ),
        (
            "convolution",
            "%s convolves whole numbers exactly",
            ("by_kind",),
            exact("by_kind", "convolution", ("fp32",)),
            "execution",
        ),
        (
            "training",
            "%s trains to a known end",
            ("finite", "accuracy"),
            training,
            "execution",
        ),
        (
            "digest",
            "%s gives the same bits for the same work",
            ("digest", "again"),
            digest,
            "execution",
        ),
        (
            "throughput",
            "%s is as fast as this GPU should be",
            ("matmul_type", "matmul_tflops"),
            throughput,
            "performance",
        ),
    ):
        check(
            "frameworks.%s.%s" % (_name, _what),
            "frameworks",
            _title % _called,
            needs=_needs,
            per_gpu=True,
            level=_level,
        )(_decide)
