"""Certify hosts: policy from the lock → the probe measures there → the judge decides here."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cudactl.certify.certificate import exit_of as exit_of_certificate
from cudactl.certify.certificate import make_certificate
from cudactl.certify.policy import compile_policy
from cudactl.contracts.certificate import Certificate, Policy, Tier, Waiver
from cudactl.contracts.errors import CudactlError, Exit, worst
from cudactl.contracts.lock import StackLock
from cudactl.reach.fanout import run_probe
from cudactl.reach.targets import Target
from cudactl.workflow.references import gpu_references

# What connecting and reading the state may take on top of the legs' own deadlines, seconds.
AROUND_S = 60.0


@dataclass(frozen=True)
class Certified:
    """One host's certificate, or the reason why there is none."""

    target: Target
    certificate: Certificate | None
    evidence: dict[str, Any] | None
    error: CudactlError | None


def certify_targets(
    targets: Sequence[Target],
    locks: dict[str, StackLock],
    *,
    forks: int = 30,
    tier: Tier = "smoke",
    gpus: Sequence[str] = (),
    waivers: Sequence[Waiver] = (),
) -> list[Certified]:
    """Measure every target against its lock and return one result each, in their order.

    Args:
        targets: Hosts.
        locks: Target name → lock.
        forks: Hosts at once.
        tier: How much is measured.
        gpus: Only these GPUs, by UUID or PCI address; empty: every one.
        waivers: Known findings.
    """
    references = gpu_references()
    policies = {
        lock.hash: compile_policy(lock, tier=tier, references=references, waivers=waivers)
        for lock in locks.values()
    }
    for policy in policies.values():
        if gpus:
            policy.request["gpus"] = list(gpus)
    by_target = {t.name: policies[locks[t.name].hash] for t in targets}
    deadline = max((_deadline(p) for p in policies.values()), default=AROUND_S)
    answers = run_probe(
        targets,
        ["measure"],
        requests={n: json.dumps(p.request).encode() for n, p in by_target.items()},
        forks=forks,
        deadline_s=deadline,
    )
    results = []
    for answer in answers:
        name = answer.target.name
        certificate, error = None, answer.error
        if answer.document is not None:
            try:
                certificate = make_certificate(answer.document, by_target[name], name, time.time())
            except CudactlError as wrong:
                error = wrong
        results.append(Certified(answer.target, certificate, answer.document, error))
    return results


def exit_of(results: Sequence[Certified]) -> Exit:
    """Return the exit code over all results."""
    codes = [
        exit_of_certificate(r.certificate) if r.certificate is not None else Exit.UNMEASURED
        for r in results
    ]
    return worst(codes)


def _deadline(policy: Policy) -> float:
    legs = policy.request["legs"].values()
    parts = [float(leg["deadline_s"]) for leg in legs if not leg.get("device_only")]
    parts += [float(leg["device"]["deadline_s"]) for leg in legs if "device" in leg]
    return AROUND_S + sum(parts)
