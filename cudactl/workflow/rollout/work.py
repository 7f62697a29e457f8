"""What a rollout does on a host: the same planning, provisioning and certifying as everywhere."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from cudactl.certify.keys import SigningKey
from cudactl.contracts.certificate import Certificate, Tier
from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices
from cudactl.provision.run import Progress
from cudactl.reach.targets import Target
from cudactl.workflow.certify import certify_targets, exit_of
from cudactl.workflow.planning import PATIENCE_S, PlannedHost, plan_hosts, same_choices
from cudactl.workflow.provision import apply_plans, store_certificates
from cudactl.workflow.rollout.host_run import DEFERRING, Looked, Shown

ROLLBACK = "cudactl.workflow.rollback"


class HostWork:
    """One host and the lock that it is to carry."""

    def __init__(
        self,
        target: Target,
        lock: StackLock,
        *,
        inventories: Sequence[str] = (),
        tier: Tier = "smoke",
        choices: Choices | None = None,
        become_password: str | None = None,
        key: SigningKey | None = None,
        say: Callable[[str], None] = lambda _: None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._target = target
        self._lock = lock
        self._inventories = inventories
        self._tier = tier
        self._choices = choices
        self._password = become_password
        self._key = key
        self._say = say
        self._on_progress = on_progress
        self._planned: PlannedHost | None = None

    def plan(self) -> Looked:
        """Read the host and plan; a refusal is told with every reason in it."""
        (planned,) = plan_hosts(
            [self._target],
            {self._target.name: self._lock},
            choices=same_choices([self._target], self._choices),
            patience_s=PATIENCE_S,
        )
        self._planned = planned
        if planned.plan is None:
            return Looked(error=planned.error)
        if refusals := planned.plan.refusals:
            # What passes by itself is waited for only when nothing else is in the way.
            lasting = [f for f in refusals if f.code not in DEFERRING]
            first = (lasting or refusals)[0]
            found = "; ".join(f.found for f in refusals)
            error = CudactlError(first.code, found, expected=first.expected, remedy=first.remedy)
            return Looked(error=error, refused=True)
        return Looked(empty=planned.plan.empty)

    def apply(self) -> CudactlError | None:
        """Do what was planned just now."""
        assert self._planned is not None
        try:
            applied = apply_plans(
                [self._planned],
                inventories=self._inventories,
                forks=1,
                become_password=self._password,
                say=self._say,
                on_progress=self._on_progress,
            )
        except CudactlError as error:
            return error
        return next((a.error for a in applied if a.error is not None), None)

    def certify(self) -> Shown:
        """Measure, judge, and keep the certificate on the host."""
        name = self._target.name
        results = certify_targets(
            [self._target], {name: self._lock}, tier=self._tier, key=self._key
        )
        (result,) = results
        if result.certificate is None:
            return Shown(result.error)
        certificate = result.certificate
        envelopes = {name: result.envelope} if result.envelope is not None else {}
        stored = store_certificates({name: certificate}, [self._target], self._password, envelopes)
        line = f"{certificate.verdict}, level {certificate.level}"
        if exit_of(results) != Exit.PASS:
            return Shown(_not_certified(name, certificate), certificate.level, line)
        if stored:
            return Shown(stored[0], certificate.level, line)
        return Shown(None, certificate.level, line)

    def roll_back(self) -> CudactlError | None:
        """Return the host to its last certified lock, and certify that."""
        try:
            check_rollback()
        except CudactlError as error:
            return error
        rollback: Any = importlib.import_module(ROLLBACK)
        try:
            found = rollback.roll_back_host(
                self._target,
                inventories=self._inventories,
                become_password=self._password,
                say=self._say,
            )
        except CudactlError as error:
            return error
        return found if isinstance(found, CudactlError) else None


def check_rollback() -> None:
    """Refuse `--on-failure rollback` where this cudactl cannot do it.

    Raises:
        CudactlError: ROLLOUT-NO-ROLLBACK.
    """
    if importlib.util.find_spec(ROLLBACK) is None:
        raise CudactlError(
            "ROLLOUT-NO-ROLLBACK",
            "this version of cudactl cannot return a host to its last certified lock",
            expected="--on-failure hold or continue",
            remedy="leave --on-failure out: a failed host stays out of service and is shown",
        )


def _not_certified(name: str, certificate: Certificate) -> CudactlError:
    """Return the error for a certificate that lets nobody work, with the worst checks in it."""
    order = {"FAIL": 0, "ERROR": 1}
    bad = [v for v in certificate.verdicts if v.status in order]
    bad.sort(key=lambda v: order[v.status])
    shown = "; ".join(f"{v.check}: {v.reason or v.measured}" for v in bad[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return CudactlError(
        "ROLLOUT-NOT-CERTIFIED",
        f"{name}: {certificate.verdict}: {shown}{more}",
        expected="a certificate that passes",
        remedy=f"look at the whole of it: cudactl certify host {name}; and: cudactl doctor {name}",
    )
