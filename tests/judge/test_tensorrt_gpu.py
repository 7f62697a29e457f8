"""Where the tensorrt leg's verdicts on a GPU change, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import value
from tests.judge.verdicts import Document, said

ENGINE, ACCURACY, LATENCY = "tensorrt.engine", "tensorrt.accuracy", "tensorrt.latency"
WEAKER = "; through trtexec, which is weaker evidence than the Python bindings"


def engine(precision: str = "fp32", **values: object) -> tuple[str, str, str, str]:
    return said(ENGINE, change=lambda e: value(e, ENGINE)["precisions"][precision].update(values))


def test_an_engine_says_in_which_precisions_it_was_exact() -> None:
    assert said(ENGINE) == (
        "PASS",
        "4 precisions",
        "1000 exact numbers in each",
        "built, serialised, deserialised and run, exact in fp32, fp16, int8, fp8",
    )


def test_a_low_precision_that_cannot_be_built_is_told_and_the_rest_is_still_looked_at() -> None:
    found = engine("int8", error="no implementation " + "x" * 200)
    assert found[:2] == ("PASS", "3 precisions")
    assert found[3].endswith(
        "exact in fp32, fp16, fp8; not built: int8 (no implementation " + "x" * 102 + ")"
    )

    def change(evidence: Document) -> None:
        value(evidence, ENGINE)["precisions"]["int8"]["error"] = "none for it"
        value(evidence, ENGINE)["precisions"]["fp8"]["wrong"] = 7

    assert said(ENGINE, change=change)[:2] == ("FAIL", "fp8")


def test_what_came_through_trtexec_says_that_it_is_weaker() -> None:
    by_trtexec = {
        "via": "trtexec",
        "path": "/anywhere/trtexec",
        "version": "",
        "version_number": 101303,
    }
    found = said(ENGINE, expect={"via": None}, **by_trtexec)
    assert (found.status, found.reason) == (
        "PASS",
        "built, serialised, deserialised and run, exact in fp32, fp16, int8, fp8" + WEAKER,
    )
    assert said(ENGINE, **by_trtexec)[:3] == ("FAIL", "trtexec", "the Python bindings")
    assert said(ENGINE, **by_trtexec).reason == "the bindings do not import: no reason given"
    assert said(ACCURACY, via="trtexec").reason.endswith("must lose" + WEAKER)
    assert said(ACCURACY).reason == "within what half precision must lose"


def test_a_version_is_compared_by_three_parts() -> None:
    assert said(ENGINE, version="10.13.3").status == "PASS"
    assert said(ENGINE, version="10.13.4.9")[:3] == ("FAIL", "10.13.4", "10.13.3")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"plan_bytes": 99_999}, "an engine of 99999 bytes cannot hold the weights"),
        ({"plan_bytes": 100_000}, None),
        ({"input_shape": [1, 3, 32, 32]}, "its input shape is [1, 3, 32, 32]: it is another"),
        ({"checked": 1001}, "1001 numbers came out"),
        ({"untouched": 999}, None),
        ({"untouched": 1000}, "nothing was written to the output"),
        ({"not_finite": 1}, "1 of 1000 outputs are no numbers"),
        ({"all_zero": True}, "nothing but zeros came out"),
        ({"wrong": 1, "largest_error": 4.0}, "1 of 1000 numbers are wrong, by up to 4.0"),
        ({"repeats": 0, "repeats_equal": 0}, "it ran only once"),
        ({"repeats": 1, "repeats_equal": 1}, None),
        ({"repeats": 3, "repeats_equal": 1}, "2 of 3 repetitions gave other numbers"),
    ],
)
def test_an_engine_is_right_up_to_its_edges(values: Document, says: str | None) -> None:
    found = engine("fp16", **values)
    if says is None:
        assert found[0] == "PASS"
    else:
        assert found[:3] == ("FAIL", "fp16", "1000 exact numbers")
        assert found[3].startswith("fp16: " + says)


@pytest.mark.parametrize(
    ("values", "status", "says"),
    [
        ({"fp32_max_abs": 1e-4, "largest_output": 1.0}, "PASS", "within"),
        ({"fp32_max_abs": 1.1e-4, "largest_output": 1.0}, "FAIL", "FP32 is not what double"),
        ({"fp16_max_abs": 0.02, "largest_output": 1.0}, "PASS", "within"),
        ({"fp16_max_abs": 0.021, "largest_output": 1.0}, "FAIL", "FP16 drifts further"),
        ({"fp16_max_abs": 0.0}, "FAIL", "it is not FP16"),
        # What is off is held against the size of the outputs.
        ({"fp16_max_abs": 0.2, "fp32_max_abs": 1e-3, "largest_output": 10.0}, "PASS", "within"),
        ({"fp16_max_abs": 0.002, "largest_output": 0.05}, "FAIL", "FP16 drifts further"),
        ({"largest_output": -1.0}, "FAIL", "nothing but zeros"),
        ({"images": 0, "top1_agree": 0}, "FAIL", "nothing but zeros"),
        ({"images": 1, "top1_agree": 1}, "PASS", "within"),
        ({"top1_agree": 3}, "FAIL", "FP16 sees other classes"),
        ({"not_finite": 2}, "FAIL", "outputs are no numbers"),
    ],
)
def test_accuracy_is_enough_up_to_its_edges(values: Document, status: str, says: str) -> None:
    found = said(ACCURACY, **values)
    assert found.status == status
    assert says in found.reason


def test_accuracy_shows_how_far_both_precisions_are_off() -> None:
    values = {"largest_output": 2.0, "fp16_max_abs": 0.01, "fp32_max_abs": 2e-6}
    assert said(ACCURACY, **values)[1:3] == (
        "FP16 5.0e-03 off, FP32 1.0e-06; same class in 4 of 4",
        "at most 0.02 and 0.0001 of the largest output",
    )
    assert said(ACCURACY, not_finite=2)[1:3] == ("2 outputs", "numbers")
    assert said(ACCURACY, largest_output=0)[1:3] == ("0", "outputs")


def latency(expect: Document | None = None, **fp16: Any) -> tuple[str, str, str, str]:
    return said(LATENCY, expect=expect, change=lambda e: value(e, LATENCY)["fp16"].update(fp16))


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"samples": 99}, "ERROR"),
        ({"samples": 100}, "PASS"),
        ({"median_ms": 0.070, "p99_ms": 0.070}, "PASS"),
        ({"median_ms": 0.071, "p99_ms": 0.070}, "FAIL"),
        ({"median_ms": 0}, "FAIL"),
        ({"p99_ms": 1.0}, "PASS"),
        ({"p99_ms": 1.001}, "FAIL"),
    ],
)
def test_a_latency_is_one_up_to_its_edges(values: Document, status: str) -> None:
    assert latency(**values)[0] == status


def test_latencies_are_shown_and_judged_by_the_policys_limits_only() -> None:
    measured = "FP32 0.061 ms (p99 0.074), FP16 0.058 ms (p99 0.070)"
    assert latency() == (
        "PASS",
        measured,
        "FP16 p99 ≤ 1 ms, FP32 p99 ≤ 1 ms",
        "within the policy's limits",
    )
    assert latency({"p99_ms": {"fp32": 0.05}}) == (
        "FAIL",
        measured,
        "FP32 p99 ≤ 0.05 ms",
        "FP32 is too slow",
    )
    assert latency({"p99_ms": None})[:2] == ("NO_REFERENCE", measured)
    assert latency(median_ms=0)[1:3] == ("FP16 0.000 ms (p99 0.070)", "0 < median ≤ p99")
