"""The cuDNN leg on a simulated GPU: green when it is healthy, each fault named for what it is."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from cudactl.judge import judge
from cudactl.probe.cuda.convolutions import Example, Shape, ordered
from tests.judge.healthy import GPU, NOW, fresh
from tests.legs.conftest import Measure, values

LIBRARIES = {
    "cudart": "libcudart.so.13",
    "cublaslt": "libcublasLt.so.13",
    "cublas": "libcublas.so.13",
    "nvrtc": "libnvrtc.so.13",
    "cudnn": "libcudnn.so.9",
}
SIZE = {"exact": [2, 3, 5, 6, 4], "speed": [1, 4, 6, 6, 8]}
OPERATIONS = ("forward", "backward_data", "backward_filter")
Found = dict[str, tuple[str, str]]


@pytest.fixture
def measured(measure_on: Measure) -> Measure:
    """Run cuDNN's part at sizes that suit a processor."""

    def run(**more: Any) -> dict[str, Any]:
        request = {"timed_s": 0.01, "size": SIZE}
        return measure_on("cudnn", more.pop("libraries", LIBRARIES), **{**request, **more})

    return run


def judged(result: dict[str, Any]) -> Found:
    """Return check → (status, reason) of a healthy machine whose GPU measured `result`."""
    evidence, policy = fresh("gpu")
    evidence["legs"] = [
        leg for leg in evidence["legs"] if (leg["leg"], leg["gpu"]) != ("cudnn", GPU["id"])
    ]
    evidence["legs"].append(result)
    for expectation in policy["expectations"]:
        if expectation["check"].partition(".")[2] in OPERATIONS:
            expectation["expect"]["compared"] = 100
    certificate = judge(evidence, policy, "h1", NOW)
    if result["libraries"]:
        assert certificate["level"] == "simulated", "never mistaken for a real GPU's"
    verdicts = [v for v in certificate["verdicts"] if v["leg"] == "cudnn" and v["gpu"]]
    return {v["check"].partition(".")[2]: (v["status"], v["reason"]) for v in verdicts}


def red(found: Found) -> dict[str, str]:
    """Return what is not green, with its reason."""
    return {check: why for check, (status, why) in found.items() if status in ("FAIL", "ERROR")}


def test_a_healthy_gpu_passes_every_check(measured: Measure) -> None:
    result = measured()
    found = judged(result)
    assert {check: status for check, (status, _) in found.items()} == dict.fromkeys(
        (*OPERATIONS, "speed", "ran_on_gpu"), "PASS"
    )
    assert found["forward"][1] == (
        "4 algorithms right; cuDNN refuses fft_tiling, winograd on this GPU"
    )
    runs = values(result, "cudnn.forward")["runs"]
    assert {(run["kind"], run["layout"]) for run in runs} == {
        (kind, layout) for kind in ("fp32", "tf32", "fp16") for layout in ("nchw", "nhwc")
    }
    assert values(result, "cudnn.speed")["tflops_median"] == pytest.approx(480, rel=1e-3)


WRONG = {
    "flip_bit": "1 wrong values",
    "nan": "nan instead of",
    "zeros": "0.0 instead of",
    "nothing": "first at 0: nan instead of",
    "stale": "instead of",
    "ulp": "1 wrong values",
    "flipped": "instead of",
    "border": "instead of",
    "layout": "instead of",
}


@pytest.mark.parametrize("fault", sorted(WRONG))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_wrong_convolution_is_found_where_it_is_wrong(
    measured: Measure, fault: str, operation: str
) -> None:
    found = red(judged(measured(faults={f"conv.{fault}.{operation}": 1})))
    assert set(found) - {"speed"} == {operation}
    assert WRONG[fault] in found[operation]


def test_what_only_fp16_gets_wrong_is_laid_on_fp16(measured: Measure) -> None:
    found = red(judged(measured(faults={"conv.half": 1})))
    assert set(found) == set(OPERATIONS)
    assert "in FP16 NCHW: 1 wrong values" in found["backward_data"]


def test_a_transform_may_round_but_not_by_half(measured: Measure) -> None:
    found = red(judged(measured(faults={"conv.rough": 1})))
    assert set(found) == set(OPERATIONS)
    assert "winograd_nonfused in FP32 NCHW: 240 values, off by up to 0.5" in found["forward"]


