"""Certify hosts: policy from the lock → the probe measures there → the judge decides here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cudactl.certify.certificate import exit_of as exit_of_certificate
from cudactl.certify.certificate import make_certificate
from cudactl.certify.expectations.containers import with_image
from cudactl.certify.expectations.ingest import with_results
from cudactl.certify.formats import Judged
from cudactl.certify.keys import SigningKey
from cudactl.certify.policy import compile_policy
from cudactl.certify.selection import select
from cudactl.certify.waivers import read_waivers
from cudactl.contracts.certificate import Certificate, Policy, Tier, Waiver
from cudactl.contracts.errors import CudactlError, Exit, UsageError, worst
from cudactl.contracts.lock import StackLock
from cudactl.reach.fanout import Answer, run_probe
from cudactl.reach.targets import Target
from cudactl.workflow.references import gpu_references, xid_meanings

# What connecting and reading the state may take on top of the legs' own deadlines, seconds.
AROUND_S = 60.0
FLAGS = ("WARN", "NO_REFERENCE")


@dataclass(frozen=True)
class Certified:
    """One host's certificate, or the reason why there is none."""

    target: Target
    certificate: Certificate | None
    evidence: dict[str, Any] | None
    error: CudactlError | None
    envelope: dict[str, Any] | None = None
    signed_by: str | None = None
    duration_s: float = 0.0

    @property
    def judged(self) -> Judged:
        """The outcome, as the output forms take it."""
        return Judged(
            self.target.name,
            self.certificate,
            self.error,
            self.envelope,
            self.signed_by,
            self.evidence,
        )


@dataclass(frozen=True)
class Step:
    """A part of a leg that began or ended on a host, as the host says."""

    leg: str
    gpu: str | None
    """None: the machine's part."""
    outcome: str | None
    """None: it began."""
    duration_s: float

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Step | None:
        """Return a host's word as a step; None where it is none, for hosts may say anything."""
        leg, gpu, outcome = said.get("leg"), said.get("gpu"), said.get("outcome")
        texts = [one for one in (leg, gpu, outcome) if one is not None]
        seconds = said.get("duration_s", 0.0)
        sound = all(isinstance(one, str) and one.isprintable() and len(one) < 80 for one in texts)
        if leg is None or not sound or not isinstance(seconds, int | float):
            return None
        return cls(leg, gpu, outcome, float(seconds))


@dataclass(frozen=True)
class Asked:
    """How much is measured, and what of it is left out."""

    tier: Tier = "smoke"
    """How much is measured."""
    only: tuple[str, ...] = ()
    """Legs and checks that are asked; empty: every one."""
    skip: tuple[str, ...] = ()
    """Legs and checks that are left out."""
    reason: str | None = None
    """Why something is left out."""
    gpus: tuple[str, ...] = ()
    """Only these GPUs, by UUID or PCI address; empty: every one."""
    waivers: tuple[Waiver, ...] = field(default=())
    """Known findings."""
    results: Mapping[str, str] = field(default_factory=dict)
    """Other tools' results about the host, to be taken in: name → text."""
    image: str | None = None
    """An image that is on the host; a container of it is run to see its GPUs."""
    daemon_reload: bool = False
    """Whether systemd is reloaded while that container runs."""


def policy_for(lock: StackLock, asked: Asked) -> Policy:
    """Return a lock's policy, without what is left out.

    Raises:
        UsageError: CHECK-UNKNOWN, CHECK-NONE-LEFT.
    """
    whole = compile_policy(
        lock,
        tier=asked.tier,
        references=gpu_references(),
        waivers=asked.waivers,
        xids=xid_meanings(),
    )
    policy = select(whole, asked.only, asked.skip, asked.reason)
    if asked.results:
        policy = with_results(policy, documents=asked.results)
    if asked.image is not None:
        policy = with_image(policy, asked.image, daemon_reload=asked.daemon_reload)
    if asked.gpus:
        policy = policy.model_copy(update={"request": {**policy.request, "gpus": list(asked.gpus)}})
    return policy


def waivers_from(files: Sequence[Path]) -> tuple[Waiver, ...]:
    """Return the waivers of every file.

    Raises:
        UsageError: WAIVERS-UNREADABLE.
    """
    return tuple(waiver for path in files for waiver in read_waivers(path))


