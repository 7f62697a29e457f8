"""The work on one host: out of service, to its lock, certified, and back. Convergent.

A generator: each step is told before it is done, so that whoever runs it (a process for each host,
or a test) writes it down first. Begun again after a crash, it finds what is there and goes on; the
scheduler itself says whether the node is ours. A host is given back only when it was certified, or
when nothing was changed on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from cudactl.contracts.base import Contract
from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.rollout import Engine, OnFailure, Phase
from cudactl.reach.service import Service, Standing

RETURN_TRIES = 12
"""How often giving a certified host back is tried while the scheduler does not answer."""
DEFERRING = (
    "HOST-BUSY",
    "PREFLIGHT-GPU-BUSY",
    "PREFLIGHT-SCHEDULER-BUSY",
    "SLURM-SILENT",
    "KUBERNETES-SILENT",
)
"""Codes of what passes by itself: the host is put back into the queue instead of failing."""


class HostJob(Contract):
    """What the work on one host needs to know of its rollout."""

    host: str
    """The host."""
    rollout: str
    """The rollout's name."""
    engine: Engine = "none"
    """Who schedules work on it."""
    node: str | None = None
    """What the engine calls it."""
    phase: Phase = "taken"
    """Where it was, when a controller before us was stopped."""
    touched: bool = False
    """Something may have been changed on it and was not certified since."""
    deferred: int = 0
    """How often it was put back already."""
    deferrals: int = 3
    """How often it may be."""
    drain_timeout_s: float = 3600.0
    """How long it may take to become free, seconds."""
    poll_s: float = 5.0
    """How often it is looked whether it is free, seconds."""
    retry_after_s: float = 300.0
    """How long it is left alone after it was put back, seconds."""
    on_failure: OnFailure = "hold"
    """Whether it goes back to its last certified lock when it fails."""
    include_drained: bool = False
    """Work on it although somebody else drained it."""


@dataclass(frozen=True)
class Step:
    """Something that the work tells: a journal event with its values, or (None) a pause."""

    event: str | None
    values: dict[str, Any] = field(default_factory=dict)
    pause_s: float = 0.0
    """How long to wait before going on, seconds."""


@dataclass(frozen=True)
class Looked:
    """What planning found."""

    empty: bool = False
    """The host carries its lock already."""
    error: CudactlError | None = None
    """Why nothing can be done."""
    refused: bool = False
    """The error is a refusal: nothing was changed, and nothing is broken."""


@dataclass(frozen=True)
class Shown:
    """What certifying showed."""

    error: CudactlError | None = None
    """Why the host may not go back."""
    level: str | None = None
    """Level of the certificate."""
    text: str = ""
    """The certificate in a line."""


class Work(Protocol):
    """What is done on the host itself."""

    def plan(self) -> Looked:
        """Read the host and plan. Changes nothing."""

    def apply(self) -> CudactlError | None:
        """Do what was planned; return why it failed."""

    def certify(self) -> Shown:
        """Measure, judge, and keep the certificate."""

    def roll_back(self) -> CudactlError | None:
        """Return to the last certified lock, and certify that; return why that failed."""


def run_host(
    job: HostJob,
    service: Service,
    work: Work,
    *,
    stopping: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
) -> Iterator[Step]:
    """Do the work on one host and tell each step; the last one is `done` or `deferred`."""
    run = _Run(job, service, work, stopping, clock)
    try:
        yield from run.steps()
    except CudactlError as error:
        yield from run.trouble(error)


