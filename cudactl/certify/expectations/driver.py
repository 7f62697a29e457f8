"""The driver and NVML: versions, module, flavour."""

from __future__ import annotations

from typing import Any

from cudactl.certify.builder import WITHOUT_GPU, PolicyBuilder


def expect_driver(policy: PolicyBuilder) -> None:
    """Add what the lock promises of driver."""
    lock, layout = policy.lock, policy.layout
    version = lock.resolved.get("driver", "none")
    if version in ("none", "preinstalled"):
        return
    without = {} if lock.spec.gpus else {"without_gpu": WITHOUT_GPU}
    cuda = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libcuda1")
    nvml = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libnvidia-ml1")
    policy.ask("driver")
    if cuda is not None:
        policy.library(["driver"], "cuda", "libcuda.so.1", cuda)
        floor: dict[str, Any] = {}
        if layout.minor:
            # Minor-version compatibility: a driver of the same CUDA major is enough to start.
            floor = {"cuda": f"{layout.major}.0", "cuda_number": int(layout.major) * 1000}
        policy.expect("driver.libcuda", cuda.expect(version, **floor), f"lock {cuda.package.name}")
    module = {"version": version, "flavour": lock.driver_flavour, **without}
    policy.expect("driver.module", module, "lock driver")
    if nvml is not None:
        policy.library(["health"], "nvml", "libnvidia-ml.so.1", nvml)
        expect = nvml.expect(version, **without)
        policy.expect("health.nvml", expect, f"lock {nvml.package.name}")
