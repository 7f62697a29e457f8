"""NCCL and the links between GPUs, where the lock holds NCCL and the tier asks for them."""

from __future__ import annotations

from cudactl.certify.builder import LOADER, PolicyBuilder
from cudactl.certify.layout import three


def expect_collectives(policy: PolicyBuilder) -> None:
    """Add what the lock promises of collectives."""
    layout = policy.layout
    place = layout.place(r"libnccl2", r"nvidia-nccl-cu\d+", "nccl", system=True)
    if place is None or not policy.wants("collectives"):
        return
    source = f"lock {place.package.name}"
    policy.library(["collectives"], "nccl", "libnccl.so.2", place)
    cuda = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libcuda1")
    folders = [*(cuda.folders if cuda is not None else []), LOADER]
    request = policy.ask("collectives", timed_s=policy.tier.timed_s)
    request["libraries"]["cuda"] = {"soname": "libcuda.so.1", "folders": folders}
    policy.expect("collectives.nccl", place.expect(three(place.package.version)), source)
    without = {"without_gpu": policy.without_gpu} if policy.without_gpu else {}
    for what in ("peers", "allreduce", "bandwidth"):
        policy.expect(f"collectives.{what}", dict(without), source)
