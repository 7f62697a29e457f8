"""toolkit on a GPU: an H200 as it should be, and what may be wrong with its products."""

from __future__ import annotations

from typing import Any

from cudactl.certify.expectations.toolkit_gpu import FULL, KERNEL_VALUES, LEAST_CC
from tests.judge.healthy import add_device_leg, device_leg, measurement, value
from tests.judge.red import Change, Red

RATES = {
    "fp64": 55.0,
    "fp32": 50.0,
    "tf32": 380.0,
    "bf16": 780.0,
    "fp16": 770.0,
    "fp8": 1400.0,
    "int8": 1300.0,
}


def healthy(evidence: dict[str, Any]) -> None:
    """Add what an H200 shows."""
    values: dict[str, dict[str, Any]] = {
        "toolkit.device": {"address": "0000:17:00.0", "cc": "9.0", "sm_count": 132}
    }
    for name in LEAST_CC:
        values[f"toolkit.matmul.{name}"] = {
            "cc": "9.0",
            "wrong_values": 0,
            "wrong_rows": 0,
            "compared_values": FULL * FULL,
            "full_size": FULL,
            "large_wrong_values": 0,
            "large_wrong_rows": 0,
            "large_size": [2048, 2048, 2048 if name == "fp8" else 4096],
        }
    compared = FULL * FULL // 4
    values["toolkit.gemm"] = {"wrong_values": 0, "wrong_rows": 0, "compared_values": compared}
    values["toolkit.nvrtc_run"] = {
        "architecture": "sm_90",
        "compile_s": 0.2,
        "code_bytes": 3000,
        "compared_values": KERNEL_VALUES,
        "wrong_values": 0,
    }
    for name, rate in RATES.items():
        values[f"toolkit.speed.{name}"] = {
            "samples": 12,
            "tflops_median": rate,
            "tflops_least": 0.995 * rate,
            "tflops_most": 1.004 * rate,
            "variation_percent": 0.3,
            "size": 8192,
            "algorithms_tried": 4,
            "timed_s": 0.3,
            "repeated_bytes": 16 << 20,
            "repeats_differ": False,
            "worst_error_sigma": 0.006,
        }
    values["toolkit.tensor_gain"] = {
        "kind": "bf16",
        "tflops": RATES["bf16"],
        "fp32_tflops": RATES["fp32"],
        "gain": RATES["bf16"] / RATES["fp32"],
    }
    add_device_leg(evidence, "toolkit", values)


def _set(check: str, **values: object) -> Change:
    return lambda e: value(e, check).update(values)


def _error(check: str, text: str) -> Change:
    def change(evidence: dict[str, Any]) -> None:
        one = measurement(evidence, check)
        one.update(values={}, error=text)

    return change


def _gone(check: str) -> Change:
    def change(evidence: dict[str, Any]) -> None:
        leg = device_leg(evidence, "toolkit")
        leg["measurements"] = [m for m in leg["measurements"] if m["check"] != check]

    return change


def _wrong(prefix: str = "", rows: int = 1, **more: object) -> dict[str, Any]:
    values = {
        "wrong_values": 1,
        "wrong_rows": rows,
        "first_wrong": [3, 77],
        "first_found": "5.0",
        "first_expected": "4.0",
    }
    return {prefix + key: one for key, one in {**values, **more}.items()}


def _of_type(name: str) -> list[Red]:
    check = f"toolkit.matmul.{name}"
    said = "first at [3, 77]: 5.0 instead of 4.0"
    refused = "cublasLtMatmulAlgoGetHeuristic answers 15 (not supported)"
    return [
        Red(check, "one entry is wrong", "gpu", _set(check, **_wrong()), said),
        Red(
            check,
            "only a large product is wrong",
            "gpu",
            _set(check, **_wrong("large_")),
            "only at 2048 × 2048 ×",
        ),
        Red(check, "it is refused", "gpu", _error(check, refused), "answers 15"),
        Red(check, "it was not measured", "gpu", _gone(check), "measured no", "ERROR"),
        Red(
            check,
            "too little was compared",
            "gpu",
            _set(check, compared_values=4),
            "only 4 values were compared",
            "ERROR",
        ),
    ]


def _of_speed(name: str) -> list[Red]:
    check = f"toolkit.speed.{name}"
    rate = RATES[name]
    return [
        Red(check, "half as fast", "gpu", _set(check, tflops_median=rate / 2), "of the data sheet"),
        Red(
            check,
            "a thousand times too fast",
            "gpu",
            _set(check, tflops_median=1000 * rate),
            "nothing can have been computed",
        ),
        Red(
            check,
            "other bits when repeated",
            "gpu",
            _set(check, repeats_differ=True),
            "other bits when it is repeated",
        ),
        Red(
            check,
            "wrong under load",
            "gpu",
            _set(check, worst_error_sigma=0.7),
            "wrong by 0.7 standard deviations",
        ),
        Red(
            check,
            "nothing was timed",
            "gpu",
            _set(check, tflops_median=None),
            "tflops_median was not measured",
            "ERROR",
        ),
        Red(check, "an error", "gpu", _error(check, "cublasLtMatmul answers 13"), "answers 13"),
    ]


RED: list[Red] = [
    *(red for name in LEAST_CC for red in _of_type(name)),
    *(red for name in ("fp32", "tf32", "bf16", "fp16", "fp8") for red in _of_speed(name)),
    Red(
        "toolkit.device",
        "another GPU answers",
        "gpu",
        _set("toolkit.device", address="0000:65:00.0"),
        "answers for another GPU",
    ),
    Red(
        "toolkit.device",
        "another generation",
        "gpu",
        _set("toolkit.device", cc="8.0"),
        "it is not what H200 SXM has",
    ),
    Red(
        "toolkit.tensor_gain",
        "they gain nothing",
        "gpu",
        _set("toolkit.tensor_gain", gain=1.0),
        "gain nothing",
    ),
    Red(
        "toolkit.tensor_gain",
        "they gain little",
        "gpu",
        _set("toolkit.tensor_gain", gain=3.0),
        "of what the data sheet's rates say",
    ),
    Red(
        "toolkit.tensor_gain",
        "a rate is missing",
        "gpu",
        lambda e: value(e, "toolkit.tensor_gain").pop("gain"),
        "gain was not measured",
        "ERROR",
    ),
    Red(
        "toolkit.gemm",
        "one entry is wrong",
        "gpu",
        _set("toolkit.gemm", **_wrong()),
        "first at [3, 77]",
    ),
    Red(
        "toolkit.gemm",
        "too little was compared",
        "gpu",
        _set("toolkit.gemm", compared_values=1),
        "only 1 values were compared",
        "ERROR",
    ),
    Red(
        "toolkit.nvrtc_run",
        "one value is wrong",
        "gpu",
        _set("toolkit.nvrtc_run", **_wrong()),
        "5.0 instead of 4.0",
    ),
    Red(
        "toolkit.nvrtc_run",
        "too little was compared",
        "gpu",
        _set("toolkit.nvrtc_run", compared_values=1),
        "only 1 values were compared",
        "ERROR",
    ),
    Red(
        "toolkit.ran_on_gpu",
        "it hangs on the GPU",
        "gpu",
        lambda e: device_leg(e, "toolkit").update(outcome="timeout", detail="no end within 25 s"),
        "no end within 25 s",
    ),
]
