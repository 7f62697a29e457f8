"""cudnn on a GPU: an H200's convolutions, and what may be wrong with them."""

from __future__ import annotations

from typing import Any

from cudactl.certify.expectations.cudnn_gpu import TRANSFORMS
from tests.judge.healthy import add_device_leg, device_leg, measurement, value
from tests.judge.red import Change, Red

ALGORITHMS = {
    "forward": ["implicit_gemm", "implicit_precomp_gemm", "gemm", "winograd", "winograd_nonfused"],
    "backward_data": ["algo_0", "algo_1", "winograd", "winograd_nonfused"],
    "backward_filter": ["algo_0", "algo_1", "algo_3", "winograd_nonfused"],
}
COUNT = {"forward": 12288, "backward_data": 6144, "backward_filter": 1152}


def _runs(operation: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    for algorithm in ALGORITHMS[operation]:
        for kind in ["fp32"] if algorithm in TRANSFORMS else ["fp32", "tf32", "fp16"]:
            for layout in ("nchw", "nhwc"):
                run: dict[str, Any] = {"algorithm": algorithm, "kind": kind, "layout": layout}
                if algorithm == "winograd":  # not on Hopper
                    said = "cudnnGetConvolution…WorkspaceSize answers 3007 (ARCH_MISMATCH)"
                    runs.append({**run, "stage": "workspace", "code": 3007, "text": said})
                    continue
                rounds = algorithm in TRANSFORMS
                run |= {"stage": "run", "workspace_bytes": 1024, "code": 0}
                run |= {"compared_values": COUNT[operation], "wrong_values": 900 * rounds}
                runs.append({**run, "worst_error": 2e-4 * rounds})
    return runs


def healthy(evidence: dict[str, Any]) -> None:
    """Add what an H200 shows."""
    values: dict[str, dict[str, Any]] = {
        f"cudnn.{operation}": {"version_number": 91300, "runs": _runs(operation)}
        for operation in ALGORITHMS
    }
    values["cudnn.speed"] = {
        "samples": 12,
        "tflops_median": 520.0,
        "tflops_least": 515.0,
        "tflops_most": 523.0,
        "variation_percent": 0.4,
        "images_per_s": 140_000.0,
        "algorithm": "implicit_precomp_gemm",
        "shape": [32, 256, 56, 56, 256],
        "timed_s": 0.3,
        "repeated_bytes": 16 << 20,
        "repeats_differ": False,
        "worst_error_sigma": 0.001,
    }
    add_device_leg(evidence, "cudnn", values)


def _run(operation: str, algorithm: str, **changed: object) -> Change:
    def change(evidence: dict[str, Any]) -> None:
        runs = value(evidence, f"cudnn.{operation}")["runs"]
        run = next(r for r in runs if r["algorithm"] == algorithm and r["kind"] == "fp32")
        run.update(changed)

    return change


def _all(operation: str, kind: str, **changed: object) -> Change:
    def change(evidence: dict[str, Any]) -> None:
        for run in value(evidence, f"cudnn.{operation}")["runs"]:
            if run["kind"] == kind:
                run.update(changed)

    return change


def _without(operation: str, kind: str) -> Change:
    def change(evidence: dict[str, Any]) -> None:
        values = value(evidence, f"cudnn.{operation}")
        values["runs"] = [run for run in values["runs"] if run["kind"] != kind]

    return change


def _set(**values: object) -> Change:
    return lambda e: value(e, "cudnn.speed").update(values)


def _error(check: str, text: str) -> Change:
    return lambda e: measurement(e, check).update(values={}, error=text)


def _of(operation: str) -> list[Red]:
    check, exact = f"cudnn.{operation}", ALGORITHMS[operation][1]
    wrong = {"wrong_values": 2, "first_wrong": 7, "first_found": "3.0", "first_expected": -3}
    refused = {"code": 3000, "text": "cudnnConvolution answers 3000 (NOT_SUPPORTED)"}
    broken = {"code": 5000, "text": "cudnnConvolution answers 5000 (EXECUTION_FAILED)"}
    return [
        Red(
            check,
            "two numbers are wrong",
            "gpu",
            _run(operation, exact, **wrong),
            f"{exact} in FP32 NCHW: 2 wrong values, first at 7: 3.0 instead of -3",
        ),
        Red(
            check,
            "a transform is off by half",
            "gpu",
            _run(operation, "winograd_nonfused", worst_error=0.5),
            "off by up to 0.5",
        ),
        Red(
            check,
            "an algorithm fails",
            "gpu",
            _run(operation, exact, **broken),
            "EXECUTION_FAILED",
        ),
        Red(
            check,
            "FP16 is refused altogether",
            "gpu",
            _all(operation, "fp16", **refused),
            "no exact algorithm computes in FP16",
        ),
        Red(
            check,
            "nothing was tried in FP16",
            "gpu",
            _without(operation, "fp16"),
            "nothing was tried in FP16",
            "ERROR",
        ),
        Red(
            check,
            "too little was compared",
            "gpu",
            _run(operation, exact, compared_values=3),
            "too little was compared",
            "ERROR",
        ),
        Red(
            check,
            "cuDNN cannot be started",
            "gpu",
            _error(check, "CallFailed: cudnnCreate answers 1001 (NOT_INITIALIZED)"),
            "cudnnCreate answers 1001",
        ),
    ]


RED: list[Red] = [
    *(red for operation in ALGORITHMS for red in _of(operation)),
    Red(
        "cudnn.speed",
        "other bits when repeated",
        "gpu",
        _set(repeats_differ=True),
        "other bits when it is repeated",
    ),
    Red(
        "cudnn.speed",
        "wrong under load",
        "gpu",
        _set(worst_error_sigma=1.5),
        "wrong by 1.5 standard deviations",
    ),
    Red(
        "cudnn.speed",
        "faster than anything can be",
        "gpu",
        _set(tflops_median=52_000.0),
        "nothing can have been computed",
    ),
    Red(
        "cudnn.speed",
        "nothing was timed",
        "gpu",
        _set(tflops_median=None),
        "tflops_median was not measured",
        "ERROR",
    ),
    Red(
        "cudnn.ran_on_gpu",
        "it crashes on the GPU",
        "gpu",
        lambda e: device_leg(e, "cudnn").update(outcome="crashed", detail="SIGSEGV"),
        "SIGSEGV",
    ),
]
