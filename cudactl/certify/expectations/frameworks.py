"""PyTorch and TensorFlow, where the lock holds them: in its stack's folder, for the user."""

from __future__ import annotations

from cudactl.certify.builder import PolicyBuilder
from cudactl.certify.floors import floor
from cudactl.certify.layout import three

WHAT = ("matmul", "convolution", "training", "digest")


def expect_frameworks(policy: PolicyBuilder) -> None:
    """Add what the lock promises of frameworks."""
    lock, layout = policy.lock, policy.layout
    found = [lock.package(name) for name in ("torch", "tensorflow")]
    packages = [package for package in found if package is not None]
    if not packages:
        return
    policy.device_only("frameworks")
    names = [package.name for package in packages]
    policy.ask_device("frameworks", frameworks=names, sites=[layout.site])
    for package in packages:
        name, source = package.name, f"lock {package.name}"
        expect: dict[str, object] = {"version": three(package.version), "sites": [layout.site]}
        policy.expect(f"frameworks.{name}.loaded", expect, source)
        for what in WHAT:
            policy.expect(f"frameworks.{name}.{what}", {}, source)
        row = floor(f"frameworks.{name}.throughput")
        expect = {"share": row.share, "share_source": row.source}
        policy.expect(f"frameworks.{name}.throughput", expect, row.source)
