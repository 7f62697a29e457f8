"""The driver's part on each GPU: needs libcuda only, so it is asked wherever a driver is."""

from __future__ import annotations

from cudactl.certify.builder import LOADER, PolicyBuilder
from cudactl.certify.floors import floor

# Where the GPU Operator's driver container mounts its root (NVIDIA/gpu-operator, driver daemonset).
CONTAINERISED = "/run/nvidia/driver"
COPY_BYTES = 32 << 20
BANDWIDTH_BYTES = 1 << 30
MEMORY_LEAST, MEMORY_MOST = 0.88, 1.03
"""Share of the nominal GB that the driver may report, in GiB. Where ECC lies in the memory itself
(GDDR) it takes a sixteenth, and the driver keeps a part; the rest of the margin is our estimate."""
KINDS = ["s32", "f32", "f64"]


def expect_driver_gpu(policy: PolicyBuilder) -> None:
    """Add what each GPU must show to the driver leg."""
    lock, layout = policy.lock, policy.layout
    if lock.resolved.get("driver", "none") == "none" or not policy.wants_device("driver"):
        return
    place = layout.driver(r"libnvidia-compute(-\d+)?(-server)?", r"libcuda1")
    request = policy.ask_device("driver", copy_bytes=COPY_BYTES, bandwidth_bytes=BANDWIDTH_BYTES)
    if place is not None:
        policy.library(["driver"], "cuda", "libcuda.so.1", place, device=True)
    else:  # a driver that was there before: wherever the loader finds it
        folders = [f"{CONTAINERISED}{layout.system}", LOADER]
        request["libraries"]["cuda"] = {"soname": "libcuda.so.1", "folders": folders}
    memory = {"memory_least": MEMORY_LEAST, "memory_most": MEMORY_MOST}
    policy.expect("driver.device", memory, "catalogue gpus, by PCI id")
    policy.expect("driver.kernels", {}, "the driver's own compiler")
    # What is free shrinks a little between asking and taking.
    share = round(0.95 * policy.tier.memory_share, 4)
    policy.expect("driver.memory", {"share": share}, f"tier {policy.tier.name}")
    policy.expect("driver.compute", {"kinds": KINDS}, "exact arithmetic")
    policy.expect("driver.copy", {}, "what was copied")
    rate = floor("driver.bandwidth")
    policy.expect("driver.bandwidth", {"share": rate.share}, rate.source)
