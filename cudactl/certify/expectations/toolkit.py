"""cudart, cuBLAS, cuBLASLt and NVRTC."""

from __future__ import annotations

import re

from cudactl.certify.builder import PolicyBuilder
from cudactl.certify.layout import three


def expect_toolkit(policy: PolicyBuilder) -> None:
    """Add what the lock promises of toolkit."""
    layout = policy.layout
    if not layout.minor:
        return
    dash = re.escape(layout.minor.replace(".", "-"))
    suffix = rf"(-cu{layout.major})?"
    minor = layout.minor
    rows = [
        ("cudart", "libcudart", rf"cuda-cudart-{dash}", "nvidia-cuda-runtime", "cuda_runtime"),
        ("cublas", "libcublas", rf"libcublas-{dash}", "nvidia-cublas", "cublas"),
        ("cublaslt", "libcublasLt", rf"libcublas-{dash}", "nvidia-cublas", "cublas"),
        ("nvrtc", "libnvrtc", rf"cuda-nvrtc-{dash}", "nvidia-cuda-nvrtc", "cuda_nvrtc"),
    ]
    for name, stem, apt, wheel, folder in rows:
        place = layout.place(apt, wheel + suffix, folder)
        if place is None:
            continue
        soname = (
            f"{stem}.so.{place.package.version.split('.')[0] if 'cublas' in name else layout.major}"
        )
        policy.library(["toolkit", "cudnn"], name, soname, place)
        version = three(place.package.version) if "cublas" in name else minor
        policy.expect(f"toolkit.{name}", place.expect(version), f"lock {place.package.name}")
