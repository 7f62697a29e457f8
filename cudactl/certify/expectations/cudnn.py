"""cuDNN and its sub-libraries."""

from __future__ import annotations

from cudactl.certify.builder import PolicyBuilder
from cudactl.certify.layout import three

# cuDNN's sub-libraries by major (NVIDIA cuDNN documentation, "Overview").
CUDNN_PARTS = {
    "9": [
        "adv",
        "cnn",
        "engines_precompiled",
        "engines_runtime_compiled",
        "graph",
        "heuristic",
        "ops",
    ],
    "8": ["adv_infer", "adv_train", "cnn_infer", "cnn_train", "ops_infer", "ops_train"],
}
NEED_DRIVER = ["engines_runtime_compiled"]


def expect_cudnn(policy: PolicyBuilder) -> None:
    """Add what the lock promises of cudnn."""
    lock, layout = policy.lock, policy.layout
    version = lock.resolved.get("cudnn")
    if version is None:
        return
    major = version.split(".")[0]
    place = layout.place(
        rf"libcudnn{major}(-cuda-\d+)?", r"nvidia-cudnn-cu\d+", "cudnn", system=True
    )
    if place is None:
        return
    source = f"lock {place.package.name}"
    policy.library(["cudnn"], "cudnn", f"libcudnn.so.{major}", place)
    exact = three(version)
    expect = place.expect(exact, cuda_major=layout.major or place.package.name.split("-")[-1])
    policy.expect("cudnn.library", expect, source)
    # Without a driver in the lock there is no libcuda, which these link to.
    needs = NEED_DRIVER if lock.resolved.get("driver", "none") == "none" else []
    expect = place.expect(exact, names=CUDNN_PARTS.get(major, []), needs_driver=needs)
    policy.expect("cudnn.sublibraries", expect, source)
