"""What the machine's own state must show: system, packages or wheels, GPUs, loaded files."""

from __future__ import annotations

from cudactl.certify.builder import PolicyBuilder


def expect_stack(policy: PolicyBuilder) -> None:
    """Add what the lock promises of stack."""
    lock = policy.lock
    machine = {"x86_64": "x86_64", "sbsa": "aarch64"}[lock.target.arch]
    policy.expect("stack.os", {"os": lock.target.os, "machine": machine}, "lock target")
    if lock.target.packages == "apt":
        packages = {p.name: p.version for p in lock.packages}
        policy.expect("stack.packages", {"packages": packages}, "lock packages")
    else:
        wheels = {p.filename: p.sha256 for p in lock.packages}
        expect = {"lock": lock.short_hash, "wheels": wheels}
        policy.expect("stack.wheels", expect, "lock packages")
    if lock.spec.gpus:
        policy.expect("gpu.present", {"gpus": list(lock.spec.gpus)}, "spec gpus")


def expect_libraries(policy: PolicyBuilder) -> None:
    """Whatever the legs map must be the lock's; a driver that it does not hold is the machine's."""
    lock, layout = policy.lock, policy.layout
    if not any(leg["libraries"] or "rtx" in leg or "nvcc" in leg for leg in policy.legs.values()):
        return
    owners = [p.name for p in lock.packages] if layout.apt else [layout.owner]
    held = lock.resolved.get("driver", "none") not in ("none", "preinstalled")
    foreign = [] if held else ["libcuda.so", "libnvidia-"]
    policy.expect("stack.libraries", {"owners": owners, "foreign": foreign}, "lock packages")
