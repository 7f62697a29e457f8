"""What a request and its journal say together: a pure function, the only source of what is so.

Nothing about a rollout is kept anywhere else, so there is nothing that a crash could leave in
disagreement with the journal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cudactl.contracts.rollout import (
    JournalRecord,
    RolloutHostState,
    RolloutRequest,
    RolloutState,
)

FINAL = ("certified", "unchanged", "rolled-back", "failed", "skipped", "busy", "left")
"""Statuses in which nothing more happens to a host."""
RIGHT = ("certified", "unchanged")
"""Statuses in which a host carries its lock and was shown to."""


class Folding:
    """A journal, taken in record by record; for who cannot begin anew after each."""

    def __init__(self, request: RolloutRequest, records: Iterable[JournalRecord] = ()) -> None:
        self._id = request.id
        self._hosts: dict[str, dict[str, Any]] = {
            h.name: {"name": h.name, "groups": h.groups} for h in request.hosts
        }
        self._whole: dict[str, Any] = {"status": "running", "max_down": request.options.max_down}
        self._count = 0
        for record in records:
            self.add(record)

    def add(self, record: JournalRecord) -> None:
        """Take in the next record."""
        self._count += 1
        if record.host is not None:
            _host(self._hosts[record.host], record, self._whole)
        else:
            _whole(self._whole, record)

    def state(self) -> RolloutState:
        """Return where everything stands after the records so far."""
        hosts = {name: RolloutHostState(**host) for name, host in self._hosts.items()}
        whole = dict(self._whole)
        busy = any(h.status == "running" for h in hosts.values())
        if whole["status"] == "aborted":
            left = {n: h for n, h in hosts.items() if h.status == "waiting"}
            hosts |= {n: h.model_copy(update={"status": "left"}) for n, h in left.items()}
        if busy and whole["status"] in ("aborted", "paused"):
            whole["status"] = "aborting" if whole["status"] == "aborted" else "pausing"
        return RolloutState(id=self._id, hosts=hosts, records=self._count, **whole)


def derive(request: RolloutRequest, records: Iterable[JournalRecord]) -> RolloutState:
    """Return where a rollout and each of its hosts stand."""
    return Folding(request, records).state()


def _whole(whole: dict[str, Any], record: JournalRecord) -> None:
    said = {"code": record.code, "text": record.text, "remedy": record.remedy}
    if record.event == "opened":
        # An abort is for good: a controller that opens afterwards only finishes what was begun.
        if whole["status"] in ("held", "finished"):  # who resumes one has seen what failed
            whole["failures"] = 0
        if whole["status"] != "aborted":
            whole.update(status="running", code=None, text="", remedy="")
        if record.max_down is not None:
            whole["max_down"] = record.max_down
    elif record.event in ("aborted", "finished") or whole["status"] != "aborted":
        whole.update(status=record.event, **said)


def _host(host: dict[str, Any], record: JournalRecord, whole: dict[str, Any]) -> None:
    status = host.get("status", "waiting")
    said = {"code": record.code, "text": record.text, "remedy": record.remedy}
    if record.event == "surveyed":
        # What we work on is down because of us, and what we found before counts again afterwards.
        host["found_down"] = bool(record.down)
        host["down"] = bool(record.down) or status == "running"
        host.update(engine=record.engine or host.get("engine"), node=record.node)
        if status == "waiting":
            host.update(said)
    elif record.event == "taken":
        host.update(said, status="running", phase="taken", down=True, begun=record.at, ended=None)
    elif record.event == "phase":
        host.update(said, phase=record.phase)
        if record.phase == "provisioning":
            host["touched"] = True
    elif record.event == "deferred":
        down = bool(record.down) or host.get("found_down", False)
        host.update(said, status="waiting", phase=None, down=down)
        if record.code != "ROLLOUT-PAUSED":  # we let go of it; it was not the one that was busy
            host.update(deferred=host.get("deferred", 0) + 1, until=record.until or 0.0)
    elif record.event == "done":
        shown = record.outcome in (*RIGHT, "rolled-back")
        down = bool(record.down) or (host.get("found_down", False) and not shown)
        host.update(said, status=record.outcome, phase=None, down=down, ended=record.at)
        host["level"] = record.level
        host["touched"] = host.get("touched", False) and record.outcome == "failed"
        if record.outcome in ("failed", "rolled-back"):
            whole["failures"] = whole.get("failures", 0) + 1
    elif record.event == "retry":
        host.update(said, status="waiting", phase=None, deferred=0, until=0.0, ended=None)
