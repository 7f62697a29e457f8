"""A rollout as people read it: before it begins, while it runs, and what happened to whom."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from cudactl.contracts.rollout import (
    JournalRecord,
    RolloutHostState,
    RolloutReport,
    RolloutRequest,
)
from cudactl.workflow.planning import PlannedHost
from cudactl.workflow.rollout.controller import HostEvent
from cudactl.workflow.rollout.deciding import budgets
from cudactl.workflow.rollout.reporting import WORDS

COLORS = {
    "certified": "green",
    "unchanged": "green",
    "failed": "red",
    "rolled-back": "red",
    "skipped": "yellow",
    "busy": "yellow",
    "left": "yellow",
    "running": "cyan",
    "held": "red",
    "aborted": "yellow",
    "paused": "yellow",
    "interrupted": "yellow",
    "finished": "green",
}
SHOWN = 8


def beginning(
    request: RolloutRequest, seen: Sequence[HostEvent], planned: Sequence[PlannedHost]
) -> str:
    """Return what a rollout is about to do."""
    from cudactl.cli.show_plan import plans_text, summary_line

    options = request.options
    lines = [plans_text(planned), "", summary_line(planned), ""]
    first = ", ".join(options.canaries) or (
        f"{options.canary} host{'s' * (options.canary != 1)}" if options.canary else "nobody"
    )
    lines.append(f"canary: {first}, certified at tier {options.tier} before any other is taken")
    allowed = budgets(request, options.max_down)
    shares = ", ".join(f"{count} of {group}" for group, count in sorted(allowed.items())[:SHOWN])
    more = f" … ({len(allowed)} groups)" if len(allowed) > SHOWN else ""
    lines.append(f"down at once: {shares}{more}; on failure: {options.on_failure}")
    engines = sorted(
        {str(v["engine"]) for _, _, v in seen if v.get("engine") not in (None, "none")}
    )
    if engines:
        lines.append(f"drained and returned by: {', '.join(engines)}")
    down = [f"{host} ({v.get('text') or v.get('code')})" for host, _, v in seen if v.get("down")]
    if down:
        lines.append(f"down already, and counted: {_some(down)}")
    right = [host for host, _, v in seen if v.get("outcome") == "unchanged"]
    if right:
        lines.append(f"right already, and left alone: {_some(right)}")
    return "\n".join(lines)


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def record_line(record: JournalRecord) -> str:
    """Return a record as a line of progress; "" for what nobody needs to see."""
    stamp = time.strftime("%H:%M:%S", time.localtime(record.at))
    said = f": {record.text}" if record.text else ""
    code = f" {record.code}" if record.code else ""
    if record.event == "phase":
        return f"{stamp} {record.host}  {record.phase}{said}"
    if record.event == "done":
        word = _colored(str(record.outcome), f"{record.outcome}")
        return f"{stamp} {record.host}  {word}{code}{said}"
    if record.event == "deferred":
        return f"{stamp} {record.host}  put back into the queue{code}{said}"
    if record.event in ("held", "paused", "aborted"):
        return f"{stamp} {_colored(record.event, record.event)}{code}{said}"
    return ""


def interrupted(count: int) -> str:
    """Return what pressing Ctrl-C has done."""
    if count == 1:
        return (
            "\npausing: no further host is taken, those that are being worked on are finished "
            "(Ctrl-C again: stop them where they are)"
        )
    return (
        "\nstopping Ansible and giving the hosts' claims back; nodes that we drained stay drained …"
    )


def asked(wish: str, report: RolloutReport) -> str:
    """Return what asking for a pause or an end has done."""
    done = {"pause": "paused", "abort": "aborted"}[wish]
    running = report.counts.get("running", 0)
    hosts = f"{running} host{'s' * (running != 1)}"
    if report.controller is not None:
        what = f"{hosts} being worked on will be finished" if running else "nothing is being done"
        return f"rollout {report.id} will be {done} by its controller; {what}"
    if running:
        return (
            f"rollout {report.id} is {done}; its controller is gone in the middle of {hosts}: "
            f"`cudactl rollout resume {report.id}` finishes them, and takes no other"
            + ("" if wish == "abort" else " before you want it")
        )
    return f"rollout {report.id} is {done}"


def report_text(report: RolloutReport) -> str:
    """Return what happened to whom: first what needs somebody, then the rest in a line each."""
    lines = [rollout_line(report)]
    if report.text:
        lines.append(f"  {report.code + ': ' if report.code else ''}{report.text}")
    if report.remedy:
        lines.append(f"  what to do: {report.remedy}")
    elif report.status in ("paused", "interrupted"):
        lines.append(f"  what to do: cudactl rollout resume {report.id}")
    width = max((len(host.name) for host in report.hosts), default=0)
    for status in WORDS:
        for host in report.hosts:
            if host.status == status:
                lines += _host(host, width)
    return "\n".join(lines)


def _host(host: RolloutHostState, width: int) -> list[str]:
    what = host.phase if host.status == "running" and host.phase else host.status
    out = "  out of service" if host.down and host.status not in ("running", "waiting") else ""
    said = " ".join(part for part in (host.code and f"{host.code}:", host.text) if part)
    lines = [
        f"  {host.name:<{width}}  {_colored(host.status, f'{what:<12}')}{out}  {said}".rstrip()
    ]
    if host.remedy and host.status not in ("certified", "unchanged"):
        lines.append(f"  {'':<{width}}  what to do: {host.remedy}")
    return lines


def rollout_line(report: RolloutReport) -> str:
    """Return a rollout in a line."""
    counts = ", ".join(f"{count} {word}" for word, count in report.counts.items())
    by = report.controller
    who = f" (driven by {by.who}@{by.controller}, process {by.pid})" if by is not None else ""
    status = _colored(report.status, report.status)
    return f"rollout {click.style(report.id, bold=True)}: {status}{who}; {counts}"


def _colored(status: str, text: str) -> str:
    return click.style(text, fg=COLORS.get(status))
