"""cuBLAS, cuBLASLt and NVRTC on each GPU."""

from __future__ import annotations

import re

from cudactl.certify.builder import LOADER, PolicyBuilder
from cudactl.certify.floors import floor

# Compute capability from which cuBLASLt computes a type (NVIDIA cuBLAS documentation,
# cublasLtMatmul's table of types; Tensor Cores for TF32 and BF16 from Ampere, FP8 from Ada).
LEAST_CC = {
    "fp64": "5.0",
    "fp32": "5.0",
    "tf32": "8.0",
    "bf16": "8.0",
    "fp16": "5.3",
    "fp8": "8.9",
    "int8": "7.5",
}
TENSOR_CORES = "7.0"
SPEEDS = ("fp32", "tf32", "bf16", "fp16", "fp8")
FULL, KERNEL_VALUES = 512, 16384
# Errors in standard deviations of an entry. A result in BF16 is rounded to 2^-9 of itself, which is
# below 0.01 up to five deviations; FP8's fast sums keep about 13 bits through the whole row.
ERROR_SIGMA = {"fp8": 0.25}
OTHER_ERROR_SIGMA = 0.05


def expect_toolkit_gpu(policy: PolicyBuilder) -> None:
    """Add what must hold on each GPU where the lock holds cuBLAS."""
    layout = policy.layout
    if not layout.minor or not policy.wants_device("toolkit"):
        return
    dash = re.escape(layout.minor.replace(".", "-"))
    suffix = rf"(-cu{layout.major})?"
    rows = [
        ("cudart", "libcudart", rf"cuda-cudart-{dash}", "nvidia-cuda-runtime", "cuda_runtime"),
        ("cublas", "libcublas", rf"libcublas-{dash}", "nvidia-cublas", "cublas"),
        ("cublaslt", "libcublasLt", rf"libcublas-{dash}", "nvidia-cublas", "cublas"),
        ("nvrtc", "libnvrtc", rf"cuda-nvrtc-{dash}", "nvidia-cuda-nvrtc", "cuda_nvrtc"),
    ]
    places = {name: layout.place(apt, wheel + suffix, where) for name, _, apt, wheel, where in rows}
    if places["cudart"] is None or places["cublaslt"] is None:
        return
    for name, stem, *_ in rows:
        place = places[name]
        if place is None:
            continue
        version = place.package.version.split(".")[0] if "cublas" in name else layout.major
        policy.library(["toolkit"], name, f"{stem}.so.{version}", place, device=True)
    cuda = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libcuda1")
    request = policy.ask_device("toolkit", types=LEAST_CC)
    folders = [*(cuda.folders if cuda else []), LOADER]
    request["libraries"]["cuda"] = {"soname": "libcuda.so.1", "folders": folders}
    source = f"lock {places['cublaslt'].package.name}"
    policy.expect("toolkit.device", {}, source)
    for name, least in LEAST_CC.items():
        expect = {"least_cc": least, "compared": FULL * FULL}
        policy.expect(f"toolkit.matmul.{name}", expect, f"{source}; the GPU table")
    for name in SPEEDS:
        row = floor(f"toolkit.speed.{name}")
        expect = {
            "least_cc": LEAST_CC[name],
            "share": row.share,
            "error_sigma": ERROR_SIGMA.get(name, OTHER_ERROR_SIGMA),
        }
        policy.expect(f"toolkit.speed.{name}", expect, row.source)
    row = floor("toolkit.tensor_gain")
    gain = {"least_cc": TENSOR_CORES, "share": row.share}
    policy.expect("toolkit.tensor_gain", gain, row.source)
    if places["cublas"] is not None:
        policy.expect("toolkit.gemm", {"compared": FULL * FULL // 4}, source)
    if places["nvrtc"] is not None:
        policy.expect("toolkit.nvrtc_run", {"compared": KERNEL_VALUES}, source)
