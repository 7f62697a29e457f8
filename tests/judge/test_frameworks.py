"""Where the frameworks leg's verdicts change, and what they say: PyTorch's stand for both."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.judge.checks.frameworks import has_code
from tests.judge.areas.frameworks import CUDA, DIGEST, SITE
from tests.judge.healthy import GPU, value
from tests.judge.verdicts import Document, said

LOADED, MATMUL = "frameworks.torch.loaded", "frameworks.torch.matmul"
CONVOLUTION, TRAINING = "frameworks.torch.convolution", "frameworks.torch.training"
DIGESTS, THROUGHPUT = "frameworks.torch.digest", "frameworks.torch.throughput"
PATH = f"{SITE}/torch/__init__.py"
OWN = [f"{SITE}/nvidia/cu13/lib/libcudart.so.13", f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9"]
CARRIED = (
    "it carries its own CUDA 13.0, so what it computes says nothing about the CUDA, cuBLAS and "
    "cuDNN that are installed beside it"
)


def of(check: str, **values: Any) -> tuple[str, str, str, str]:
    return said(check, "nightly", **values)


# --- which copy, and what it carries ------------------------------------------------------------


def test_a_framework_says_that_it_carries_its_own_cuda() -> None:
    assert of(LOADED) == ("PASS", "2.13.0+cu130", "2.13.0", CARRIED)
    # The driver's library is everybody's.
    assert of(LOADED, libraries=[*OWN, "/usr/lib/libcuda.so.580"])[3] == CARRIED


def test_libraries_from_elsewhere_are_told() -> None:
    foreign = f"{CUDA}/libcublas.so.13"
    assert of(LOADED, libraries=[*OWN, foreign, "/usr/lib/libcuda.so.580"])[3] == (
        f"it uses CUDA 13.0, and loads from outside of its own folder: {foreign}"
    )


def test_another_copy_shadows_the_locks_where_the_lock_says_where_it_is() -> None:
    other = "/home/u/site-packages/torch/__init__.py"
    assert of(LOADED, path=other) == (
        "FAIL",
        other,
        SITE + "/",
        "shadowed: another copy is imported in its place",
    )
    # A folder that merely begins alike is another one; a slash at its end changes nothing.
    assert of(LOADED, path=f"{SITE}-2/torch/__init__.py")[0] == "FAIL"
    assert of(LOADED, expect={"sites": [SITE + "/"]})[0] == "PASS"
    assert of(LOADED, expect={"sites": ["/elsewhere", SITE]})[0] == "PASS"
    assert of(LOADED, path=other, expect={"sites": []})[0] == "PASS"
    assert of(LOADED, path=other, expect={"sites": None})[0] == "PASS"


def test_a_local_part_of_a_version_does_not_matter() -> None:
    assert of(LOADED, version="2.13.0")[0] == "PASS"
    assert of(LOADED, version="2.13.1+cu130")[:3] == ("FAIL", "2.13.1+cu130", "2.13.0")


def test_a_framework_that_sees_no_gpu_says_whether_it_could() -> None:
    assert of(LOADED, available=False)[3] == "it sees no GPU, though it is built for CUDA 13.0"
    assert of(LOADED, available=None, cuda_version="")[3] == "it is a build for processors only"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"cudart_number": 12080}, "it is built for CUDA 13.0, and libcudart 12.8 was loaded"),
        ({"cudart_number": None}, None),
        ({"cuda_version": "13.0.2"}, None),
        ({"cudnn_loaded_number": 91400}, "it says cuDNN 91300, and the libcudnn in its memory"),
        ({"cudnn_loaded_number": None}, None),
        ({"cudnn_number": None, "cudnn_loaded_number": 91400}, None),
        ({"driver_cuda_number": 12080}, "it brings CUDA 13.0, and the driver only knows CUDA 12.8"),
        ({"driver_cuda_number": 14000}, None),
        ({"driver_cuda_number": None}, None),
        # A driver of the same major runs it (minor version compatibility).
        ({"cuda_version": "13.1", "cudart_number": 13010, "driver_cuda_number": 13000}, None),
        (
            {"libraries": [*OWN, "/a/libcudart.so.12"]},
            f"two copies of libcudart are in its memory: {OWN[0]} and /a/libcudart.so.12",
        ),
        ({"libraries": ["/a/libcublas.so.13", "/b/libcublas.so.12"]}, "two copies of libcublas"),
        ({"libraries": ["/a/libcudnn.so.9", "/b/libcudnn.so.8"]}, "two copies of libcudnn"),
        # cuDNN's parts and cublasLt are files of their own.
        ({"libraries": ["/a/libcudnn.so.9", "/a/libcudnn_ops.so.9"]}, None),
        ({"libraries": ["/a/libcublas.so.13", "/a/libcublasLt.so.13"]}, None),
    ],
)
def test_what_is_in_its_memory_belongs_together(values: Document, says: str | None) -> None:
    found = of(LOADED, **values)
    if says is None:
        assert found[0] == "PASS"
    else:
        assert found[:3] == ("FAIL", "2.13.0+cu130", "2.13.0")
        assert found[3].startswith(says)


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ("8.0", ["sm_80"], True),
        ("8.9", ["sm_86"], True),
        ("8.0", ["sm_86"], False),
        ("9.0", ["sm_86"], False),
        ("7.5", ["sm_86", "sm_75"], True),
        ("9.0", ["sm_90a"], True),
        ("10.3", ["sm_100"], True),
        ("10.3", ["sm_100a"], False),
        ("10.0", ["sm_100f"], True),
        ("12.0", ["compute_120"], True),
        ("12.0", ["compute_80"], True),
        ("8.0", ["compute_120"], False),
        ("8.9", ["compute_90"], False),
        ("9.0", ["compute_90a"], True),
        ("10.0", ["compute_90a"], False),
        ("9.0", ["gfx942", "sm_90"], True),
        ("9.0", ["sm_90a", "sm_90"], True),
        ("8.0", ["sm_90a", "sm_80"], True),
        ("9.0", ["x_sm_90"], False),
        ("9.0", [], False),
    ],
)
def test_code_runs_on_its_own_major_and_what_is_portable_on_all_later(
    capability: str, architectures: list[str], runs: bool
) -> None:
    assert has_code(capability, architectures) is runs


def test_a_gpu_without_code_for_it_is_named() -> None:
    assert of(LOADED, architectures=["sm_80", "sm_100"])[1:] == (
        "2.13.0+cu130",
        "2.13.0",
        "it has no code for compute capability 9.0 (sm_80 sm_100)",
    )


# --- exact numbers ------------------------------------------------------------------------------


def kinds(check: str, key: str, **changed: Document) -> tuple[str, str, str, str]:
    def change(evidence: Document) -> None:
        for kind, values in changed.items():
            value(evidence, check)[key][kind.replace("_", " ")].update(values)

    return of(check, change=change)


def matmul(**changed: Document) -> tuple[str, str, str, str]:
    return kinds(MATMUL, "by_type", **changed)


def test_exact_kinds_are_counted_and_named() -> None:
    assert of(MATMUL) == (
        "PASS",
        "46080 numbers",
        "all exact",
        "matmul is exact: bf16, fp16, fp32, fp64, tf32",
    )
    assert of(CONVOLUTION)[1] == "13824 numbers"
    assert "convolution is exact: bf16 nchw, " in of(CONVOLUTION)[3]


def test_kinds_that_must_be_there() -> None:
    def without(kind: str) -> Any:
        return lambda e: value(e, MATMUL)["by_type"].pop(kind)

    for kind in ("fp64", "fp32"):
        found = of(MATMUL, change=without(kind))
        assert (found[0], found[3]) == ("ERROR", f"matmul in {kind} was not measured")
    assert of(MATMUL, change=without("bf16"))[0] == "PASS"
    assert of(CONVOLUTION, by_kind={})[3] == "convolution in fp32 was not measured"


def test_wrong_numbers_are_counted_and_guessed_at() -> None:
    one = {"wrong": 1, "largest_error": 2.0}
    assert matmul(bf16=one) == (
        "FAIL",
        "1 wrong",
        "9216 exact numbers",
        "bf16: 1 of 9216 numbers are wrong, by up to 2.0",
    )
    # More than half of FP32's numbers rounded: TF32 was used in its place.
    assert not matmul(fp32={**one, "wrong": 4608})[3].endswith("(is it TF32 in truth?)")
    assert matmul(fp32={**one, "wrong": 4609})[3].endswith("(is it TF32 in truth?)")
    assert not matmul(fp64={**one, "wrong": 9000})[3].endswith("(is it TF32 in truth?)")
    found = kinds(CONVOLUTION, "by_kind", fp32_nchw={**one, "wrong": 2000})
    assert found[3] == "fp32 nchw: 2000 of 2304 numbers are wrong, by up to 2.0"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"wrong": 3, "not_finite": 2}, "2 of 9216 are no numbers"),
        ({"wrong": 0, "not_finite": 2}, "2 of 9216 are no numbers"),
        ({"wrong": 0, "not_finite": None}, "0 of 9216 numbers are wrong"),
        ({"wrong": 9, "all_zero": True}, "nothing but zeros came back"),
        ({"checked": 9215}, "the result is not whole"),
        ({"checked": 0, "expected": 0}, "the result is not whole"),
    ],
)
def test_results_that_are_no_results(values: Document, says: str) -> None:
    found = matmul(fp16=values)
    assert found[0] == "FAIL"
    assert found[3].startswith("fp16: " + says)
    if "checked" in values:
        assert found[1] == f"{values['checked']} numbers"


# --- training, digests, speed -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"regression_error": 0}, "PASS"),
        ({"regression_error": 1e-4}, "PASS"),
        ({"regression_error": 1.1e-4}, "FAIL"),
        ({"regression_error": -1e-9}, "FAIL"),
        ({"accuracy": 0.95}, "PASS"),
        ({"accuracy": 0.9499}, "FAIL"),
        ({"accuracy": 1.0}, "PASS"),
        ({"accuracy": 1.01}, "FAIL"),
        ({"finite": None}, "ERROR"),
        ({"finite": "yes"}, "FAIL"),
    ],
)
def test_training_ends_where_it_must_up_to_its_edges(values: Document, status: str) -> None:
    assert of(TRAINING, **values)[0] == status


def test_training_shows_how_far_off_it_ended() -> None:
    assert of(TRAINING) == (
        "PASS",
        "8.8e-08 off, accuracy 1.000",
        "at most 1e-04 off, accuracy 0.95",
        "training reaches its known end",
    )
    assert of(TRAINING, finite=False)[1:3] == ("not finite", "finite weights")


def test_digests_are_held_against_a_second_run_and_other_hosts() -> None:
    short = DIGEST[:16]
    assert of(DIGESTS) == ("PASS", short, short, "the same bits, twice")
    assert of(DIGESTS, expect={"digest": DIGEST})[3] == "the same bits, as others do"
    other = "1" * 64
    assert of(DIGESTS, expect={"digest": other}) == (
        "FAIL",
        short,
        "1" * 16,
        "other hosts with this GPU and these versions reach another result",
    )
    assert of(DIGESTS, again=other)[:3] == ("FAIL", "1" * 16, short)


def speed(rate: float, **values: Any) -> tuple[str, str, str, str]:
    def policy(document: Document) -> None:
        document["references"][GPU["device"]]["tflops"] = {"bf16": 1000.0}

    expect = {"share": 0.5, "share_source": "a test"}
    return of(THROUGHPUT, policy=policy, expect=expect, matmul_tflops=rate, **values)


def test_speed_lies_between_its_floor_and_what_the_gpu_can() -> None:
    assert speed(500.0) == (
        "PASS",
        "500 Tflop/s bf16",
        "at least 500 (0.50 of 1000)",
        "a test",
    )
    assert speed(499.9)[0] == "FAIL"
    assert speed(1050.0)[0] == "PASS"
    assert speed(1051.0)[3] == "faster than the GPU can be: it did not do the work"
    assert speed(0.0)[:2] == ("FAIL", "0 Tflop/s bf16")
    assert speed(0.5)[3] == "matmuls are too slow for this GPU"


def test_a_rate_that_nobody_knows_is_shown() -> None:
    assert speed(5.0, matmul_type="fp4") == (
        "NO_REFERENCE",
        "5 Tflop/s fp4",
        "",
        "nothing is known of this GPU's fp4",
    )

    def unknown(document: Document) -> None:
        document["references"] = {}

    assert of(THROUGHPUT, policy=unknown)[0] == "NO_REFERENCE"
