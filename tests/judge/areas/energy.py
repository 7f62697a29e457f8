"""What work costs on each GPU."""

from __future__ import annotations

from tests.judge.healthy import DRIVER, SYSTEM, add_device_leg, library
from tests.judge.red import Evidence, Red, error, on_gpu_outcome, put, unmeasured

DRAW = "energy.draw"


def nightly(evidence: Evidence) -> None:
    """An H200 under multiply-adds."""
    draw = {
        "idle_w": 118.0,
        "limit_w": 700.0,
        "by": "counter",
        "seconds": 2.02,
        "joules": 1010.0,
        "average_w": 500.0,
        "sampled_w": 512.0,
        "samples": 13,
        "work": "fp32 multiply-adds",
        "tflop": 117.0,
        "tflops": 57.9,
        "tflops_per_w": 0.1158,
        "threads": 270_336,
        "wrong_threads": 0,
    }
    add_device_leg(
        evidence,
        "energy",
        {DRAW: draw},
        [
            library(f"{SYSTEM}/libcuda.so.{DRIVER}", "libnvidia-compute-580"),
            library(f"{SYSTEM}/libnvidia-ml.so.{DRIVER}", "libnvidia-compute-580"),
        ],
    )


RED = [
    Red(
        DRAW,
        "the counter stands still",
        "nightly",
        put(DRAW, joules=0.0, average_w=0.0, tflops_per_w=None),
        "stands still",
    ),
    Red(DRAW, "the counter runs backwards", "nightly", put(DRAW, average_w=-60.0), "backwards"),
    Red(DRAW, "above the limit", "nightly", put(DRAW, average_w=801.0), "more than the enforced"),
    Red(DRAW, "as at rest", "nightly", put(DRAW, average_w=110.0), "no more than at rest"),
    Red(
        DRAW,
        "the counter counts double",
        "nightly",
        put(DRAW, average_w=700.0, sampled_w=350.0),
        "more than any sample",
    ),
    Red(DRAW, "the load is wrong", "nightly", put(DRAW, wrong_threads=1), "something wrong"),
    Red(
        DRAW,
        "NVML has neither counter nor power",
        "nightly",
        put(DRAW, joules=None, average_w=None, by="nothing"),
        "joules, average_w was not measured",
        status="ERROR",
    ),
    Red(
        DRAW,
        "the load does not run",
        "nightly",
        error(DRAW, "cuLaunchKernel answers CUDA_ERROR_LAUNCH_FAILED (719)"),
        "CUDA_ERROR_LAUNCH_FAILED",
    ),
    Red(DRAW, "not measured", "nightly", unmeasured(DRAW), "measured no energy", status="ERROR"),
    Red(
        "energy.ran_on_gpu",
        "crashed",
        "nightly",
        on_gpu_outcome("energy", "crashed", "SIGBUS"),
        "SIGBUS",
    ),
]
