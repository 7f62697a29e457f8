"""The toolkit leg on a simulated GPU: green when it is healthy, each fault named for what it is."""

from __future__ import annotations

import ctypes
import random
from array import array
from dataclasses import replace
from typing import Any

import pytest

from cudactl.certify.expectations.toolkit_gpu import LEAST_CC
from cudactl.judge import judge
from cudactl.lab import gpus
from cudactl.probe.cuda import integers, normals
from cudactl.probe.cuda.blas_lt import KINDS, Heuristic
from tests.judge.healthy import GPU, NOW, fresh
from tests.legs.conftest import Measure, values

LIBRARIES = {
    "cuda": "libcuda-launch.so.1",
    "cudart": "libcudart.so.13",
    "cublaslt": "libcublasLt.so.13",
    "cublas": "libcublas.so.13",
    "nvrtc": "libnvrtc.so.13",
}
SIZE = {"full": 24, "large": 32, "inner": 80, "speed": 24}
Found = dict[str, tuple[str, str]]


@pytest.fixture
def measured(measure_on: Measure) -> Measure:
    """Run the toolkit's part at sizes that suit a processor."""

    def run(**more: Any) -> dict[str, Any]:
        request = {"timed_s": 0.01, "types": LEAST_CC, "size": SIZE}
        return measure_on("toolkit", more.pop("libraries", LIBRARIES), **{**request, **more})

    return run


def judged(result: dict[str, Any], device: str = "2335") -> Found:
    """Return check → (status, reason) of a healthy machine whose GPU measured `result`."""
    evidence, policy = fresh("gpu")
    evidence["legs"] = [
        leg for leg in evidence["legs"] if (leg["leg"], leg["gpu"]) != ("toolkit", GPU["id"])
    ]
    evidence["legs"].append(result)
    for gpu in evidence["gpus"]:
        gpu["device"] = device
    for expectation in policy["expectations"]:
        if "compared" in expectation["expect"] and expectation["check"] != "toolkit.nvrtc_run":
            expectation["expect"]["compared"] = SIZE["full"] ** 2 // 4
    certificate = judge(evidence, policy, "h1", NOW)
    if result["libraries"]:
        assert certificate["level"] == "simulated", "never mistaken for a real GPU's"
    verdicts = [v for v in certificate["verdicts"] if v["leg"] == "toolkit" and v["gpu"]]
    return {v["check"].partition(".")[2]: (v["status"], v["reason"]) for v in verdicts}


def red(found: Found) -> dict[str, str]:
    """Return what is not green, with its reason."""
    return {check: why for check, (status, why) in found.items() if status in ("FAIL", "ERROR")}


def test_a_healthy_gpu_passes_every_check(measured: Measure) -> None:
    result = measured()
    found = judged(result)
    assert {status for status, _ in found.values()} == {"PASS"}
    assert len(found) == 17
    fp8 = values(result, "toolkit.matmul.fp8")
    assert (fp8["compared_values"], fp8["large_size"]) == (576, [32, 32, 80])
    assert values(result, "toolkit.speed.bf16")["tflops_median"] == pytest.approx(780, rel=1e-3)
    assert values(result, "toolkit.tensor_gain")["gain"] == pytest.approx(15.6, rel=1e-3)
    assert "55.0 Tflop/s, not judged" in found["matmul.fp64"][1]


TYPED = {
    "flip_bit": "1 wrong values in 1 rows",
    "nan": "nan instead of",
    "zeros": "0.0 instead of",
    "transposed": "instead of",
    "stale": "instead of",
    "nothing": "nan instead of",
    "ulp": "instead of",
    "short": "instead of",
}


@pytest.mark.parametrize(
    ("kind", "fault"),
    # Before FP64 nothing ran, so nothing can be stale.
    [(k, f) for k in ("fp64", "bf16", "fp8") for f in sorted(TYPED) if (k, f) != ("fp64", "stale")],
)
def test_a_wrong_product_is_found_in_its_type_and_no_other(
    measured: Measure, fault: str, kind: str
) -> None:
    result = measured(faults={f"matmul.{fault}.{kind}": 1})
    found = red(judged(result))
    told = [key for key in found if key.startswith("matmul.")]
    assert told == [f"matmul.{kind}"], found
    told_in_full = f"{found[told[0]]} {values(result, f'toolkit.matmul.{kind}')}"
    wanted = TYPED[fault] if fault != "flip_bit" else "'wrong_values': 1"
    assert wanted in told_in_full


def test_int8_products_are_compared_too(measured: Measure) -> None:
    found = red(judged(measured(faults={"matmul.flip_bit.int8": 1})))
    assert list(found) == ["matmul.int8"]


def test_what_goes_wrong_only_in_long_rows_is_found_by_freivalds(measured: Measure) -> None:
    result = measured(faults={"matmul.large_flip.tf32": 60})
    found = red(judged(result))
    assert list(found) == ["matmul.tf32"]
    assert "only at 32 × 32 × 80; first at [16, 10]" in found["matmul.tf32"]
    assert values(result, "toolkit.matmul.tf32")["large_wrong_rows"] == 1


