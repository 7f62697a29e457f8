"""The controller: takes hosts as `decide` says, writes down what they tell, hears who calls.

It is one loop in one process and holds nothing in memory that the journal does not say. Killed at
any instant, the next one begins with the hosts that were being worked on, and goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from cudactl.contracts.rollout import RolloutHostState, RolloutRequest, RolloutState
from cudactl.workflow.rollout.deciding import decide
from cudactl.workflow.rollout.deriving import FINAL, RIGHT, Folding
from cudactl.workflow.rollout.folders import RolloutFolder, Wish, who
from cudactl.workflow.rollout.host_run import HostJob
from cudactl.workflow.rollout.journal import Journal

LISTEN_S = 0.5
"""How long the controller listens to its hosts before it looks for wishes again, seconds."""
TEXTS: dict[Wish, str] = {
    "pause": "no further host is taken until the rollout is resumed",
    "abort": "no further host is taken; what was begun is finished",
}

HostEvent = tuple[str, str, dict[str, Any]]
"""Host, event and its values, as the journal takes them."""
Survey = Callable[[Sequence[RolloutHostState]], Iterable[HostEvent]]
"""Looks at hosts before anything is done to them."""


class Runner(Protocol):
    """Works on hosts, several at once."""

    def start(self, job: HostJob) -> None:
        """Begin with a host; returns at once."""

    def events(self, timeout_s: float) -> Iterable[HostEvent]:
        """Return what hosts have told since, waiting at most `timeout_s` seconds for the first."""

    def idle(self, hosts: Sequence[RolloutHostState]) -> Collection[str]:
        """Return those of the hosts that nobody uses just now, as far as that is cheap to know."""

    def stop(self) -> None:
        """Stop working on every host, where it is; returns when nothing works any more."""


class Interrupts(Protocol):
    """How often somebody has pressed Ctrl-C."""

    count: int


class Controller:
    """Drives one rollout until it ends, pauses or is held."""

    def __init__(
        self,
        request: RolloutRequest,
        folder: RolloutFolder,
        journal: Journal,
        runner: Runner,
        interrupts: Interrupts,
        *,
        clock: Callable[[], float] = time.time,
        on_record: Callable[[Any], None] = lambda _: None,
        listen_s: float = LISTEN_S,
    ) -> None:
        self._request = request
        self._folder = folder
        self._journal = journal
        self._runner = runner
        self._interrupts = interrupts
        self._clock = clock
        self._on_record = on_record
        self._listen_s = listen_s
        self._folding = Folding(request, journal.records)

    def write(self, event: str, **values: Any) -> None:  # noqa: ANN401
        """Write a record and take it in."""
        record = self._journal.append(event, **values)
        self._folding.add(record)
        self._on_record(record)

    @property
    def state(self) -> RolloutState:
        """Where everything stands."""
        return self._folding.state()

    def open(self, survey: Survey, *, max_down: str | None = None, retry: bool = False) -> None:
        """Begin or go on: say who drives, and look at the hosts that are not being worked on.

        Args:
            survey: Says how hosts stand, as records: `surveyed`, or `done` where nothing is to do.
            max_down: A budget that replaces the one so far.
            retry: Hosts that ended without being certified are taken again.
        """
        self._folder.take_back("pause")
        self.write("opened", pid=os.getpid(), who=who(), max_down=max_down)
        state = self.state
        if state.status == "aborted":
            return
        if retry:
            for host in state.hosts.values():
                if host.status in FINAL and host.status not in RIGHT:
                    self.write("retry", host=host.name, text=f"again, after {host.status}")
            state = self.state
        # What is being worked on is known; of the rest, those that may be taken or may be down.
        hosts = state.hosts.values()
        asked = [h for h in hosts if h.status == "waiting" or (h.down and h.status in FINAL)]
        for host_name, event, values in survey(asked):
            self.write(event, host=host_name, **values)

    def drive(self) -> RolloutState:
        """Work until nothing is being done and nothing may be begun.

        Raises:
            KeyboardInterrupt: after the second Ctrl-C; hosts are left where they were.
        """
        state = self.state
        for host in state.hosts.values():
            if host.status == "running":
                self._runner.start(self._job(host))
        while True:
            self._hear(state)
            state = self.state
            now = self._clock()
            waiting = [h for h in state.hosts.values() if h.status == "waiting"]
            free = state.status == "running" and waiting
            idle = self._runner.idle(waiting) if free else ()
            decision = decide(self._request, state, now, idle=idle)
            if decision.hold is not None:
                hold = decision.hold
                self.write("held", code=hold.code, text=hold.text, remedy=hold.remedy)
                state = self.state
            for name in decision.take:
                self.write("taken", host=name)
                self._runner.start(self._job(self.state.hosts[name]))
            running = decision.take or any(h.status == "running" for h in state.hosts.values())
            if decision.finished and state.status in ("running", "paused"):
                self.write("finished")
            if not running and decision.until is None:
                return self.state
            self._listen(now, decision.until)
            state = self.state

    def _listen(self, now: float, until: float | None) -> None:
        patience = self._listen_s if until is None else max(0.01, min(self._listen_s, until - now))
        for host, event, values in self._runner.events(patience):
            self.write(event, host=host, **values)

    def _hear(self, state: RolloutState) -> None:
        """Take in what other terminals and Ctrl-C ask for."""
        if self._interrupts.count > 1:
            self._runner.stop()
            raise KeyboardInterrupt
        if self._interrupts.count and state.status == "running":
            self._folder.ask("pause")  # the hosts' work looks for it while it waits
            self.write("paused", code="ROLLOUT-INTERRUPTED", who="Ctrl-C", text=TEXTS["pause"])
            state = self.state
        if (by := self._folder.asked("abort")) and state.status not in ("aborted", "aborting"):
            self.write("aborted", who=by, text=f"{by}: {TEXTS['abort']}")
        elif (by := self._folder.asked("pause")) and state.status == "running":
            self.write("paused", who=by, text=f"{by}: {TEXTS['pause']}")

    def _job(self, host: RolloutHostState) -> HostJob:
        options = self._request.options
        return HostJob(
            host=host.name,
            rollout=self._request.id,
            engine=host.engine or "none",
            node=host.node,
            phase=host.phase or "taken",
            touched=host.touched,
            deferred=host.deferred,
            deferrals=options.deferrals,
            drain_timeout_s=options.drain_timeout_s,
            poll_s=options.poll_s,
            retry_after_s=options.retry_after_s,
            on_failure=options.on_failure,
            include_drained=options.include_drained,
        )
