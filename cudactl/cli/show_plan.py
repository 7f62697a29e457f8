"""A plan as people read it: what happens, why, what it interrupts, how long it takes."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cudactl.contracts.plan import Change, Plan, PlanStep
from cudactl.workflow.planning import PlannedHost

SHOWN_CHANGES = 6
INTERRUPTIONS = {
    "restart": "restarts a service",
    "reboot": "takes effect after a reboot (cudactl does not reboot the host)",
    "drain": "needs the node drained",
}


def plan_text(planned: PlannedHost, *, verbose: bool = False) -> str:
    """Return one host's plan as lines of text."""
    head = click.style(planned.target.name, bold=True)
    if planned.error is not None:
        return f"{head}  {click.style('could not be read', fg='red')}\n" + _error(planned)
    assert planned.plan is not None
    assert planned.state is not None
    resolved = ", ".join(f"{k} {v}" for k, v in sorted(planned.lock.resolved.items()))
    os_name = planned.state.os.name + (" look-alike" if planned.state.os.look_alike else "")
    lines = [f"{head}  {os_name}  ←  lock {planned.lock.short_hash}: {resolved}"]
    for number, step in enumerate(planned.plan.steps, 1):
        lines += _step(number, step, verbose)
    for finding in planned.plan.findings:
        word = "refused" if finding.refuses else "note"
        color = "red" if finding.refuses else "yellow"
        lines.append(f"  {click.style(word, fg=color)} {finding.code}: {finding.found}")
        if finding.expected:
            lines.append(f"      expected: {finding.expected}")
        if finding.remedy:
            lines.append(f"      what to do: {finding.remedy}")
    if planned.plan.empty and not planned.plan.refusals:
        lines.append(click.style("  nothing to do", fg="green"))
    return "\n".join(lines)


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
        + (
            f"; {click.style(INTERRUPTIONS[step.risk], fg='yellow')}"
            if step.risk in INTERRUPTIONS
            else ""
        ),
    ]
    shown = step.changes if verbose else step.changes[:SHOWN_CHANGES]
    lines += [f"      {_change(change)}" for change in shown]
    if len(shown) < len(step.changes):
        lines.append(f"      … and {len(step.changes) - len(shown)} more (-v shows all)")
    return lines


def _change(change: Change) -> str:
    if change.kind == "file":
        return f"{'~' if change.before else '+'} {change.name}"
    if change.kind == "hold":
        return f"= hold {change.name}"
    if change.before is None:
        return f"+ {change.name} {change.after or ''}"
    return f"~ {change.name} {change.before} → {change.after or 'removed'}"


def summary_line(plans: Sequence[Plan]) -> str:
    """Return the last line: hosts, steps, bytes, time."""
    busy = [p for p in plans if not p.empty]
    steps = sum(len(p.steps) for p in busy)
    fetched = sum(s.download_bytes for p in busy for s in p.steps)
    longest = max((sum(s.seconds for s in p.steps) for p in busy), default=0.0)
    if not busy:
        return f"{len(plans)} host(s): nothing to do"
    return (
        f"{len(busy)} of {len(plans)} host(s) to change: {steps} steps, "
        f"{size(fetched)} to fetch, about {duration(longest)}"
    )


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
