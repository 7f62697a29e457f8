"""A plan as people read it: what happens, why, what it interrupts, how long it takes."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cudactl.contracts.plan import Change, PlanStep
from cudactl.workflow.planning import PlannedHost

SHOWN_CHANGES = 6
SHOWN_NAMES = 8
INTERRUPTIONS = {
    "restart": "restarts services",
    "reboot": "takes effect after a reboot, or a reload of the driver",
    "drain": "needs the node drained",
}


def plans_text(planned: Sequence[PlannedHost], *, verbose: bool = False) -> str:
    """Return hosts and their plans as lines of text; hosts with the same plan are told together."""
    groups: dict[str, list[PlannedHost]] = {}
    for one in planned:
        groups.setdefault(_sameness(one), []).append(one)
    return "\n".join(_group_text(group, verbose) for group in groups.values())


def _sameness(one: PlannedHost) -> str:
    if one.plan is None or one.state is None:
        return f"alone: {one.target.name}"
    told = one.plan.model_dump_json(exclude={"host", "state_hash"})
    return f"{one.state.os.name} {one.state.os.look_alike} {certified(one)} {told}"


def _group_text(group: list[PlannedHost], verbose: bool) -> str:
    first = group[0]
    head = click.style(_names(group), bold=True)
    if first.error is not None:
        return f"{head}  {click.style('could not be read', fg='red')}\n" + _error(first)
    assert first.plan is not None
    assert first.state is not None
    resolved = ", ".join(f"{k} {v}" for k, v in sorted(first.lock.resolved.items()))
    os_name = first.state.os.name + (" look-alike" if first.state.os.look_alike else "")
    lines = [f"{head}  {os_name}  ←  lock {first.lock.short_hash}: {resolved}"]
    for number, step in enumerate(first.plan.steps, 1):
        lines += _step(number, step, verbose)
    for finding in first.plan.findings:
        word = "refused" if finding.refuses else "note"
        color = "red" if finding.refuses else "yellow"
        lines.append(f"  {click.style(word, fg=color)} {finding.code}: {finding.found}")
        if finding.expected:
            lines.append(f"      expected: {finding.expected}")
        if finding.remedy:
            lines.append(f"      what to do: {finding.remedy}")
    if first.plan.empty and not first.plan.refusals:
        lines.append(f"  {click.style('nothing to do', fg='green')}; {certified(first)}")
    return "\n".join(lines)


def _names(group: list[PlannedHost]) -> str:
    names = [one.target.name for one in group]
    shown = ", ".join(names[:SHOWN_NAMES])
    return shown + (f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else "")


def certified(one: PlannedHost) -> str:
    """Return what the certificate kept on a host says of this lock and this boot."""
    kept = one.state.certificate if one.state is not None else None
    if kept is None or one.state is None or kept.lock != one.lock.hash:
        return "not certified by this lock yet (cudactl certify host --store)"
    if kept.boot_id != one.state.boot_id:
        return "rebooted since it was certified (cudactl certify host --store)"
    return f"certified: {kept.verdict}, level {kept.level}"


def _error(planned: PlannedHost) -> str:
    error = planned.error
    assert error is not None
    lines = [f"  {error.code}: {error.found}"]
    if error.remedy:
        lines.append(f"      what to do: {error.remedy}")
    return "\n".join(lines)


def _step(number: int, step: PlanStep, verbose: bool) -> list[str]:
    cost = []
    if step.download_bytes:
        cost.append(size(step.download_bytes))
    cost.append(f"about {duration(step.seconds)}")
    lines = [
        f"  {number}. {click.style(step.role, fg='cyan'):<22} {step.summary}",
        f"      why: {step.reason}",
        f"      cost: {', '.join(cost)}"
        + (f"; {click.style(_interruption(step), fg='yellow')}" if _interruption(step) else ""),
    ]
    shown = step.changes if verbose else step.changes[:SHOWN_CHANGES]
    lines += [f"      {_change(change)}" for change in shown]
    if len(shown) < len(step.changes):
        lines.append(f"      … and {len(step.changes) - len(shown)} more (-v shows all)")
    return lines


def _interruption(step: PlanStep) -> str:
    if step.role == "reboot" and step.risk == "reboot":
        return "the host is down while it boots"
    return INTERRUPTIONS.get(step.risk, "")


def _change(change: Change) -> str:
    if change.kind == "file":
        sign = "-" if change.after is None else "~" if change.before else "+"
        return f"{sign} {change.name}"
    if change.kind == "hold":
        return f"{'-' if change.after is None else '='} hold {change.name}"
    if change.kind == "boot":
        return f"! reboot: kernel {change.before} → {change.after}"
    if change.before is None:
        return f"+ {change.name} {change.after or ''}"
    return f"~ {change.name} {change.before} → {change.after or 'removed'}"


def summary_line(planned: Sequence[PlannedHost]) -> str:
    """Return the last line: hosts, steps, bytes, time, and how many are out of reach or refused."""
    plans = [p.plan for p in planned if p.plan is not None]
    refused = [p for p in plans if p.refusals]
    busy = [p for p in plans if not p.empty and not p.refusals]
    unread = len(planned) - len(plans)
    parts = []
    if busy:
        steps = sum(len(p.steps) for p in busy)
        fetched = sum(s.download_bytes for p in busy for s in p.steps)
        longest = max(sum(s.seconds for s in p.steps) for p in busy)
        parts.append(
            f"{len(busy)} of {hosts(len(planned))} to change: {steps} step{'s' * (steps != 1)}, "
            + (f"{size(fetched)} to fetch, " if fetched else "")
            + f"about {duration(longest)}"
        )
    still = len(plans) - len(busy) - len(refused)
    if still:
        parts.append(f"{hosts(still)}: nothing to do")
    if refused:
        parts.append(f"{hosts(len(refused))} refused")
    if unread:
        parts.append(f"{hosts(unread)} could not be read")
    return "; ".join(parts)


def hosts(count: int) -> str:
    """Return "1 host" or "7 hosts"."""
    return f"{count} host{'s' if count != 1 else ''}"


def size(count: int) -> str:
    """Return bytes as people say them."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min"
