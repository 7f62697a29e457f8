"""The toolkit's products judged: what a GPU lacks, what is unknown of it, and where floors lie."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.judge import judge
from tests.judge.healthy import NOW, fresh, value

Document = dict[str, Any]
Pair = tuple[Document, Document]


@pytest.fixture
def pair() -> Pair:
    """A healthy H200 and the policy of its lock."""
    return fresh("gpu")


def verdict(pair: Pair, check: str) -> Document:
    certificate = judge(*pair, "h1", NOW)
    found: Document = next(v for v in certificate["verdicts"] if v["check"] == f"toolkit.{check}")
    return found


def status(pair: Pair, check: str) -> str:
    return str(verdict(pair, check)["status"])


def reference(pair: Pair, **changed: object) -> Document:
    found: Document = pair[1]["references"]["2335"]
    found.update(changed)
    return found


def test_a_generation_without_a_type_is_skipped_by_the_table(pair: Pair) -> None:
    reference(pair, cc="7.5", name="T4")
    assert status(pair, "matmul.fp8") == status(pair, "speed.bf16") == "SKIP"
    assert verdict(pair, "matmul.tf32")["reason"] == (
        "the GPU table: T4 (compute capability 7.5) has no TF32, which begins with 8.0"
    )
    assert status(pair, "matmul.int8") == "PASS", "which begins with just this generation"
    assert status(pair, "matmul.fp16") == "PASS"


def test_no_tensor_cores_no_gain(pair: Pair) -> None:
    reference(pair, cc="6.1")
    assert "has no Tensor Cores" in verdict(pair, "tensor_gain")["reason"]
    reference(pair, cc="7.0")
    assert status(pair, "tensor_gain") == "PASS"


def test_of_an_unknown_gpu_its_own_word_is_taken_and_nothing_judged(pair: Pair) -> None:
    del pair[1]["references"]["2335"]
    value(pair[0], "toolkit.device")["cc"] = "8.6"
    fp8 = verdict(pair, "matmul.fp8")
    assert (fp8["status"], fp8["measured"]) == ("NO_REFERENCE", "compute capability 8.6")
    assert fp8["reason"] == "a GPU that is not in the table says that it has no FP8"
    assert status(pair, "matmul.bf16") == "PASS"
    assert status(pair, "speed.bf16") == status(pair, "tensor_gain") == "NO_REFERENCE"
    value(pair[0], "toolkit.device")["cc"] = "8.9"
    assert status(pair, "matmul.fp8") == "PASS"
    del value(pair[0], "toolkit.device")["cc"]
    assert status(pair, "matmul.fp8") == "PASS"


def test_wrong_is_wrong_on_an_unknown_gpu_too(pair: Pair) -> None:
    del pair[1]["references"]["2335"]
    value(pair[0], "toolkit.speed.bf16")["repeats_differ"] = True
    value(pair[0], "toolkit.matmul.bf16").update(wrong_values=1, wrong_rows=1)
    assert status(pair, "speed.bf16") == status(pair, "matmul.bf16") == "FAIL"


@pytest.mark.parametrize(
    ("median", "expected"),
    [(500.0, "PASS"), (499.9, "FAIL"), (2000.0, "PASS"), (2000.1, "FAIL")],
)
def test_a_rate_lies_between_its_floor_and_the_sparse_rate(
    pair: Pair, median: float, expected: str
) -> None:
    reference(pair, tflops={"bf16": 1000.0, "fp32": 60.0})
    check = next(e for e in pair[1]["expectations"] if e["check"] == "toolkit.speed.bf16")
    check["expect"]["share"] = 0.5
    value(pair[0], "toolkit.speed.bf16")["tflops_median"] = median
    found = verdict(pair, "speed.bf16")
    assert found["status"] == expected
    if median < 1000:
        assert found["expected"] == "500 Tflop/s (0.50 of 1000)"
        assert found["reason"] == "0.50 of the data sheet, at size 8192"
    elif expected == "FAIL":
        assert found["expected"] == "at most 2000 Tflop/s"


def test_a_card_that_its_power_limit_holds_back_is_not_judged_by_the_sheet(pair: Pair) -> None:
    value(pair[0], "toolkit.speed.bf16")["tflops_median"] = 100.0
    reference(pair, watts=99.9)
    assert status(pair, "speed.bf16") == status(pair, "tensor_gain") == "NO_REFERENCE"
    reference(pair, watts=100.0)
    assert status(pair, "speed.bf16") == "FAIL"
    reference(pair, watts=None)
    assert status(pair, "speed.bf16") == "FAIL"


@pytest.mark.parametrize(("error", "expected"), [(0.05, "PASS"), (0.051, "FAIL")])
def test_an_error_under_load_may_be_a_rounding(pair: Pair, error: float, expected: str) -> None:
    value(pair[0], "toolkit.speed.bf16")["worst_error_sigma"] = error
    assert status(pair, "speed.bf16") == expected


@pytest.mark.parametrize(("gain", "expected"), [(5.0, "PASS"), (4.99, "FAIL"), (1.0, "FAIL")])
def test_the_gain_is_held_against_the_sheets_rates(pair: Pair, gain: float, expected: str) -> None:
    reference(pair, tflops={"bf16": 600.0, "fp32": 60.0})
    value(pair[0], "toolkit.tensor_gain")["gain"] = gain
    found = verdict(pair, "tensor_gain")
    assert (found["status"], found["expected"]) == (
        expected,
        "5.0× (0.50 of 10.0×)" if gain > 1 else "more than 1×",
    )


def test_a_rate_that_is_not_judged_is_shown_with_its_product(pair: Pair) -> None:
    assert verdict(pair, "matmul.fp64")["reason"] == (
        "262144 values bit for bit; 2048 × 2048 × 4096 by Freivalds; 55.0 Tflop/s, not judged"
    )
    assert "Tflop/s" not in verdict(pair, "matmul.bf16")["reason"]
    value(pair[0], "toolkit.speed.int8")["tflops_median"] = None
    assert "Tflop/s" not in verdict(pair, "matmul.int8")["reason"]


def test_rows_that_are_wrong_though_no_value_is_are_no_pass(pair: Pair) -> None:
    value(pair[0], "toolkit.matmul.fp32").update(wrong_values=0, wrong_rows=1)
    assert verdict(pair, "matmul.fp32")["measured"] == "0 wrong values in 1 rows"
    value(pair[0], "toolkit.matmul.fp32").update(wrong_values=2, wrong_rows=0)
    assert verdict(pair, "matmul.fp32")["measured"] == "2 wrong values in 0 rows"


def test_the_first_wrong_value_of_a_kernel_is_told(pair: Pair) -> None:
    wrong = {"first_wrong": 7, "first_found": "0x1", "first_expected": "0x2"}
    value(pair[0], "toolkit.nvrtc_run").update(wrong_values=3, **wrong)
    found = verdict(pair, "nvrtc_run")
    assert found["measured"] == "3 wrong values"
    assert found["reason"] == "first at 7: 0x1 instead of 0x2"


@pytest.mark.parametrize("written", ["00000000:17:00.0", "0000:17:00.0", "0:17:00.0"])
def test_an_address_is_the_same_however_it_is_written(pair: Pair, written: str) -> None:
    value(pair[0], "toolkit.device")["address"] = written
    assert status(pair, "device") == "PASS"


def test_another_domain_is_another_gpu(pair: Pair) -> None:
    value(pair[0], "toolkit.device")["address"] = "10:17:00.0"
    assert status(pair, "device") == "FAIL"


def test_speeds_alone_make_a_machine_one_of_performance(pair: Pair) -> None:
    wanted = {"toolkit.speed.bf16", "toolkit.matmul.bf16", "stack.os"}
    pair[1]["expectations"] = [e for e in pair[1]["expectations"] if e["check"] in wanted]
    pair[1]["legs"] = pair[1]["device_legs"] = []
    assert judge(*pair, "h1", NOW)["level"] == "performance"