WHOLE = {
    "no algorithm in FP16": (
        {"matmul.no_algorithm.fp16": 1},
        {"matmul.fp16", "speed.fp16"},
        "cublasLtMatmulAlgoGetHeuristic answers 15 (the functionality requested is not supported)",
    ),
    "FP8 fails to execute": (
        {"matmul.status.fp8": 13},
        {"matmul.fp8", "speed.fp8"},
        "cublasLtMatmul answers 13 (the GPU program failed to execute)",
    ),
    "BF16 at a third of its rate": (
        {"speed.slow.bf16": 3},
        {"speed.bf16", "tensor_gain"},
        "of the data sheet",
    ),
    "FP16 at half of its rate": ({"speed.slow.fp16": 2}, {"speed.fp16"}, "0.39 of the data sheet"),
    "FP8 does its work in no time": (
        {"speed.slow.fp8": 0.001},
        {"speed.fp8"},
        "nothing can have been computed",
    ),
    "FP32 by Tensor Cores": (
        {"speed.slow.fp32": 0.4},
        {"tensor_gain"},
        "0.42 of what the data sheet's rates say",
    ),
    "Tensor Cores gain nothing": (
        {"speed.slow.bf16": 16, "speed.slow.fp16": 16},
        {"speed.bf16", "speed.fp16", "tensor_gain"},
        "gain nothing",
    ),
    "now and then a bit flips": (
        {"matmul.flaky.bf16": 12},
        {"speed.bf16"},
        "other bits when it is repeated",
    ),
    "cuBLAS's own product is wrong": ({"gemm.flip_bit": 1}, {"gemm"}, "instead of"),
    "cuBLAS leaves out a term": ({"gemm.short": 1}, {"gemm"}, "instead of"),
    "cuBLAS cannot start": (
        {"cublas.create": 1},
        {"gemm"},
        "cublasCreate_v2 answers 1 (the library was not initialized)",
    ),
    "NVRTC knows no such GPU": (
        {"nvrtc.architecture": 1},
        {"nvrtc_run"},
        "NVRTC_ERROR_INVALID_OPTION: nvrtc: error: invalid value for --gpu-architecture",
    ),
    "NVRTC's code is for another GPU": (
        {"nvrtc.other": 1},
        {"nvrtc_run"},
        "cuModuleLoadData answers 209",
    ),
    "NVRTC makes no code": ({"nvrtc.empty": 1}, {"nvrtc_run"}, "cuModuleLoadData answers 200"),
    "half of the blocks do not run": (
        {"kernel.half": 1},
        {"nvrtc_run"},
        "first at 256: 0xffffffff instead of",
    ),
    "the kernel does one round too few": ({"kernel.rounds": 1}, {"nvrtc_run"}, "first at 0"),
    "the kernel writes nothing": ({"kernel.nothing": 1}, {"nvrtc_run"}, "0xffffffff instead of"),
    "a kernel's bit flips": ({"kernel.flip_bit": 1}, {"nvrtc_run"}, "first at 5461"),
    "the launch fails": ({"kernel.status": 719}, {"nvrtc_run"}, "cuLaunchKernel answers 719"),
    "another GPU answers": (
        {"cudart.other_device": 1},
        {"device"},
        "cudart answers for another GPU",
    ),
}


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_fault_is_named_by_the_right_check(measured: Measure, name: str) -> None:
    faults, checks, says = WHOLE[name]
    found = red(judged(measured(faults=faults)))
    assert set(found) == checks
    assert says in " ".join(found.values())


EVERYTHING = {
    "no GPU": ({"cudart.no_device": 1}, "cudaDeviceGetByPCIBusId answers 100 (no CUDA-capable"),
    "no memory": ({"cudart.out_of_memory": 1}, "cudaMalloc answers 2 (out of memory)"),
    "cuBLASLt cannot start": ({"cublaslt.create": 1}, "cublasLtCreate answers 1"),
    "an ECC error": ({"cudart.sync": 214}, "answers 214 (uncorrectable ECC error encountered)"),
}


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_what_breaks_everything_is_told_everywhere(measured: Measure, name: str) -> None:
    faults, says = EVERYTHING[name]
    found = judged(measured(faults=faults))
    assert not {check for check, (status, _) in found.items() if status == "PASS"} - {
        *("ran_on_gpu", "device", "nvrtc_run")
    }
    assert says in found["matmul.fp32"][1]


def test_copies_that_lose_a_bit_are_not_taken_for_products(measured: Measure) -> None:
    found = red(judged(measured(faults={"copy.flip_bit": 1})))
    assert "matmul.fp32" in found


@pytest.mark.parametrize("call", ["cublasLtMatmul", "cudaMemcpy", "cublasLtCreate"])
def test_a_crash_is_told_with_what_was_measured_before_it(measured: Measure, call: str) -> None:
    found = judged(measured(faults={f"crash.{call}": 1}))
    assert found["ran_on_gpu"][0] == "FAIL"
    assert "SIGSEGV" in found["ran_on_gpu"][1]
    assert found["matmul.fp32"][0] == "ERROR"


