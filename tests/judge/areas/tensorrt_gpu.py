"""TensorRT's classifier on each GPU."""

from __future__ import annotations

from typing import Any

from tests.judge.healthy import (
    DRIVER,
    SYSTEM,
    add_device_leg,
    device_leg,
    every_library,
    library,
    value,
)
from tests.judge.red import (
    Change,
    Evidence,
    Red,
    drop,
    error,
    move,
    on_gpu_outcome,
    put,
    unmeasured,
)

MODULE = "/usr/lib/python3.12/dist-packages/tensorrt/__init__.py"
USERS = "/usr/local/lib/python3.12/dist-packages/tensorrt/__init__.py"
ENGINE, ACCURACY, LATENCY = "tensorrt.engine", "tensorrt.accuracy", "tensorrt.latency"


def _precision(**values: object) -> dict[str, Any]:
    return {
        "build_s": 3.1,
        "plan_bytes": 1_650_000,
        "plan_sha256": "ef" * 32,
        "input_shape": [1, 3, 224, 224],
        "output_shape": [1, 1000],
        "checked": 1000,
        "wrong": 0,
        "not_finite": 0,
        "untouched": 0,
        "all_zero": False,
        "largest_error": 0.0,
        "repeats": 3,
        "repeats_equal": 3,
        "error": None,
        **values,
    }


def healthy(evidence: Evidence) -> None:
    """An H200 through the Python bindings."""
    engine = {
        "via": "bindings",
        "version": "10.13.3.9",
        "path": MODULE,
        "python": "3.12",
        "precisions": {name: _precision() for name in ("fp32", "fp16", "int8", "fp8")},
    }
    accuracy = {
        "via": "bindings",
        "images": 4,
        "not_finite": 0,
        "largest_output": 3.29,
        "fp16_max_abs": 0.0016,
        "fp16_max_rel": 0.035,
        "fp32_max_abs": 1.1e-6,
        "top1_agree": 4,
    }
    latency = {
        "via": "bindings",
        "timed_s": 0.3,
        "fp32": {"median_ms": 0.061, "p99_ms": 0.074, "samples": 4800},
        "fp16": {"median_ms": 0.058, "p99_ms": 0.070, "samples": 5000},
    }
    add_device_leg(
        evidence,
        "tensorrt",
        {ENGINE: engine, ACCURACY: accuracy, LATENCY: latency},
        [
            library(f"{SYSTEM}/libcuda.so.{DRIVER}", "libnvidia-compute-580"),
            library(f"{SYSTEM}/libnvinfer.so.10.13.3", "libnvinfer10"),
            library(MODULE, "python3-libnvinfer"),
        ],
    )


def policy(document: dict[str, Any]) -> None:
    """Somebody wants an answer within a millisecond."""
    for one in document["expectations"]:
        if one["check"] == LATENCY and not one["skip"]:
            one["expect"] = {"p99_ms": {"fp32": 1.0, "fp16": 1.0}}


def _one(precision: str, **values: object) -> Change:
    return lambda e: value(e, ENGINE)["precisions"][precision].update(values)


def _part(precision: str, **values: object) -> Change:
    return lambda e: value(e, LATENCY)[precision].update(values)


def _trtexec(evidence: Evidence) -> None:
    values = value(evidence, ENGINE)
    del values["version"]
    values.update(
        via="trtexec",
        path="/usr/src/tensorrt/bin/trtexec",
        version_number=101303,
        bindings_error="ModuleNotFoundError: No module named 'tensorrt.tensorrt'",
    )


def _not_described(evidence: Evidence) -> None:
    part = device_leg(evidence, "tensorrt")
    part["libraries"] = [x for x in part["libraries"] if x["path"] != MODULE]


def _altered(evidence: Evidence) -> None:
    for known in every_library(evidence, MODULE):
        known["package"] = "python3-other"


