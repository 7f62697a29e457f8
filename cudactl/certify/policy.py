"""From a lock to a policy: what the probe shall look at, and what each check must show.

Everything expected comes from the lock or from a GPU's reference, and says so; the probe is told
where to look and for what names, never which version would be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cudactl.certify.builder import PolicyBuilder
from cudactl.certify.expectations import EVERY
from cudactl.contracts.certificate import GpuReference, Policy, Tier, Waiver
from cudactl.contracts.lock import StackLock


def compile_policy(
    lock: StackLock,
    *,
    tier: Tier = "smoke",
    references: Mapping[str, GpuReference] | None = None,
    waivers: Sequence[Waiver] = (),
    xids: Mapping[str, Sequence[str]] | None = None,
) -> Policy:
    """Return the policy for a lock.

    Args:
        lock: What the machine was promised.
        tier: How much is measured.
        references: PCI device id → what that GPU should be.
        waivers: Known findings.
        xids: Code → severity, NVIDIA's action, name: what errors in the kernel's log mean.
    """
    policy = PolicyBuilder(lock, tier, xids)
    for expect in EVERY:
        expect(policy)
    legs = policy.legs
    return Policy(
        lock_hash=lock.hash,
        resolved={str(k): v for k, v in lock.resolved.items()},
        allowed=[{"code": a.code, "reason": a.reason} for a in lock.allowed],
        tier=tier,
        legs=sorted(name for name in legs if not legs[name].get("device_only")),
        device_legs=sorted(name for name in legs if "device" in legs[name]),
        references=dict(references or {}),
        waivers=list(waivers),
        without_gpu=policy.without_gpu,
        request={
            "world": "system",
            # Hashing the driver's libraries takes longer than a prolog may.
            "hash": tier != "prolog",
            "legs": legs,
            **({} if legs else {"state_only": True}),
        },
        expectations=policy.expectations,
    )