def test_a_gpu_on_which_every_algorithm_is_refused_does_not_pass(measured: Measure) -> None:
    found = red(judged(measured(faults={"conv.unsupported.backward_filter": 1})))
    assert set(found) == {"backward_filter"}
    assert "no exact algorithm computes in FP32" in found["backward_filter"]
    assert "CUDNN_STATUS_NOT_SUPPORTED" in found["backward_filter"]


def test_a_call_that_fails_is_told_with_its_status(measured: Measure) -> None:
    found = red(judged(measured(faults={"conv.status.backward_data": 5000})))
    assert set(found) == {"backward_data"}
    assert (
        "algo_0 in FP32 NCHW: cudnnConvolutionBackwardData answers 5000"
        " (CUDNN_STATUS_EXECUTION_FAILED); and 13 more" in found["backward_data"]
    )


def test_a_bit_that_flips_now_and_then_is_found_under_load(measured: Measure) -> None:
    found = red(judged(measured(faults={"conv.flaky": 52})))
    assert set(found) == {"speed"}
    assert "other bits when it is repeated" in found["speed"]


def test_a_rate_that_cannot_be_is_no_pass(measured: Measure) -> None:
    found = red(judged(measured(faults={"speed.slow.conv": 0.01})))
    assert set(found) == {"speed"}
    assert "nothing can have been computed" in found["speed"]


@pytest.mark.parametrize("status", [1001, 1002])
def test_a_cudnn_that_cannot_start_is_told_everywhere(measured: Measure, status: int) -> None:
    found = judged(measured(faults={"cudnn.create": status}))
    assert all(found[check][0] == "FAIL" for check in (*OPERATIONS, "speed"))
    assert f"cudnnCreate answers {status} (CUDNN_STATUS_" in found["forward"][1]


def test_a_missing_library_is_named(measured: Measure) -> None:
    without = {name: soname for name, soname in LIBRARIES.items() if name != "cudnn"}
    assert "cudnn" in judged(measured(libraries=without))["forward"][1]


def test_a_crash_keeps_what_was_measured_before(measured: Measure) -> None:
    found = judged(measured(faults={"crash.cudnnConvolutionBackwardFilter": 1}))
    assert {check: status for check, (status, _) in found.items()} == {
        "forward": "PASS",
        "backward_data": "PASS",
        "backward_filter": "ERROR",
        "speed": "ERROR",
        "ran_on_gpu": "FAIL",
    }
    assert "SIGSEGV" in found["ran_on_gpu"][1]


def test_a_hang_ends_at_the_deadline(measured: Measure) -> None:
    found = judged(measured(faults={"hang.cudnnConvolutionForward": 1}, deadline_s=5))
    assert "no end within 5 s" in found["ran_on_gpu"][1]


def test_the_reference_is_what_the_definition_says() -> None:
    shape = Shape(2, 2, 3, 4, 3)
    example = Example(4, shape)
    (x, _), (w, _) = example.operands["forward"]
    _, (dy, _) = example.operands["backward_data"]
    y = [0] * (2 * 3 * 3 * 4)
    dx, dw = [0] * len(x), [0] * len(w)
    for n in range(2):
        for k in range(3):
            for p in range(3):
                for q in range(4):
                    for c in range(2):
                        for r in range(3):
                            for s in range(3):
                                i, j = p + r - 1, q + s - 1
                                if not (0 <= i < 3 and 0 <= j < 4):
                                    continue
                                at_x = ((n * 2 + c) * 3 + i) * 4 + j
                                at_w = ((k * 2 + c) * 3 + r) * 3 + s
                                at_y = ((n * 3 + k) * 3 + p) * 4 + q
                                y[at_y] += x[at_x] * w[at_w]
                                dx[at_x] += dy[at_y] * w[at_w]
                                dw[at_w] += dy[at_y] * x[at_x]
    assert example.results["forward"][0] == y
    assert example.results["backward_data"][0] == dx
    assert example.results["backward_filter"][0] == dw


def test_channels_last_is_channels_last() -> None:
    assert ordered(list(range(8)), (1, 2, 2, 2), "nhwc") == [0, 4, 1, 5, 2, 6, 3, 7]
    assert ordered(array("b", range(8)), (1, 2, 2, 2), "nchw") == list(range(8))
