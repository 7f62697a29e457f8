"""TensorRT and TensorRT for RTX."""

from __future__ import annotations

from cudactl.certify.builder import PolicyBuilder
from cudactl.certify.layout import three

# The targets that TensorRT for RTX 1.7 builds FP32 engines for ahead of time.
RTX_TARGETS = ["SM80", "SM86", "SM89", "SM120"]


def expect_tensorrt(policy: PolicyBuilder) -> None:
    """Add what the lock promises of tensorrt."""
    lock, layout = policy.lock, policy.layout
    version = lock.resolved.get("tensorrt")
    if version is not None:
        place = layout.place(r"libnvinfer\d+", r"tensorrt-cu\d+-libs", "tensorrt_libs", system=True)
        if place is not None:
            soname = f"libnvinfer.so.{version.split('.')[0]}"
            policy.library(["tensorrt"], "nvinfer", soname, place)
            expect = place.expect(three(version))
            policy.expect("tensorrt.library", expect, f"lock {place.package.name}")
    rtx = lock.resolved.get("tensorrt_rtx")
    if rtx is not None and not layout.apt:
        policy.ask("tensorrt", rtx={"site": layout.site, "targets": RTX_TARGETS})
        expect = {
            "version": rtx,
            "targets": RTX_TARGETS,
            "output_shape": [1, 1000],
            "prefixes": [layout.site + "/"],
        }
        policy.expect("tensorrt_rtx.build", expect, "lock tensorrt_rtx")
