"""Collects what the probe is asked and what each check must show, while walking through a lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cudactl.certify.layout import Layout, Place
from cudactl.certify.tiers import TIERS, TierPlan
from cudactl.contracts.certificate import Expectation, Tier
from cudactl.contracts.lock import StackLock

LOADER = "loader"
WITHOUT_GPU = "no GPU is in this machine and the lock names none: the level stays linkage"
DEADLINES_S = {
    "driver": 30.0,
    "health": 30.0,
    "toolkit": 60.0,
    "cudnn": 120.0,
    "tensorrt": 180.0,
    "nvcc": 240.0,
    "frameworks": 240.0,
    "collectives": 120.0,
    "containers": 60.0,
    "energy": 60.0,
    "ingest": 30.0,
}
"""Seconds that the machine's part of a leg may take; the device parts' are the tier's."""


class PolicyBuilder:
    """A policy in the making: one lock, one tier."""

    def __init__(
        self, lock: StackLock, tier: Tier, xids: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.lock = lock
        self.xids = dict(xids or {})
        self.tier: TierPlan = TIERS[tier]
        self.layout = Layout(lock)
        self.legs: dict[str, dict[str, Any]] = {}
        self.expectations: list[Expectation] = []

    @property
    def holds_driver(self) -> bool:
        """True where the lock brings the driver itself."""
        return self.lock.resolved.get("driver", "none") not in ("none", "preinstalled")

    @property
    def without_gpu(self) -> str | None:
        """Why checks on GPUs do not apply where none is; None where the lock names GPUs."""
        return None if self.lock.spec.gpus else WITHOUT_GPU

    def wants(self, leg: str) -> bool:
        """Return True when the tier runs this leg's machine part."""
        return leg in self.tier.legs

    def wants_device(self, leg: str) -> bool:
        """Return True when the tier runs this leg's device part."""
        return leg in self.tier.device_s

    def ask(self, leg: str, **more: object) -> dict[str, Any]:
        """Return the request for a leg's machine part, made at its first mention."""
        if not self.wants(leg) and not self.wants_device(leg):
            return {"libraries": {}, "device": {"libraries": {}}}  # asked, and not of this tier
        request = self.legs.setdefault(leg, {"deadline_s": DEADLINES_S[leg], "libraries": {}})
        if not self.wants(leg):
            request["device_only"] = True
        for key, value in more.items():
            request.setdefault(key, value)
        return request

    def ask_device(self, leg: str, **more: object) -> dict[str, Any]:
        """Return the request for a leg's device part, made at its first mention.

        It carries the tier's name and knobs ("tier", "timed_s", "memory_share") besides its own
        "deadline_s" and "libraries".
        """
        if not self.wants_device(leg):
            return {"libraries": {}}
        request: dict[str, Any] = self.ask(leg).setdefault(
            "device",
            {
                "deadline_s": self.tier.device_s[leg],
                "libraries": {},
                "tier": self.tier.name,
                "timed_s": self.tier.timed_s,
                "memory_share": self.tier.memory_share,
            },
        )
        for key, value in more.items():
            request.setdefault(key, value)
        return request

    def device_only(self, leg: str) -> None:
        """Say that a leg has no machine part."""
        self.ask(leg)["device_only"] = True

    def library(
        self, legs: list[str], name: str, soname: str, place: Place, *, device: bool = False
    ) -> None:
        """Ask legs (their device parts) to look for a library."""
        for leg in legs:
            request = self.ask_device(leg) if device else self.ask(leg)
            request["libraries"][name] = {"soname": soname, "folders": [*place.folders, LOADER]}

    def expect(self, check: str, expect: dict[str, Any], source: str) -> None:
        """Add an expectation; a check is expected once, and only where the tier runs its leg."""
        leg = {"tensorrt_rtx": "tensorrt"}.get(check.split(".")[0], check.split(".")[0])
        if leg in DEADLINES_S and not self.wants(leg) and not self.wants_device(leg):
            return
        self.expectations.append(Expectation(check=check, expect=expect, source=source))

    def skip(self, check: str, reason: str) -> None:
        """Say that a check does not apply to this lock, and why."""
        self.expectations.append(Expectation(check=check, source="lock packages", skip=reason))
