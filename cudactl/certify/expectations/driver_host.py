"""The driver as it is installed: one version in all its parts, now and after the next boot."""

from __future__ import annotations

from typing import Any

from cudactl.certify.builder import LOADER, PolicyBuilder
from cudactl.certify.expectations.driver_gpu import CONTAINERISED

QUICK = ["agreement", "nodes", "roots"]
"""Cheap enough for a prolog; the rest reads kernel modules, which are large."""
ALL = [*QUICK, "next_kernel", "nouveau", "secure_boot"]


def expect_driver_host(policy: PolicyBuilder) -> None:
    """Add what a driver must show whose version the lock holds, or that was there before."""
    version = policy.lock.resolved.get("driver", "none")
    if version == "none":
        return
    asked = QUICK if policy.tier.name == "prolog" else ALL
    request = policy.ask("driver", host=asked)
    folders = [f"{CONTAINERISED}{policy.layout.system}", LOADER]
    request["libraries"].setdefault("cuda", {"soname": "libcuda.so.1", "folders": folders})
    without: dict[str, Any] = {"without_gpu": policy.without_gpu} if policy.without_gpu else {}
    for name in asked:
        expect = dict(without)
        if name == "next_kernel" and version != "preinstalled":
            expect["version"] = version
        policy.expect(f"driver.{name}", expect, "lock driver")
