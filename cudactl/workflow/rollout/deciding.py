"""What comes next in a rollout: which hosts are taken, or why none is. Pure.

First the canaries, and nothing else until each is certified; then whatever fits into the budget, as
soon as it fits (no batch waits for its slowest host): hosts that are down already first, because
they cost nobody anything, then those that nobody uses just now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cudactl.contracts.rollout import RolloutHostState, RolloutRequest, RolloutState
from cudactl.workflow.rollout.deriving import FINAL, RIGHT


@dataclass(frozen=True)
class Held:
    """Why no further host is taken, and what to do."""

    code: str
    text: str
    remedy: str


@dataclass(frozen=True)
class Decision:
    """What comes next."""

    take: tuple[str, ...] = ()
    """Hosts to begin with, now."""
    hold: Held | None = None
    """Stop taking hosts."""
    finished: bool = False
    """Every host has ended."""
    until: float | None = None
    """Nothing can be taken before this Unix time, seconds; None: before a host ends."""


def allowed_down(max_down: str, size: int) -> int:
    """Return how many of a group's `size` hosts may be down; a share is at least one host."""
    if max_down.endswith("%"):
        return max(1, size * int(max_down[:-1]) // 100)
    return int(max_down)


def budgets(request: RolloutRequest, max_down: str) -> dict[str, int]:
    """Return group → how many of its hosts may be down at once."""
    sizes: dict[str, int] = {}
    for host in request.hosts:
        for group in host.groups:
            sizes[group] = sizes.get(group, 0) + 1
    return {group: allowed_down(max_down, size) for group, size in sizes.items()}


def canaries(request: RolloutRequest, state: RolloutState) -> list[str]:
    """Return the canaries: those named, or the first hosts that could be taken.

    A host that was left alone proves nothing, so where only a number was asked for, the next host
    takes its place.
    """
    options = request.options
    if options.canaries:
        return options.canaries
    passed_over = ("skipped", "busy", "left", "unchanged")
    able = [h.name for h in state.hosts.values() if h.status not in passed_over]
    return able[: options.canary]


def decide(
    request: RolloutRequest, state: RolloutState, now: float, *, idle: Collection[str] = ()
) -> Decision:
    """Return what a controller does next.

    Args:
        request: What was asked for.
        state: Where everything stands.
        now: Unix time, seconds.
        idle: Waiting hosts that nobody uses just now, as far as that is known.
    """
    hosts = state.hosts
    waiting = [h for h in hosts.values() if h.status == "waiting"]
    running = [h for h in hosts.values() if h.status == "running"]
    if not waiting and not running:
        return Decision(finished=True)
    if state.status != "running" or not waiting:
        return Decision()
    if (held := _failures(request, state)) is not None:
        return Decision(hold=held)
    chosen = canaries(request, state)
    if (held := _canary_trouble(chosen, state)) is not None:
        return Decision(hold=held)
    open_canaries = [n for n in chosen if hosts[n].status not in RIGHT]
    if open_canaries:
        waiting = [h for h in waiting if h.name in open_canaries]
    ready = [h for h in waiting if h.until <= now]
    room = request.options.forks - len(running)
    take = _fitting(request, state, _ordered(ready, idle), room)
    if take or running:
        return Decision(take=tuple(take))
    later = [h.until for h in waiting if h.until > now]
    if later:
        return Decision(until=min(later))
    return Decision(hold=_no_room(request, state, waiting))


def _ordered(ready: list[RolloutHostState], idle: Collection[str]) -> list[RolloutHostState]:
    return sorted(ready, key=lambda h: (not h.down, h.name not in idle, h.deferred))


def _fitting(
    request: RolloutRequest, state: RolloutState, ready: Iterable[RolloutHostState], room: int
) -> list[str]:
    budget = budgets(request, state.max_down)
    down = down_by_group(state)
    take: list[str] = []
    for host in ready:
        if len(take) >= room:
            break
        if not host.down:
            if any(down.get(group, 0) >= budget[group] for group in host.groups):
                continue
            for group in host.groups:
                down[group] = down.get(group, 0) + 1
        take.append(host.name)
    return take


def down_by_group(state: RolloutState) -> dict[str, int]:
    """Return group → its hosts that are down."""
    down: dict[str, int] = {}
    for host in state.hosts.values():
        if host.down:
            for group in host.groups:
                down[group] = down.get(group, 0) + 1
    return down


def _failures(request: RolloutRequest, state: RolloutState) -> Held | None:
    allowed = request.options.failures_allowed
    if allowed is None or state.failures < allowed:
        return None
    failed = [h for h in state.hosts.values() if h.status in ("failed", "rolled-back")]
    return Held(
        "ROLLOUT-FAILURES",
        f"{_count(state.failures, 'host')} failed: {_names(failed)}",
        f"look at why: cudactl rollout status {state.id}; mend it and try those hosts again with "
        f"`rollout resume {state.id} --retry`, or go on without them: `rollout resume {state.id}`",
    )


def _canary_trouble(chosen: list[str], state: RolloutState) -> Held | None:
    # A canary that was right already is no reason to stop; one that nobody could look at is.
    bad = [
        state.hosts[n]
        for n in chosen
        if state.hosts[n].status in FINAL and state.hosts[n].status not in RIGHT
    ]
    if not bad:
        return None
    return Held(
        "ROLLOUT-CANARY",
        f"the canary was not certified: {_names(bad)}",
        f"mend it and run `cudactl rollout resume {state.id} --retry`; or `rollout abort "
        f"{state.id}`: no other host was taken",
    )


def _no_room(request: RolloutRequest, state: RolloutState, waiting: list[RolloutHostState]) -> Held:
    budget = budgets(request, state.max_down)
    down = down_by_group(state)
    full = sorted({g for h in waiting for g in h.groups if down.get(g, 0) >= budget[g]})
    there = [h for h in state.hosts.values() if h.down and set(h.groups) & set(full)]
    within = "" if full == ["all"] else f" in {', '.join(full)}"
    return Held(
        "ROLLOUT-BUDGET",
        f"{_count(len(there), 'host')} down{within}: {_names(there)}; {state.max_down} may be, so "
        f"none of the {_count(len(waiting), 'waiting host')} can be taken",
        f"bring one of them back and run `cudactl rollout resume {state.id}` (--retry: those that "
        "failed here), or allow more with `--max-down`",
    )


def _names(hosts: list[RolloutHostState]) -> str:
    shown = [f"{h.name} ({h.code})" if h.code else h.name for h in hosts[:5]]
    return ", ".join(shown) + (f" and {len(hosts) - 5} more" if len(hosts) > 5 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
