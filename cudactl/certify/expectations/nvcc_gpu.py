"""nvcc on each GPU."""

from __future__ import annotations

import re

from cudactl.certify.builder import PolicyBuilder


def expect_nvcc_gpu(policy: PolicyBuilder) -> None:
    """Add what must hold on each GPU where the lock holds nvcc: as `expect_nvcc` asked for it."""
    layout = policy.layout
    if not layout.minor or not policy.wants_device("nvcc"):
        return
    dash = re.escape(layout.minor.replace(".", "-"))
    suffix = rf"(-cu{layout.major})?"
    nvcc = layout.place(rf"cuda-nvcc-{dash}", "nvidia-cuda-nvcc", "cuda_nvcc")
    cudart = layout.place(rf"cuda-cudart-{dash}", f"nvidia-cuda-runtime{suffix}", "cuda_runtime")
    if nvcc is None or cudart is None:
        return
    home = layout.home if layout.apt else f"{layout.site}/nvidia/cu{layout.major}"
    machine = policy.legs.get("nvcc") or {}
    link = machine.get("link") is True
    policy.ask_device(
        "nvcc",
        nvcc=f"{home}/bin/nvcc",
        link=link,
        folders=machine.get("folders") or cudart.folders,
        includes=machine.get("includes") or [],
    )
    policy.library(["nvcc"], "cudart", f"libcudart.so.{layout.major}", cudart, device=True)
    policy.expect("nvcc.run", {"link": link}, f"lock {nvcc.package.name}")