RED = [
    Red(
        ENGINE,
        "the builder returns nothing",
        "gpu",
        _one("fp16", error="the builder returned no engine; Error Code 10"),
        "fp16: the builder returned no engine",
    ),
    Red(
        ENGINE,
        "not deserialised",
        "gpu",
        _one("fp32", error="the engine was not deserialised; Serialization (version tag)"),
        "was not deserialised",
    ),
    Red(ENGINE, "one wrong bit", "gpu", _one("fp32", wrong=1, largest_error=4.0), "1 of 1000"),
    Red(ENGINE, "NaN", "gpu", _one("fp16", not_finite=1, wrong=1), "are no numbers"),
    Red(ENGINE, "zeros", "gpu", _one("fp32", all_zero=True, wrong=980), "nothing but zeros"),
    Red(
        ENGINE,
        "nothing written",
        "gpu",
        _one("fp32", untouched=1000, not_finite=1000, wrong=1000),
        "nothing was written",
    ),
    Red(
        ENGINE,
        "a low precision that was built is wrong",
        "gpu",
        _one("int8", wrong=7, largest_error=1.0),
        "int8: 7 of 1000",
    ),
    Red(ENGINE, "other numbers each time", "gpu", _one("fp32", repeats_equal=2), "1 of 3 repet"),
    Red(ENGINE, "ran once", "gpu", _one("fp32", repeats=0, repeats_equal=0), "it ran only once"),
    Red(ENGINE, "another network", "gpu", _one("fp32", output_shape=[1, 10]), "another network"),
    Red(ENGINE, "half an answer", "gpu", _one("fp16", checked=500), "500 numbers came out"),
    Red(ENGINE, "an engine without weights", "gpu", _one("fp32", plan_bytes=900), "cannot hold"),
    Red(
        ENGINE,
        "another version of the bindings",
        "gpu",
        put(ENGINE, version="11.1.0.1"),
        "it is of another version",
    ),
    Red(
        ENGINE,
        "the bindings are for another Python, so trtexec stood in",
        "gpu",
        _trtexec,
        "the bindings do not import: ModuleNotFoundError",
    ),
    Red(
        ENGINE,
        "no bindings and no trtexec",
        "gpu",
        error(ENGINE, "ImportError: Python 3.13: No module named 'tensorrt'"),
        "Python 3.13",
    ),
    Red(
        ENGINE,
        "shadowed by the user's own",
        "gpu",
        move(MODULE, USERS, None),
        "which is not below /usr/lib/python3",
        also=("stack.libraries",),
    ),
    Red(ENGINE, "nobody described the module", "gpu", _not_described, "memory map"),
    Red(
        ENGINE,
        "the module is another package's",
        "gpu",
        _altered,
        "belongs to python3-other",
        also=("stack.libraries",),
    ),
    Red(
        ENGINE,
        "FP16 was not measured",
        "gpu",
        lambda e: value(e, ENGINE)["precisions"].pop("fp16"),
        "fp16 was not measured",
        status="ERROR",
    ),
    Red(
        ACCURACY,
        "FP16 drifts",
        "gpu",
        put(ACCURACY, fp16_max_abs=0.3),
        "FP16 drifts further",
    ),
    Red(ACCURACY, "FP32 is off", "gpu", put(ACCURACY, fp32_max_abs=0.01), "FP32 is not what"),
    Red(ACCURACY, "FP16 is FP32", "gpu", put(ACCURACY, fp16_max_abs=0.0), "it is not FP16"),
    Red(ACCURACY, "other classes", "gpu", put(ACCURACY, top1_agree=3), "sees other classes"),
    Red(ACCURACY, "NaN", "gpu", put(ACCURACY, not_finite=2), "outputs are no numbers"),
    Red(ACCURACY, "zeros", "gpu", put(ACCURACY, largest_output=0.0), "nothing but zeros"),
    Red(
        ACCURACY,
        "no FP32 to compare with",
        "gpu",
        drop(ACCURACY, "fp32_max_abs"),
        "fp32_max_abs was not measured",
        status="ERROR",
    ),
    Red(LATENCY, "slow", "gpu", _part("fp16", p99_ms=3.5), "FP16 is too slow"),
    Red(LATENCY, "no time at all", "gpu", _part("fp32", median_ms=0.0), "these are no latencies"),
    Red(
        LATENCY,
        "too few runs for a 99th percentile",
        "gpu",
        _part("fp32", samples=12),
        "too few",
        status="ERROR",
    ),
    Red(
        LATENCY,
        "not measured",
        "gpu",
        unmeasured(LATENCY),
        "measured no tensorrt.latency",
        status="ERROR",
    ),
    Red(
        "tensorrt.ran_on_gpu",
        "crashed at its end",
        "gpu",
        on_gpu_outcome("tensorrt", "crashed", "SIGSEGV"),
        "SIGSEGV",
    ),
    Red(
        "tensorrt.ran_on_gpu",
        "a build without end",
        "gpu",
        on_gpu_outcome("tensorrt", "timeout", "no end within 45 s"),
        "did not end in time",
    ),
]
