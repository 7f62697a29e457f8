"""What is measured of the classifier through the bindings: exactness, drift, latency."""

from __future__ import annotations

import array
import hashlib
import math
import time
from typing import Any, Callable, Dict, List, Sequence

from ..cuda.driver_api import Driver
from . import classifier
from .bindings import UNTOUCHED, Bindings, Engine

Values = Dict[str, Any]
Run = Callable[[str, "array.array[float]"], Sequence[float]]
LEAST_SAMPLES = 100  # below this the 99th percentile is the maximum


def compared(data: bytes, wanted: Sequence[float]) -> Values:
    """Return how far an answer is from what must come out, bit for bit."""
    found = classifier.floats(data)
    nobody = bytes([UNTOUCHED]) * 4
    errors = [abs(f - w) for f, w in zip(found, wanted) if math.isfinite(f)]
    return {
        "checked": len(found),
        "wrong": sum(f != w for f, w in zip(found, wanted)),
        "not_finite": sum(not math.isfinite(f) for f in found),
        "untouched": sum(data[at : at + 4] == nobody for at in range(0, len(data), 4)),
        "all_zero": not any(found),
        "largest_error": max(errors, default=None),
    }


def exactness(bindings: Bindings, driver: Driver, precision: str) -> Values:
    """Build the network of whole numbers, take it through its life twice, and compare."""
    network, image = classifier.exact(), classifier.exact_image()
    begun = time.monotonic()
    plan = bindings.build(network, precision, 1)
    values: Values = {
        "build_s": time.monotonic() - begun,
        "plan_bytes": len(plan),
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
    }
    engine = Engine(bindings, plan, driver)
    try:
        first = engine.answer(image)
        values["input_shape"] = engine.shapes["image"]
        values["output_shape"] = engine.shapes["classes"]
        again = [engine.answer(image) for _ in range(2)]
    finally:
        engine.close()
    values.update(compared(first, classifier.exact_answer()))
    other = Engine(bindings, plan, driver)  # the same plan, deserialised once more
    try:
        again.append(other.answer(image))
    finally:
        other.close()
    values["repeats"] = len(again)
    values["repeats_equal"] = sum(answer == first for answer in again)
    return values


def drift(network: classifier.Network, run: Run) -> Values:
    """Return how far FP16 is from FP32, and FP32 from double precision, in the same units.

    Args:
        network: The network of real numbers.
        run: Precision and image → the 1000 numbers that come out.
    """
    largest = apart = relative = 0.0
    broken = agree = 0
    far: List[float] = []
    for number in classifier.IMAGES:
        image = classifier.real_image(number)
        full, half = run("fp32", image), run("fp16", image)
        broken += sum(not math.isfinite(v) for v in [*full, *half])
        largest = max([largest, *(abs(v) for v in full if math.isfinite(v))])
        for a, b in zip(full, half):
            if math.isfinite(a) and math.isfinite(b):
                apart = max(apart, abs(a - b))
                relative = max(relative, abs(a - b) / max(abs(a), 1e-2 * largest))
        agree += _best(full) == _best(half)
        if not far:
            far = [abs(f - w) for f, w in zip(full, classifier.answer(network, image))]
    return {
        "images": len(classifier.IMAGES),
        "not_finite": broken,
        "largest_output": largest,
        "fp16_max_abs": apart,
        "fp16_max_rel": relative,
        "fp32_max_abs": max(far) if all(map(math.isfinite, far)) else None,
        "top1_agree": agree,
    }


class Real:
    """The network of real numbers in FP32 and FP16: drift first, then latency."""

    def __init__(self, bindings: Bindings, driver: Driver, level: int) -> None:
        self._network = classifier.real()
        self._engines = {}
        for precision in ("fp32", "fp16"):
            plan = bindings.build(self._network, precision, level)
            self._engines[precision] = Engine(bindings, plan, driver)

    def drift(self) -> Values:
        """Return `drift` of these engines."""
        return drift(
            self._network,
            lambda kind, image: classifier.floats(self._engines[kind].answer(image)),
        )

    def latency(self, seconds: float) -> Values:
        """Return the time of one run by the host's clock, by precision, milliseconds."""
        values: Values = {"timed_s": seconds}
        image = classifier.real_image(classifier.IMAGES[0])
        for precision, engine in self._engines.items():
            engine.set_image(image)
            for _ in range(10):
                engine.run()
            took: List[float] = []
            stop = time.perf_counter() + seconds
            while len(took) < LEAST_SAMPLES or time.perf_counter() < stop:
                begun = time.perf_counter()
                engine.run()
                took.append(time.perf_counter() - begun)
            values[precision] = timed(took)
        return values


def timed(took: Sequence[float]) -> Values:
    """Return median and 99th percentile of seconds, as milliseconds."""
    ordered = sorted(took)
    return {
        "median_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
        "samples": len(ordered),
    }


def _best(numbers: Sequence[float]) -> int:
    finite = [(v if math.isfinite(v) else -math.inf) for v in numbers]
    return max(range(len(finite)), key=finite.__getitem__)
