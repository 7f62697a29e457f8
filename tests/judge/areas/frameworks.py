"""PyTorch and TensorFlow on each GPU."""

from __future__ import annotations

from typing import Any

from tests.judge.healthy import add_device_leg, apt_lock, library, value
from tests.judge.red import Change, Evidence, Red, drop, error, on_gpu_outcome, put, unmeasured

HASH = apt_lock(("H200 SXM",), frameworks=True).short_hash
SITE = f"/opt/cudactl/stacks/{HASH}/site"
CUDA = "/usr/local/cuda-13.0/targets/x86_64-linux/lib"
DIGEST = "5e" * 32
NAMES = ("torch", "tensorflow")


def _exact(count: int) -> dict[str, Any]:
    return {
        "checked": count,
        "expected": count,
        "wrong": 0,
        "not_finite": 0,
        "all_zero": False,
        "largest_error": 0.0,
    }


def nightly(evidence: Evidence) -> None:
    """Both frameworks of the lock's stack, each with its own CUDA."""
    own = [f"{SITE}/nvidia/cu13/lib/libcudart.so.13", f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9"]
    measurements: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        check = f"frameworks.{name}."
        measurements[check + "loaded"] = {
            "interpreter": "/usr/bin/python3",
            "python": "3.12.3",
            "path": f"{SITE}/{name}/__init__.py",
            "version": {"torch": "2.13.0+cu130", "tensorflow": "2.20.0"}[name],
            "cuda_version": "13.0",
            "cudnn_number": 91300 if name == "torch" else None,
            "available": True,
            "device_name": "NVIDIA H200",
            "capability": "9.0",
            "architectures": ["sm_80", "sm_90", "sm_100", "compute_120"],
            "libraries": list(own),
            "cudart_number": 13000,
            "driver_cuda_number": 13000,
            "cudnn_loaded_number": 91300,
        }
        kinds = ("fp64", "fp32", "tf32", "fp16", "bf16")
        measurements[check + "matmul"] = {"by_type": {kind: _exact(9216) for kind in kinds}}
        ways = [f"{kind} {way}" for kind in ("fp32", "fp16", "bf16") for way in ("nchw", "nhwc")]
        measurements[check + "convolution"] = {"by_kind": {way: _exact(2304) for way in ways}}
        measurements[check + "training"] = {
            "regression_steps": 200,
            "regression_error": 8.8e-8,
            "passes": 6,
            "accuracy": 1.0,
            "final_loss": 7.5e-5,
            "images_per_s": 61_000.0,
            "finite": True,
        }
        measurements[check + "digest"] = {"digest": DIGEST, "again": DIGEST}
        measurements[check + "throughput"] = {
            "matmul_type": "bf16",
            "matmul_n": 8192,
            "matmul_tflops": 760.0,
            "slowest_tflops": 752.0,
            "samples": 90,
            "timed_s": 2.0,
        }
    modules = [f"{SITE}/{name}/__init__.py" for name in NAMES]
    add_device_leg(
        evidence,
        "frameworks",
        measurements,
        [library(path, f"stack:{HASH}") for path in (*own, *modules)],
    )


def policy(document: dict[str, Any]) -> None:
    """Let what the frameworks bring belong to the lock, as a wheel stack does."""
    names = [one["check"] for one in document["expectations"]]
    for one in document["expectations"]:
        if one["check"] == "stack.libraries" and "frameworks.torch.loaded" in names:
            one["expect"]["owners"] = [*one["expect"]["owners"], f"stack:{HASH}"]


def _kind(check: str, key: str, kind: str, **values: object) -> Change:
    return lambda e: value(e, check)[key][kind].update(values)


def _of(name: str) -> list[Red]:
    loaded, matmul = f"frameworks.{name}.loaded", f"frameworks.{name}.matmul"
    convolution, training = f"frameworks.{name}.convolution", f"frameworks.{name}.training"
    digest, throughput = f"frameworks.{name}.digest", f"frameworks.{name}.throughput"
    return [
        Red(
            loaded,
            "shadowed by the user's own copy",
            "nightly",
            put(loaded, path=f"/home/u/.local/lib/python3.12/site-packages/{name}/__init__.py"),
            "shadowed: another copy is imported",
        ),
        Red(loaded, "another version", "nightly", put(loaded, version="2.1.0"), "another version"),
        Red(
            loaded,
            "a build for processors",
            "nightly",
            put(loaded, available=False, cuda_version=None),
            "for processors only",
        ),
        Red(loaded, "sees no GPU", "nightly", put(loaded, available=False), "it sees no GPU"),
        Red(
            loaded,
            "another libcudart in its memory",
            "nightly",
            put(loaded, cudart_number=12080),
            "libcudart 12.8 was loaded",
        ),
        Red(
            loaded,
            "two copies of cuDNN",
            "nightly",
            lambda e: value(e, loaded)["libraries"].append(f"{CUDA}/libcudnn.so.9"),
            "two copies of libcudnn",
        ),
        Red(
            loaded,
            "a driver that is too old",
            "nightly",
            put(loaded, driver_cuda_number=12080),
            "the driver only knows CUDA 12.8",
        ),
        Red(
            loaded,
            "no code for this GPU",
            "nightly",
            put(loaded, architectures=["sm_70", "sm_80", "sm_100"]),
            "no code for compute capability 9.0",
        ),
        Red(
            loaded,
            "does not import",
            "nightly",
            error(loaded, f"ModuleNotFoundError: No module named '{name}'"),
            "ModuleNotFoundError",
        ),
        Red(
            loaded,
            "says of no GPU that it has code for it",
            "nightly",
            put(loaded, architectures=[]),
            "does not say which GPUs",
            status="ERROR",
        ),
        Red(
            matmul,
            "one wrong number",
            "nightly",
            _kind(matmul, "by_type", "fp64", wrong=1, largest_error=2.0),
            "fp64: 1 of 9216 numbers are wrong, by up to 2.0",
        ),
        Red(
            matmul,
            "TF32 for FP32",
            "nightly",
            _kind(matmul, "by_type", "fp32", wrong=9000, largest_error=96.0),
            "is it TF32 in truth?",
        ),
        Red(
            matmul,
            "NaN",
            "nightly",
            _kind(matmul, "by_type", "bf16", wrong=3, not_finite=3),
            "bf16: 3 of 9216 are no numbers",
        ),
        Red(
            matmul,
            "half a result",
            "nightly",
            _kind(matmul, "by_type", "fp16", checked=4608),
            "the result is not whole",
        ),
        Red(
            convolution,
            "zeros",
            "nightly",
            _kind(convolution, "by_kind", "fp16 nhwc", wrong=2200, all_zero=True),
            "fp16 nhwc: nothing but zeros",
        ),
        Red(
            convolution,
            "the algorithm is refused",
            "nightly",
            error(
                convolution, "RuntimeError: cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"
            ),
            "SUBLIBRARY_VERSION_MISMATCH",
        ),
        Red(
            training,
            "misses the closed form",
            "nightly",
            put(training, regression_error=0.02),
            "misses the closed-form solution",
        ),
        Red(training, "learns nothing", "nightly", put(training, accuracy=0.25), "does not learn"),
        Red(training, "NaN", "nightly", put(training, finite=False), "what are no numbers"),
        Red(digest, "other bits", "nightly", put(digest, again="11" * 32), "silent corruption"),
        Red(
            throughput,
            "slow",
            "nightly",
            put(throughput, matmul_tflops=300.0),
            "too slow for this GPU",
        ),
        Red(
            throughput,
            "faster than can be",
            "nightly",
            put(throughput, matmul_tflops=2400.0),
            "it did not do the work",
        ),
        Red(
            throughput,
            "no rate",
            "nightly",
            drop(throughput, "matmul_tflops"),
            "matmul_tflops was not measured",
            status="ERROR",
        ),
        Red(
            digest,
            "not measured",
            "nightly",
            unmeasured(digest),
            f"measured no frameworks.{name}.digest",
            status="ERROR",
        ),
    ]


RED = [
    *_of("torch"),
    *_of("tensorflow"),
    Red(
        "frameworks.ran_on_gpu",
        "the interpreter crashed",
        "nightly",
        on_gpu_outcome("frameworks", "crashed", "python3 ended with status -11"),
        "status -11",
    ),
]