class _Run:
    def __init__(
        self,
        job: HostJob,
        service: Service,
        work: Work,
        stopping: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.job = job
        self.node = job.node or job.host
        self.service = service
        self.work = work
        self.stopping = stopping
        self.clock = clock
        self.foreign = ""  # why somebody else holds it out of service
        self.touched = job.touched

    def steps(self) -> Iterator[Step]:
        if self.job.phase == "returning":
            yield from self.back(Shown(text="certified before the controller was stopped"))
            return
        standing = self._standing()
        if self._is_foreign(standing) and not self.job.include_drained:
            yield _done(
                "skipped",
                "ROLLOUT-FOREIGN-DRAIN",
                _by_others(standing),
                down=True,
                remedy="ask whoever did; or take it and leave it so: --include-drained",
            )
            return  # fmt: skip
        yield _phase("draining", f"{standing.why}" if self._is_foreign(standing) else "")
        if standing.in_service:
            self.service.withdraw(self.node)
            standing = self._standing()
            if standing.in_service:
                raise CudactlError(
                    "ROLLOUT-NOT-DRAINED",
                    f"{self.node} still takes work after it was taken out of service",
                    expected="a node that takes no new work",
                    remedy=f"look at the node in {self.service.name}",
                )
            if self._is_foreign(standing) and not self.job.include_drained:
                # Somebody came between looking and draining: theirs, not ours.
                yield _done("skipped", "ROLLOUT-FOREIGN-DRAIN", _by_others(standing), down=True)
                return
        self.foreign = standing.why if self._is_foreign(standing) else ""
        emptied = yield from self._wait_until_empty()
        if emptied:
            yield from self._on_empty_host()

    def _is_foreign(self, standing: Standing) -> bool:
        return self.service.name != "none" and not standing.in_service and not standing.ours

    def _standing(self) -> Standing:
        if self.service.name == "none":
            # Nobody else gives it work: being taken is all that there is to do.
            return Standing(in_service=False, ours=True)
        there = self.service.standings([self.node])
        if self.node not in there:
            raise CudactlError(
                "ROLLOUT-NODE-UNKNOWN",
                f"{self.service.name} has no node {self.node} (for {self.job.host})",
                expected="the host's name in its scheduler",
                remedy=f"say it in the inventory: cudactl_{self.service.name}_node: NAME",
            )
        return there[self.node]

    def _wait_until_empty(self) -> Generator[Step, None, bool]:
        """Wait; returns (through `yield from`) whether the node is empty and ours to change."""
        until = self.clock() + self.job.drain_timeout_s
        told = ""
        while True:
            left: str | None
            try:
                left = self.service.still_there(self.node, self.job.poll_s)
            except CudactlError as error:
                if error.exit_code != Exit.UNMEASURED:
                    raise
                left = error.found
            if left is None:
                return True
            if self.stopping():
                yield self._deferred("ROLLOUT-PAUSED", f"not begun: {left}; the rollout pauses")
                return False
            if self.clock() >= until:
                yield self._put_back("ROLLOUT-NOT-FREE", f"still there: {left}")
                return False
            if left != told:
                told = left
                yield _phase("draining", f"waiting for {left}")
            yield Step(None, pause_s=self.job.poll_s)

    def _put_back(self, code: str, text: str) -> Step:
        """Return the host to the queue, or leave it alone when that was done often enough."""
        if self.job.deferred >= self.job.deferrals:
            down = not self._give_back_unchanged()
            return _done("busy", code, text, down=down, remedy="start another rollout for it later")
        return self._deferred(code, text)

    def _deferred(self, code: str, text: str) -> Step:
        down = not self._give_back_unchanged()
        until = self.clock() + self.job.retry_after_s
        return Step("deferred", {"code": code, "text": text, "down": down, "until": until})

    def _give_back_unchanged(self) -> bool:
        """Give back a host on which nothing was changed; False: it stays out of service."""
        if self.touched or self.foreign:
            return False
        try:
            return self.service.give_back(self.node)
        except CudactlError:
            return False

    def _on_empty_host(self) -> Iterator[Step]:
        yield _phase("drained")
        looked = self.work.plan()
        if looked.error is not None:
            if looked.error.code in DEFERRING:
                yield self._put_back(looked.error.code, looked.error.found)
            elif looked.refused and not self.touched:
                yield _failed(looked.error, down=not self._give_back_unchanged())
            else:
                yield from self.failed(looked.error)
            return
        if not looked.empty:
            self.touched = True
            yield _phase("provisioning")
            if (error := self.work.apply()) is not None:
                yield from self.failed(error)
                return
        yield _phase("certifying")
        shown = self.work.certify()
        if shown.error is not None:
            yield from self.failed(shown.error)
            return
        yield _phase("returning", shown.text)
        yield from self.back(shown)

    def back(self, shown: Shown) -> Iterator[Step]:
        """Return a certified host to service, unless somebody else holds it out of it."""
        if self.foreign:
            text = f"{shown.text}; left out of service, as it was found: {self.foreign}"
            yield _done("certified", "ROLLOUT-LEFT-DRAINED", text, down=True, level=shown.level)
            return
        for attempt in range(RETURN_TRIES):
            try:
                returned = self.service.give_back(self.node)
                break
            except CudactlError as error:
                if attempt == RETURN_TRIES - 1:
                    yield _done("certified", "ROLLOUT-NOT-RETURNED", f"{shown.text}; could not be "
                                f"given back: {error.found}", down=True, level=shown.level,
                                remedy=f"return {self.node} by hand")  # fmt: skip
                    return
                yield Step(None, pause_s=self.job.poll_s)
        standing = Standing(in_service=True) if returned else self._standing()
        if standing.in_service:
            yield _done("certified", None, shown.text, down=False, level=shown.level)
        else:
            yield _done("certified", "ROLLOUT-LEFT-DRAINED", f"{shown.text}; left out of service: "
                        f"it is no longer ours: {standing.why}", down=True,
                        level=shown.level)  # fmt: skip

    def failed(self, error: CudactlError) -> Iterator[Step]:
        """End a host that failed: rolled back where that was chosen, else left out of service."""
        if self.job.on_failure == "rollback" and self.touched:
            yield _phase("rolling-back", f"{error.code}: {error.found}")
            worse = self.work.roll_back()
            if worse is None:
                down = bool(self.foreign) or not self.service.give_back(self.node)
                yield _done("rolled-back", error.code, f"{error.found}; returned to its last "
                            "certified lock", down=down, remedy=error.remedy)  # fmt: skip
                return
            error = CudactlError(error.code, f"{error.found}; and could not be rolled back: "
                                 f"{worse.code}: {worse.found}", remedy=worse.remedy)  # fmt: skip
        if not self.foreign:
            self._remark(error.code)
        yield _failed(error, down=True)

    def trouble(self, error: CudactlError) -> Iterator[Step]:
        """End a host on which something raised instead of returning."""
        if error.exit_code == Exit.UNMEASURED and not self.touched:
            yield self._put_back(error.code, error.found)
        else:
            yield _failed(error, down=True)

    def _remark(self, code: str) -> None:
        try:
            self.service.remark(self.node, code)
        except CudactlError:
            return  # the journal says it, too


def _phase(phase: Phase, text: str = "") -> Step:
    return Step("phase", {"phase": phase, "text": text})


def _done(
    outcome: str,
    code: str | None,
    text: str,
    *,
    down: bool,
    remedy: str = "",
    level: str | None = None,
) -> Step:
    values = {"outcome": outcome, "code": code, "text": text, "down": down, "remedy": remedy}
    return Step("done", {**values, "level": level})


def _failed(error: CudactlError, *, down: bool) -> Step:
    return _done("failed", error.code, error.found, down=down, remedy=error.remedy)


def _by_others(standing: Standing) -> str:
    return f"out of service by others: {standing.why}"