def test_a_hang_ends_at_the_deadline_and_names_the_leg(measured: Measure) -> None:
    found = judged(measured(faults={"hang.cublasGemmEx": 1}, deadline_s=6))
    assert "no end within 6 s" in found["ran_on_gpu"][1]
    assert found["matmul.int8"][0] == "PASS", "what was measured before is kept"
    assert found["gemm"][0] == "ERROR"


def test_a_library_that_ends_the_process_quietly_is_a_crash(measured: Measure) -> None:
    found = judged(measured(faults={"exit.cublasCreate_v2": 1}))
    assert found["ran_on_gpu"][0] == "FAIL"


def test_a_missing_library_is_named(measured: Measure) -> None:
    without = {name: soname for name, soname in LIBRARIES.items() if name != "cublaslt"}
    found = judged(measured(libraries=without))
    assert "cublaslt" in found["matmul.bf16"][1]


def test_what_the_gpu_table_says_is_lacking_is_skipped(measured: Measure) -> None:
    t4 = replace(gpus.H200, name="Tesla T4", device="1eb8", cc="7.5", sm_count=40)
    found = judged(measured(gpu=t4), device="1eb8")
    skipped = {check for check, (status, _) in found.items() if status == "SKIP"}
    assert skipped == {
        *("matmul.tf32", "matmul.bf16", "matmul.fp8", "speed.tf32", "speed.bf16", "speed.fp8")
    }
    assert "T4 (compute capability 7.5) has no FP8" in found["matmul.fp8"][1]
    assert found["matmul.fp16"][0] == found["matmul.int8"][0] == "PASS"


def test_a_gpu_that_lacks_what_the_table_promises_is_no_skip(measured: Measure) -> None:
    older = replace(gpus.H200, cc="8.0")
    found = judged(measured(gpu=older))
    assert found["device"][0] == "FAIL"
    assert found["matmul.fp8"] == ("ERROR", "the leg toolkit measured no toolkit.matmul.fp8")


def test_an_unknown_gpu_is_measured_and_its_speed_not_judged(measured: Measure) -> None:
    found = judged(measured(), device="ffff")
    assert found["matmul.fp8"][0] == "PASS"
    assert found["speed.bf16"] == ("NO_REFERENCE", "no rate of this GPU is known for BF16")
    older = replace(gpus.H200, cc="7.0")
    found = judged(measured(gpu=older), device="ffff")
    assert found["matmul.bf16"][0] == "NO_REFERENCE"
    assert not red(found)


def test_speed_varies_by_what_the_gpu_varies(measured: Measure) -> None:
    result = measured(faults={"speed.jitter": 0.1}, timed_s=0.05)
    assert values(result, "toolkit.speed.fp16")["variation_percent"] > 1


# --- the arithmetic that everything is held against ----------------------------------------------


def test_a_product_is_what_multiplying_by_hand_gives() -> None:
    product = integers.Product(5, m=7, n=5, k=11, values=integers.FOUR)
    a, b = array("b", product.a), array("b", product.b)
    for n in range(5):
        by_hand = [sum(b[n * 11 + k] * a[m * 11 + k] for k in range(11)) for m in range(7)]
        assert product.row(n) == by_hand


def test_freivalds_sees_any_single_wrong_value() -> None:
    numbers = random.Random(3)
    product = integers.Product(6, m=9, n=8, k=30, values=integers.FOUR)
    right = array("f", [value for n in range(8) for value in product.row(n)])
    assert product.verify(right.tobytes(), "f", 1)["wrong_rows"] == 0
    for _ in range(40):
        wrong, place = right[:], numbers.randrange(72)
        wrong[place] += numbers.choice((1.0, -1.0, 0.5, float("nan"), float("inf")))
        found = product.verify(wrong.tobytes(), "f", 1)
        assert (found["wrong_rows"], found["first_wrong"]) == (1, [place // 9, place % 9])


def test_freivalds_sees_two_errors_that_cancel_in_a_sum() -> None:
    product = integers.Product(7, m=9, n=4, k=30, values=integers.FOUR)
    values = array("d", [value for n in range(4) for value in product.row(n)])
    values[3] += 1
    values[5] -= 1
    assert product.verify(values.tobytes(), "d", 1)["wrong_values"] == 2


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_random_numbers_are_normal_in_every_type(kind: str) -> None:
    plain = normals.Normals(1, 5001)
    found = normals.decode(kind, plain.block(kind))
    scale = 32.0 if kind == "int8" else 1.0
    worst = max(abs(one / scale - other) for one, other in zip(found, plain._values, strict=True))
    assert worst < (0.5 if kind == "fp8" else 0.02)
    assert len(set(found)) > 100


def test_small_integers_are_what_they_are_in_every_type() -> None:
    codes = bytes(value % 256 for value in integers.FOUR)
    for kind in KINDS:
        assert normals.decode(kind, integers.encode(kind, codes)) == [-2, -1, 1, 2]


def test_the_heuristics_structure_has_the_size_that_the_header_gives() -> None:
    assert ctypes.sizeof(Heuristic) == 96
