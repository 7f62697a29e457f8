"""One controller's turn at a rollout: take the lock, look, drive, report."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.rollout import JournalRecord, RolloutReport, RolloutState
from cudactl.workflow.rollout.controller import TEXTS, Controller, Survey
from cudactl.workflow.rollout.deriving import derive
from cudactl.workflow.rollout.folders import RolloutFolder, Wish, who
from cudactl.workflow.rollout.journal import Journal
from cudactl.workflow.rollout.processes import ProcessRunner
from cudactl.workflow.rollout.reporting import make_report, report_of, write_markdown
from cudactl.workflow.rollout.starting import Survey as HostSurvey
from cudactl.workflow.rollout.starting import locks_of, targets_of

ENDED = ("finished", "aborted")


@dataclass
class Interrupts:
    """How often Ctrl-C was pressed (or the controller was asked to end) since the beginning."""

    count: int = 0

    @contextmanager
    def caught(self, say: Callable[[int], None]) -> Iterator[None]:
        """Count instead of dying; `say` is called with the count."""

        def caught(*_: object) -> None:
            self.count += 1
            say(self.count)

        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signals.append(signal.SIGHUP)  # the terminal is closed: a pause, too
        before = {s: signal.signal(s, caught) for s in signals}
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)


def drive(
    folder: RolloutFolder,
    *,
    survey: Survey | None = None,
    max_down: str | None = None,
    retry: bool = False,
    become_password: str | None = None,
    on_record: Callable[[JournalRecord], None] = lambda _: None,
    on_interrupt: Callable[[int], None] = lambda _: None,
) -> tuple[RolloutReport, bool]:
    """Drive a rollout until it ends, pauses or is held.

    Args:
        folder: The rollout.
        survey: How its hosts stand, where that was looked at just now.
        max_down: A budget that replaces the one so far.
        retry: Take hosts again that ended without being certified.
        become_password: sudo's password, where it asks.
        on_record: Receives each record when it is safe.
        on_interrupt: Called with the number of times that Ctrl-C was pressed.

    Returns:
        The report, and whether Ctrl-C ended it.

    Raises:
        CudactlError: ROLLOUT-DRIVEN, ROLLOUT-…, or what reading inventory and scheduler finds.
    """
    request = folder.request()
    targets = targets_of(request)
    interrupts = Interrupts()
    with folder.driven() as lock_fd, closing(Journal(folder.journal)) as journal:
        runner = ProcessRunner(
            request, folder, lock_fd, targets, locks_of(request), become_password=become_password
        )
        controller = Controller(request, folder, journal, runner, interrupts, on_record=on_record)
        controller.open(survey or HostSurvey(request, targets), max_down=max_down, retry=retry)
        try:
            with interrupts.caught(on_interrupt):
                state = controller.drive()
        except KeyboardInterrupt:
            state = controller.state
        except BaseException:
            runner.stop()  # no worker may outlive a controller that cannot write down what it says
            raise
        report = make_report(request, state, None, str(folder.path))
        write_markdown(folder, request, report)
    return report, interrupts.count > 0


def ask(folder: RolloutFolder, wish: Wish) -> RolloutReport:
    """Pause or abort a rollout, whether somebody drives it just now or nobody does.

    Raises:
        CudactlError: ROLLOUT-ENDED.
    """
    request = folder.request()
    _refuse_ended(derive(request, folder.records()))
    folder.ask(wish)
    try:
        with folder.driven(), closing(Journal(folder.journal)) as journal:
            # Nobody drives it: written down here; hosts in the middle are the next one's to finish,
            # for whom the wish to abort stays.
            state = derive(request, journal.records)
            if state.status in ENDED or wish == "pause":
                folder.take_back(wish)
            _refuse_ended(state)
            values: dict[str, Any] = {"who": who(), "text": f"{who()}: {TEXTS[wish]}"}
            if wish == "abort" or state.status == "running":
                journal.append("aborted" if wish == "abort" else "paused", **values)
    except CudactlError as error:
        if error.code != "ROLLOUT-DRIVEN":
            raise
    return report_of(folder)


def _refuse_ended(state: RolloutState) -> None:
    if state.status in ENDED:
        raise CudactlError(
            "ROLLOUT-ENDED",
            f"rollout {state.id} is {state.status}",
            expected="a rollout that still has something to do",
            remedy=f"see what happened: cudactl rollout status {state.id}",
        )
