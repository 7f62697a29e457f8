"""What the timed work costs in energy; needs the driver's libraries and nothing else."""

from __future__ import annotations

from cudactl.certify.builder import PolicyBuilder


def expect_energy(policy: PolicyBuilder) -> None:
    """Add the energy leg, where the tier has it and the lock brings the driver."""
    layout = policy.layout
    if not policy.holds_driver or not policy.wants_device("energy"):
        return
    cuda = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libcuda1")
    nvml = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libnvidia-ml1")
    if cuda is None or nvml is None:
        return
    policy.device_only("energy")
    policy.library(["energy"], "cuda", "libcuda.so.1", cuda, device=True)
    policy.library(["energy"], "nvml", "libnvidia-ml.so.1", nvml, device=True)
    policy.expect("energy.draw", {}, "NVML's enforced limit and the GPU's own draw at rest")
