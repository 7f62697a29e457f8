"""The way back: each host to the last lock that it was certified for, as its own history says.

Lock and packages are kept on the host, so the way back needs neither a mirror nor the lock's file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cudactl.contracts.base import short
from cudactl.contracts.errors import CudactlError, Exit, UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices
from cudactl.contracts.state import HostState
from cudactl.contracts.state_records import Records
from cudactl.provision.records import BASE
from cudactl.reach.fanout import run_probe, run_python
from cudactl.reach.targets import Target
from cudactl.stack.lock.file import parse_lock, read_lock
from cudactl.workflow.planning import (
    PATIENCE_S,
    PlannedHost,
    plan_hosts,
    read_state,
    same_choices,
)

# Prints the lock whose short hash is the first argument, as it lies on the host.
READ = f"""\
import json, sys
try:
    with open({BASE!r} + "/locks/" + sys.argv[1] + ".lock", encoding="utf-8") as f:
        print(json.dumps(dict(lock=f.read())))
except OSError as e:
    print(json.dumps(dict(lock=None, why=str(e))))
"""


def rollback_target(records: Records) -> str | None:
    """Return the hash of the lock that a host goes back to; None when there is none.

    The last one it was certified for before what the newest run brought it to. A way back that was
    begun and not certified yet goes on to where it led.
    """
    if records.purpose == "rollback" and not records.certified_since:
        return records.begun
    if records.begun is None or records.purpose == "uninstall":
        return next(iter(records.certified), None)
    return next((lock for lock in records.certified if lock != records.begun), None)


def plan_rollbacks(
    targets: Sequence[Target],
    *,
    lock: Path | None = None,
    forks: int = 30,
    choices: Choices | None = None,
) -> list[PlannedHost]:
    """Return every host's plan to go back; nothing is changed.

    Args:
        targets: The hosts.
        lock: Go back to this lock, instead of asking each host's history.
        forks: Hosts at once.
        choices: What the caller decided for this run.

    Raises:
        CudactlError: ROLLBACK-NOTHING, ROLLBACK-NO-LOCK, or why a host does not answer.
    """
    if lock is not None:
        locks = dict.fromkeys((t.name for t in targets), read_lock(lock))
    else:
        locks = _locks_of(targets, forks)
    decided = (choices or Choices()).model_copy(update={"purpose": "rollback"})
    return plan_hosts(
        targets,
        locks,
        forks=forks,
        choices=same_choices(targets, decided),
        patience_s=PATIENCE_S,
    )


def _locks_of(targets: Sequence[Target], forks: int) -> dict[str, StackLock]:
    wanted = {}
    for answer in run_probe(targets, ["state"], forks=forks):
        state, error = read_state(answer)
        if state is None:
            raise error or UsageError("HOST-SILENT", f"{answer.target.name} said nothing")
        wanted[answer.target.name] = _target_of(answer.target.name, state)
    return read_locks_on(targets, wanted, forks)


def read_locks_on(
    targets: Sequence[Target], wanted: dict[str, str], forks: int
) -> dict[str, StackLock]:
    """Return the locks that lie on hosts.

    Args:
        targets: The hosts.
        wanted: Host name → hash of the lock to read there.
        forks: Hosts at once.

    Raises:
        CudactlError: ROLLBACK-NO-LOCK, or why a host does not answer.
    """
    groups: dict[str, list[Target]] = {}
    for target in targets:
        groups.setdefault(wanted[target.name], []).append(target)
    locks: dict[str, StackLock] = {}
    for lock, hosts in groups.items():
        for read in run_python(hosts, READ, [short(lock)], forks=forks):
            locks[read.target.name] = _parsed(read.target.name, lock, read.document, read.error)
    return locks


def _target_of(host: str, state: HostState) -> str:
    found = rollback_target(state.records)
    if found is not None:
        return found
    kept = state.certificate
    raise CudactlError(
        "ROLLBACK-NOTHING",
        f"{host}: its history knows of no certified lock before the present one"
        + (f" (its certificate is for {short(kept.lock)})" if kept is not None else ""),
        expected=f"an earlier lock that was certified, in {BASE}/history.jsonl",
        remedy="name the lock to go back to: cudactl provision rollback HOST --lock FILE",
    )


def _parsed(
    host: str, wanted: str, document: dict[str, object] | None, error: CudactlError | None
) -> StackLock:
    if document is None:
        raise error or UsageError("HOST-SILENT", f"{host} said nothing")
    text = document.get("lock")
    if isinstance(text, str):
        found = parse_lock(text.encode(), f"{host}:{BASE}/locks/{short(wanted)}.lock")
        if found.hash == wanted:
            return found
    raise CudactlError(
        "ROLLBACK-NO-LOCK",
        f"{host}: the lock {short(wanted)} that it was certified for does not lie there any more"
        + (f" ({document['why']})" if document.get("why") else ""),
        expected=f"{BASE}/locks/{short(wanted)}.lock, with that hash",
        remedy="name the lock's file: cudactl provision rollback HOST --lock FILE",
    )


def roll_back_host(
    target: Target,
    *,
    inventories: Sequence[str] = (),
    become_password: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> CudactlError | None:
    """Return one host to its last certified lock and certify that; return why that failed.

    Nobody is asked: whoever calls this was told before that it might happen.
    """
    from cudactl.workflow.certify import certify_targets, exit_of
    from cudactl.workflow.keys import signing_key
    from cudactl.workflow.provision import apply_plans, store_certificates

    try:
        (planned,) = plan_rollbacks([target])
        if planned.plan is None:
            return planned.error
        if planned.plan.refusals:
            first = planned.plan.refusals[0]
            return CudactlError(first.code, first.found, remedy=first.remedy)
        say(f"{target.name}: back to the lock {planned.lock.short_hash}")
        applied = apply_plans(
            [planned], inventories=inventories, become_password=become_password, say=say
        )
        if error := next((a.error for a in applied if a.error is not None), None):
            return error
        key = signing_key(None)
    except CudactlError as error:
        return error
    results = certify_targets([target], {target.name: planned.lock}, key=key)
    (result,) = results
    if result.certificate is None:
        return result.error
    envelopes = {target.name: result.envelope} if result.envelope is not None else {}
    stored = store_certificates(
        {target.name: result.certificate}, [target], become_password, envelopes
    )
    if exit_of(results) is not Exit.PASS:
        return CudactlError(
            "ROLLBACK-NOT-CERTIFIED",
            f"{target.name} is back at {planned.lock.short_hash}, which does not pass: "
            f"{result.certificate.verdict}",
            expected="a certificate that passes",
            remedy=f"look at the whole of it: cudactl certify host {target.name}",
        )
    return stored[0] if stored else None
