"""cuDNN on each GPU."""

from __future__ import annotations

import re

from cudactl.certify.builder import PolicyBuilder

# Algorithms that transform instead of multiplying matrices (NVIDIA cuDNN documentation,
# cudnnConvolutionFwdAlgo_t and its siblings).
TRANSFORMS = ["winograd", "winograd_nonfused", "fft_tiling"]
KINDS = ["fp32", "fp16"]
COMPARED = 16 * 8 * 9
"""Numbers of the smallest result, the filter's gradient."""
ERROR_SIGMA = 0.05
"""A result in FP16 is rounded to 2^-12 of itself, which is far below."""


def expect_cudnn_gpu(policy: PolicyBuilder) -> None:
    """Add what must hold on each GPU where the lock holds cuDNN."""
    lock, layout = policy.lock, policy.layout
    version = lock.resolved.get("cudnn")
    if version is None or not policy.wants_device("cudnn"):
        return
    major = version.split(".")[0]
    cudnn = layout.place(
        rf"libcudnn{major}(-cuda-\d+)?", r"nvidia-cudnn-cu\d+", "cudnn", system=True
    )
    if cudnn is None or not layout.minor:
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
    if places["cudart"] is None:
        return
    for name, stem, *_ in rows:
        place = places[name]
        if place is not None:
            own = place.package.version.split(".")[0] if "cublas" in name else layout.major
            policy.library(["cudnn"], name, f"{stem}.so.{own}", place, device=True)
    policy.library(["cudnn"], "cudnn", f"libcudnn.so.{major}", cudnn, device=True)
    source = f"lock {cudnn.package.name}"
    for operation in ("forward", "backward_data", "backward_filter"):
        expect = {"transforms": TRANSFORMS, "kinds": KINDS, "compared": COMPARED}
        policy.expect(f"cudnn.{operation}", expect, source)
    policy.expect("cudnn.speed", {"error_sigma": ERROR_SIGMA}, source)