def certify_targets(
    targets: Sequence[Target],
    locks: dict[str, StackLock],
    *,
    forks: int = 30,
    tier: Tier = "smoke",
    gpus: Sequence[str] = (),
    waivers: Sequence[Waiver] = (),
    asked: Asked | None = None,
    key: SigningKey | None = None,
    on_result: Callable[[Certified], None] | None = None,
    on_step: Callable[[str, Step], None] | None = None,
) -> list[Certified]:
    """Measure every target against its lock and return one result each, in their order.

    Args:
        targets: Hosts.
        locks: Target name → lock.
        forks: Hosts at once.
        tier: How much is measured, where `asked` does not say it.
        gpus: Only these GPUs, likewise.
        waivers: Known findings, likewise.
        asked: How much is measured, and what of it is left out.
        key: Signs the certificates; None: nobody does.
        on_result: Called as each host is judged.
        on_step: Called with the host's name as each part of a leg begins and ends there.
    """
    asked = asked or Asked(tier, gpus=tuple(gpus), waivers=tuple(waivers))
    policies = {lock.hash: policy_for(lock, asked) for lock in locks.values()}
    if not all(p.request["legs"] or p.request.get("state_only") for p in policies.values()):
        raise UsageError(
            "CHECK-NONE-LEFT",
            "nothing would run on the host: every leg is left out",
            expected="at least one leg, such as driver or toolkit",
            remedy="leave out less; what a host lacks of its lock is shown by `plan host`",
        )
    by_target = {t.name: policies[locks[t.name].hash] for t in targets}
    results: dict[str, Certified] = {}

    def keep(answer: Answer) -> None:
        name = answer.target.name
        result = _certified(answer, by_target[name], asked, key)
        results[name] = result
        if on_result is not None:
            on_result(result)

    def tell(target: Target, said: dict[str, Any]) -> None:
        step = Step.of(said)
        if step is not None and on_step is not None:
            on_step(target.name, step)

    told = {"progress": True} if on_step is not None else {}
    run_probe(
        targets,
        ["measure"],
        requests={n: json.dumps({**p.request, **told}).encode() for n, p in by_target.items()},
        forks=forks,
        deadline_s=max((_deadline(p) for p in policies.values()), default=AROUND_S),
        on_answer=keep,
        on_progress=tell,
    )
    return [results[target.name] for target in targets]


def judge_evidence(
    evidence: dict[str, Any], policy: Policy, host: str, key: SigningKey | None = None
) -> Judged:
    """Judge evidence that was kept, by a policy.

    Raises:
        EvidenceError: EVIDENCE-UNREADABLE.
    """
    certificate = make_certificate(evidence, policy, host, time.time())
    envelope, signed_by = _signed(certificate, key)
    return Judged(host, certificate, None, envelope, signed_by, evidence)


def exit_of(results: Sequence[Certified | Judged], *, strict: bool = False) -> Exit:
    """Return the exit code over all results; `strict`: warnings are told from a pass."""
    codes = []
    for result in results:
        certificate = result.certificate
        codes.append(exit_of_certificate(certificate) if certificate else Exit.UNMEASURED)
        flagged = [v for v in certificate.verdicts if v.status in FLAGS] if certificate else []
        if strict and flagged:
            codes.append(Exit.FLAGGED)
    return worst(codes)


def read_policy(path: Path) -> Policy:
    """Return the policy in a file.

    Raises:
        UsageError: POLICY-UNREADABLE.
    """
    from pydantic import ValidationError

    from cudactl.certify.reading import read_object

    how = ("POLICY-UNREADABLE", "a policy as `certify policy` writes it", "write it again")
    document = read_object(path, *how)
    try:
        return Policy.model_validate(document)
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        why = f"{'.'.join(str(part) for part in first['loc'])[:120]}: {first['msg']}"
    except RecursionError:
        why = "it is nested too deeply"
    raise UsageError(how[0], f"{path}: {why}", expected=how[1], remedy=how[2])


def _certified(answer: Answer, policy: Policy, asked: Asked, key: SigningKey | None) -> Certified:
    certificate, error = None, answer.error
    envelope: dict[str, Any] | None = None
    signed_by: str | None = None
    evidence = answer.document
    if evidence is not None:
        name = answer.target.name
        try:
            certificate = make_certificate(evidence, policy, name, time.time())
            if asked.gpus and not evidence.get("gpus"):
                certificate = None
                raise _no_such_gpu(name, asked.gpus, evidence)
            envelope, signed_by = _signed(certificate, key)
        except CudactlError as wrong:
            error = wrong
    return Certified(
        answer.target, certificate, evidence, error, envelope, signed_by, answer.duration_s
    )


def _signed(
    certificate: Certificate, key: SigningKey | None
) -> tuple[dict[str, Any] | None, str | None]:
    if key is None:
        return None, None
    from cudactl.certify.signing import sign

    return sign(certificate, key), key.id


def _no_such_gpu(host: str, wanted: Sequence[str], evidence: dict[str, Any]) -> CudactlError:
    there = [str(gpu["address"]) for gpu in evidence["state"]["gpus"]]
    return CudactlError(
        "GPU-NOT-THERE",
        f"{host} has no GPU {' or '.join(wanted)}",
        expected=f"one of {', '.join(there)}" if there else "a host with a GPU",
        remedy="name a GPU by its UUID or its PCI address",
        exit_code=Exit.UNMEASURED,
    )


def _deadline(policy: Policy) -> float:
    legs = policy.request["legs"].values()
    parts = [float(leg["deadline_s"]) for leg in legs if not leg.get("device_only")]
    parts += [float(leg["device"]["deadline_s"]) for leg in legs if "device" in leg]
    return AROUND_S + sum(parts)
