"""What happened to whom: the report of a rollout, for programs and as a Markdown page."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from cudactl.contracts.errors import Exit
from cudactl.contracts.rollout import (
    RolloutController,
    RolloutHostState,
    RolloutReport,
    RolloutRequest,
    RolloutState,
)
from cudactl.workflow.rollout.deriving import derive
from cudactl.workflow.rollout.folders import RolloutFolder
from cudactl.workflow.rollout.journal import not_written

WORDS = {
    "certified": "brought to its lock and certified",
    "unchanged": "right already",
    "rolled-back": "failed, and is back on its last certified lock",
    "failed": "failed",
    "skipped": "left alone",
    "busy": "never became free",
    "left": "not begun before the rollout was aborted",
    "waiting": "waiting",
    "running": "being worked on",
}
"""Status → what it means, for people; in the order in which they are told."""


def report_of(folder: RolloutFolder) -> RolloutReport:
    """Return a rollout's report as of now."""
    request = folder.request()
    driver = folder.driver()
    return make_report(request, derive(request, folder.records()), driver, str(folder.path))


def make_report(
    request: RolloutRequest, state: RolloutState, driver: RolloutController | None, folder: str
) -> RolloutReport:
    """Return the report of a state."""
    counts = dict.fromkeys(WORDS, 0)
    for host in state.hosts.values():
        counts[host.status] += 1
    # Only the lock tells whether somebody still works on what the journal says is being done.
    cut_off = driver is None and state.status in ("running", "pausing", "aborting")
    if cut_off:
        middle = [f"{h.name} ({h.phase})" for h in state.hosts.values() if h.status == "running"]
        said = f"; in the middle: {', '.join(middle[:8])}" if middle else ""
        more = f" and {len(middle) - 8} more" if len(middle) > 8 else ""
        text = f"no controller works on it any more{said}{more}"
        state = state.model_copy(update={"code": None, "text": text})
    return RolloutReport(
        id=state.id,
        status="interrupted" if cut_off else state.status,
        controller=driver,
        counts={word: count for word, count in counts.items() if count},
        hosts=list(state.hosts.values()),
        code=state.code,
        text=state.text,
        remedy=state.remedy,
        started=request.created,
        folder=folder,
    )


def exit_of(report: RolloutReport) -> Exit:
    """Return the exit code: 3 for failures and whatever stopped it, 4 for hosts not reached."""
    there = set(report.counts)
    if there & {"failed", "rolled-back", "left"} or report.status in ("held", "aborted"):
        return Exit.FAIL
    if there & {"skipped", "busy", "waiting", "running"}:
        return Exit.UNMEASURED
    return Exit.PASS


def markdown(request: RolloutRequest, report: RolloutReport) -> str:
    """Return the report as a Markdown page."""
    options = request.options
    locks = sorted({host.lock[:12] for host in request.hosts})
    lines = [
        f"# Rollout {report.id}: {report.status}",
        "",
        f"Started {_stamp(report.started)} by {request.who} on {request.controller}; "
        f"{len(report.hosts)} hosts to lock {', '.join(locks)}; "
        f"at most {options.max_down} down"
        + (f" in each {options.group_by}" if options.group_by else "")
        + f"; on failure: {options.on_failure}; certified at tier {options.tier}.",
        "",
    ]
    lines += [f"- {count} {WORDS[word]}" for word, count in report.counts.items()]
    if report.text:
        lines += ["", f"**{report.code or report.status}**: {_cell(report.text)}"]
    if report.remedy:
        lines += ["", f"What to do: {_cell(report.remedy)}"]
    lines += [
        "",
        "| host | outcome | level | took | what happened | what to do |",
        "|---" * 6 + "|",
    ]
    lines += [_row(host) for host in _worst_first(report.hosts)]
    return "\n".join(lines) + "\n"


def write_markdown(folder: RolloutFolder, request: RolloutRequest, report: RolloutReport) -> None:
    """Keep the report in the rollout's folder, whole or not at all."""
    aside = folder.report.with_name(f".report.{os.getpid()}")
    try:
        aside.write_text(markdown(request, report))
        aside.replace(folder.report)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise not_written(folder.report, error) from error


def _worst_first(hosts: Sequence[RolloutHostState]) -> list[RolloutHostState]:
    order = ["failed", "rolled-back", "skipped", "busy", "running", "waiting", "left"]
    return sorted(hosts, key=lambda h: order.index(h.status) if h.status in order else len(order))


def _row(host: RolloutHostState) -> str:
    took = "" if host.begun is None or host.ended is None else f"{host.ended - host.begun:.0f} s"
    out = " (out of service)" if host.down else ""
    said = f"{host.code}: {host.text}" if host.code else host.text
    cells = [host.name, f"{host.status}{out}", host.level or "", took, said, host.remedy]
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    """Return text from hosts so that it stays in its cell and is nothing but text."""
    plain = " ".join(text.split())
    for sign in "\\`|<>[]*_":
        plain = plain.replace(sign, f"\\{sign}")
    return plain


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
