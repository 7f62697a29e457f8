"""Plan hosts: fan out the probe, read the states, make one plan per host. Changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cudactl.contracts.errors import CudactlError, UnreachableError, UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, Plan, SavedPlan
from cudactl.contracts.state import HostState
from cudactl.provision.claim import no_longer, no_obstacle
from cudactl.provision.offline_root import offline_state
from cudactl.provision.plan import make_plan
from cudactl.provision.steps.distribution import DEADLINE_S, SCRIPT, missing, with_answer
from cudactl.reach.fanout import Answer, run_probe, run_python
from cudactl.reach.targets import Target

PATIENCE_S = 600.0
"""How long a run waits for the apt of one that was killed."""
PAUSE_S = 2.0


@dataclass(frozen=True)
class PlannedHost:
    """One host with its plan, or the reason why there is none."""

    target: Target
    lock: StackLock
    state: HostState | None
    plan: Plan | None
    error: CudactlError | None


def plan_hosts(
    targets: Sequence[Target],
    locks: dict[str, StackLock],
    *,
    forks: int = 30,
    deadline_s: float = 60.0,
    on_answer: Callable[[Answer], None] | None = None,
    run_id: str = "",
    choices: Mapping[str, Choices] | None = None,
    patience_s: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
) -> list[PlannedHost]:
    """Probe every target once and return its plan; an unreachable host has its reason instead.

    Args:
        targets: The hosts.
        locks: Host name → its lock.
        forks: Hosts at once.
        deadline_s: Seconds for a host's answer.
        on_answer: Receives every answer as it comes.
        run_id: Our own run, whose claim is no obstacle.
        choices: Host name → what the caller decided; hosts not named get the defaults.
        patience_s: How long to wait for the apt of a killed run to end, seconds: what a host is
            in the middle of cannot be planned from.
        say: Receives what is waited for.
    """
    heard: dict[str, float] = {}

    def hear(answer: Answer) -> None:
        heard[answer.target.name] = time.time()
        if on_answer is not None:
            on_answer(answer)

    answers = run_probe(targets, ["state"], forks=forks, deadline_s=deadline_s, on_answer=hear)
    states = {answer.target.name: read_state(answer) for answer in answers}
    until = time.monotonic() + patience_s
    while busy := [t for t in targets if _finishing(states[t.name][0])]:
        if time.monotonic() > until:
            break
        say(f"{', '.join(t.name for t in busy)}: waiting for apt, which a killed run began …")
        time.sleep(PAUSE_S)
        for answer in run_probe(busy, ["state"], forks=forks, deadline_s=deadline_s):
            states[answer.target.name] = read_state(answer)
    for target in targets:
        if target.root is not None and (there := states[target.name][0]) is not None:
            states[target.name] = (offline_state(there, target.kernel), None)
    _ask_apt(targets, locks, states, forks)
    planned = []
    for target in targets:
        state, error = states[target.name]
        lock = locks[target.name]
        plan = None
        if state is not None:
            ours = no_obstacle(state, run_id)
            plan = make_plan(
                target.name,
                lock,
                state,
                # Of a large fleet the first answers are old by now; clocks are held against theirs.
                now=heard.get(target.name, time.time()),
                no_obstacle=ours,
                choices=(choices or {}).get(target.name),
            )
        planned.append(PlannedHost(target, lock, state, plan, error))
    return planned


def _finishing(state: HostState | None) -> bool:
    """Return True where apt is still at what a run began that is not there any more."""
    if state is None or not state.dpkg_locked or state.records.interrupted is None:
        return False
    there = state.host_lock
    return there is None or no_longer(there)


def same_choices(targets: Sequence[Target], choices: Choices | None) -> dict[str, Choices]:
    """Return the same choices for every target; None: the defaults."""
    return {target.name: choices or Choices() for target in targets}


def _ask_apt(
    targets: Sequence[Target],
    locks: dict[str, StackLock],
    states: dict[str, tuple[HostState | None, CudactlError | None]],
    forks: int,
) -> None:
    """Put into the states what hosts' apt answers, where the distribution must bring something.

    One question for each set of missing packages; nobody is asked who has them all.
    """
    questions: dict[tuple[str, ...], list[Target]] = {}
    for target in targets:
        state = states[target.name][0]
        if state is not None and (names := missing(locks[target.name], state)):
            questions.setdefault(tuple(names), []).append(target)
    for question, asked in questions.items():
        names = list(question)
        for answer in run_python(asked, SCRIPT, names, forks=forks, deadline_s=DEADLINE_S):
            state, error = states[answer.target.name]
            if state is not None:
                told = with_answer(state, answer.document, names)
                states[answer.target.name] = (told, error)


def read_state(answer: Answer) -> tuple[HostState | None, CudactlError | None]:
    """Return the state in an answer, or the reason why it holds none."""
    if answer.document is None:
        return None, answer.error
    try:
        return HostState.model_validate(answer.document), None
    except ValidationError as wrong:
        first = wrong.errors()[0]
        return None, UnreachableError(
            "PROBE-UNREADABLE",
            f"{answer.target.name}: the probe's answer does not fit: {first['loc']}: "
            f"{first['msg']}",
            expected="the state document of this version of cudactl",
            remedy="please report it",
        )


def save_plans(planned: Sequence[PlannedHost], inventories: Sequence[str], path: Path) -> None:
    """Write plans and their locks to `path`, all or nothing.

    Raises:
        UsageError: PLAN-NOT-WRITTEN.
    """
    saved = SavedPlan(
        plans=[p.plan for p in planned if p.plan is not None],
        locks={p.lock.hash: p.lock.model_dump(mode="json") for p in planned},
        inventory=[str(Path(i).resolve()) if "," not in i else i for i in inventories],
    )
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            aside.write_text(saved.model_dump_json(indent=1) + "\n")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(path, error.strerror or str(error)) from None


def check_can_save(path: Path) -> None:
    """Refuse a place that cannot be written before hosts are asked.

    Raises:
        UsageError: PLAN-NOT-WRITTEN.
    """
    if not path.absolute().parent.is_dir():
        raise _not_written(path, "its folder is not there")
    if not os.access(path.absolute().parent, os.W_OK):
        raise _not_written(path, "its folder may not be written to")


def _not_written(path: Path, why: str) -> UsageError:
    return UsageError(
        "PLAN-NOT-WRITTEN",
        f"{path}: {why}",
        expected="a file in a folder that may be written to",
        remedy="choose another place with -o",
    )


def load_plans(path: Path) -> tuple[SavedPlan, dict[str, StackLock]]:
    """Return a saved plan and host name → lock.

    Raises:
        UsageError: PLAN-UNREADABLE.
    """

    def unreadable(why: str) -> UsageError:
        return UsageError(
            "PLAN-UNREADABLE",
            f"{path}: {why}",
            expected="a file written by `cudactl plan host -o FILE`",
            remedy="plan again",
        )

    try:
        saved = SavedPlan.model_validate_json(path.read_bytes())
        locks = {h: StackLock.model_validate(doc) for h, doc in saved.locks.items()}
    except OSError as error:
        raise unreadable(error.strerror or str(error)) from error
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise unreadable(f"{where or 'the file'}: {first['msg']}") from wrong
    for key, lock in locks.items():
        if lock.hash != key:
            raise unreadable(f"the lock {key[:12]} in it was altered")
    for plan in saved.plans:
        if plan.lock_hash not in locks:
            raise unreadable(f"the lock of {plan.host} is not in it")
    return saved, {plan.host: locks[plan.lock_hash] for plan in saved.plans}


def check_unmoved(planned: Sequence[PlannedHost], saved: SavedPlan) -> None:
    """Refuse when a host is no longer as it was when its plan was saved.

    Raises:
        CudactlError: PLAN-STALE, naming the hosts and what differs.
    """
    approved = {plan.host: plan for plan in saved.plans}
    moved = []
    for host in planned:
        if host.plan is None:
            continue
        before = approved[host.target.name]
        if before.hash != host.plan.hash:
            moved.append(f"{host.target.name} ({_difference(before, host.plan)})")
    if moved:
        raise CudactlError(
            "PLAN-STALE",
            f"the host moved since the plan was saved: {'; '.join(moved)}",
            expected="exactly the saved plan",
            remedy="nothing was changed; plan again, look at it, and apply that one",
        )


def _difference(before: Plan, after: Plan) -> str:
    old = {(c.kind, c.name): c for s in before.steps for c in s.changes}
    new = {(c.kind, c.name): c for s in after.steps for c in s.changes}
    parts = []
    for (kind, name), change in sorted({**old, **new}.items()):
        if (kind, name) not in new:
            parts.append(f"{name} needs no change any more")
        elif (kind, name) not in old or old[kind, name] != change:
            # Of a file only hashes are known, which tell a reader nothing.
            now = "another file" if kind == "file" and change.before else change.before
            parts.append(f"{name} is {now or 'absent'} now")
    shown = ", ".join(parts[:3])
    return (
        shown + (f", and {len(parts) - 3} more" if len(parts) > 3 else "")
    ) or "its steps differ"
