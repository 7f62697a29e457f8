"""Provision hosts: plan → (approved by the caller) → Ansible → probe → certificate.

Nothing to do costs nothing: when no plan holds a step, Ansible is never started. Whatever ends the
run, the claims on the hosts are given back.
"""

from __future__ import annotations

import json
import shlex
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cudactl.certify.certificate import exit_of
from cudactl.contracts.certificate import Certificate
from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.plan import PlanStep
from cudactl.contracts.state import HostLock
from cudactl.provision import claim as claims
from cudactl.provision import records
from cudactl.provision.records import WRITING
from cudactl.provision.run import HostRun, Outcome, Progress, run_ansible
from cudactl.reach.fanout import run_python
from cudactl.reach.targets import Target
from cudactl.stack.index.wheel_files import fetch_wheels
from cudactl.workflow.places import wheel_cache
from cudactl.workflow.planning import PlannedHost, plan_hosts

# Reads the files (None: it goes) and the history's event from standard input, on the host.
STORE = (
    WRITING
    + """\
said = json.load(sys.stdin)
for name, text in said["files"].items():
    if text is not None:
        write(name, text.encode())
    elif os.path.lexists(os.path.join(base, name)):
        os.unlink(os.path.join(base, name))
history(said["event"])
print(json.dumps({"stored": base}))
"""
)


@dataclass(frozen=True)
class Applied:
    """What applying did to one host."""

    host: PlannedHost
    outcome: Outcome
    left: list[str]
    """Steps that the host still needs afterwards; empty when it converged."""
    error: CudactlError | None


def apply_plans(
    planned: Sequence[PlannedHost],
    *,
    inventories: Sequence[str] = (),
    forks: int = 20,
    check: bool = False,
    diff: bool = False,
    become_password: str | None = None,
    verbosity: int = 0,
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Applied]:
    """Apply the non-empty plans and read every host again.

    Args:
        planned: Hosts whose plans were approved; hosts with an empty plan are left alone.
        inventories: The inventories that the targets came from.
        forks: Hosts at once.
        check: Ansible's --check: change nothing.
        diff: Ansible's --diff.
        become_password: sudo's password, where it asks.
        verbosity: Ansible's -v count.
        say: Receives a line per phase.
        on_progress: Receives Ansible's events.

    Raises:
        KeyboardInterrupt: after the claims were given back.
    """
    todo = [p for p in planned if p.plan is not None and not p.plan.empty]
    if not todo:
        return []
    check_privilege([p.target for p in todo], become_password)
    cache = _fetch_wheels(todo, say)
    claim = claims.new_claim(f"run-{uuid.uuid4().hex[:8]}")
    runs = [HostRun(p.plan, p.lock, _connection(p.target)) for p in todo if p.plan is not None]
    try:
        with _renewing([p.target for p in todo], claim, become_password):
            outcomes = run_ansible(
                runs,
                claim,
                inventories=inventories,
                wheel_cache=cache,
                forks=forks,
                check=check,
                diff=diff,
                become_password=become_password,
                verbosity=verbosity,
                say=say,
                on_progress=on_progress,
            )
    except BaseException:
        # Ansible's own `always` does not run when it is stopped: give the hosts back from here.
        release([p.target for p in todo], claim, become_password)
        raise
    return _read_again(todo, outcomes, claim, check)


def check_privilege(targets: Sequence[Target], become_password: str | None) -> None:
    """Refuse before anything is fetched or changed when a login may not become root.

    Raises:
        CudactlError: HOST-NO-SUDO, or why the host cannot be reached any more.
    """
    script = "import json,os;print(json.dumps({'euid':os.geteuid()}))"
    answers = run_python(targets, script, [], become=True, become_password=become_password)
    for answer in answers:
        if answer.error is not None:
            raise answer.error
        if answer.document is not None and answer.document.get("euid") != 0:
            raise CudactlError(
                "HOST-NOT-ROOT",
                f"{answer.target.name}: the login is not root, and the inventory says not to use "
                "sudo (ansible_become is false)",
                expected="root",
                remedy="set ansible_become: true for this host",
            )


def end_interrupted(planned: Sequence[PlannedHost], become_password: str | None) -> None:
    """Write down the end of runs that were killed after their work, and drop their claims.

    A host that a living run has claimed is left alone. Who may not become root leaves it as it is:
    the next run that changes something tidies up.
    """
    for one in planned:
        run = one.state.records.interrupted if one.state is not None else None
        if one.state is None or run is None or one.plan is None or not one.plan.empty:
            continue
        claim = one.state.host_lock
        if claim is not None and not claims.no_longer(claim):
            continue
        how: dict[str, Any] = {"become": True, "become_password": become_password}
        run_python([one.target], records.SCRIPT, records.ended_arguments(run), **how)
        if claim is not None:
            run_python([one.target], claims.SCRIPT, claims.arguments("drop", claim), **how)


@contextmanager
def _renewing(
    targets: Sequence[Target], claim: HostLock, become_password: str | None
) -> Iterator[None]:
    """Keep our claims from expiring while a run takes longer than they last."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(claims.LASTS_S / 4):
            said = claims.arguments("renew", claims.renewed(claim))
            how: dict[str, Any] = {"become": True, "become_password": become_password}
            run_python(targets, claims.SCRIPT, said, **how)

    renewal = threading.Thread(target=renew, daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()


def release(targets: Sequence[Target], claim: HostLock, become_password: str | None) -> None:
    """Drop our claim on every target, as far as they can be reached."""
    run_python(
        targets,
        claims.SCRIPT,
        claims.arguments("drop", claim),
        become=True,
        become_password=become_password,
        deadline_s=20,
    )


def _read_again(
    todo: Sequence[PlannedHost], outcomes: dict[str, Outcome], claim: HostLock, check: bool
) -> list[Applied]:
    again = plan_hosts(
        [p.target for p in todo],
        {p.target.name: p.lock for p in todo},
        run_id=claim.run_id,
        choices={p.target.name: p.plan.choices for p in todo if p.plan is not None},
    )
    applied = []
    for before, after in zip(todo, again, strict=True):
        outcome = outcomes[before.target.name]
        left = [s.id for s in after.plan.steps] if after.plan is not None else []
        error = after.error
        if not outcome.ok:
            error = _failure(before.target.name, outcome)
        elif left and not check:
            error = CudactlError(
                "PROVISION-NOT-CONVERGED",
                f"{before.target.name}: every task passed and the host still needs "
                f"{', '.join(left)}",
                expected="a host that carries its lock",
                remedy="look at `cudactl plan host` for what differs; please report it",
            )
        applied.append(Applied(after, outcome, left, error))
    return applied


def _failure(host: str, outcome: Outcome) -> CudactlError:
    """Turn a failed task into an error; codes that our own tasks print are kept."""
    text = outcome.message
    code, found = "PROVISION-FAILED", text
    head, _, rest = text.partition(": ")
    if head.isupper() and " " not in head and "-" in head:
        code, found = head, rest
    return CudactlError(
        code,
        f"{host}: {found.strip()}"
        + (f" (task: {outcome.failed_task})" if outcome.failed_task else ""),
        remedy="mend the cause and run the same command again: it goes on from what is there",
    )


def _fetch_wheels(todo: Sequence[PlannedHost], say: Callable[[str], None]) -> Path | None:
    unpacking = [p for p in todo if any(s.role == "wheel_stack" for s in _steps(p))]
    locks = {p.lock.hash: p.lock for p in unpacking if p.lock.target.packages == "wheels"}
    if not locks:
        return None
    cache = wheel_cache()
    for lock in locks.values():
        total = sum(p.size for p in lock.packages)
        say(f"fetching and verifying {len(lock.packages)} wheels ({total / 1e6:.0f} MB)")
        fetch_wheels(lock, cache, lambda text: say(text))
    return cache


def _steps(planned: PlannedHost) -> list[PlanStep]:
    return planned.plan.steps if planned.plan is not None else []


def _connection(target: Target) -> dict[str, Any]:
    """Return what Ansible must be told about a target beyond what the inventory tells it."""
    if target.from_inventory:
        # The play becomes root; a root login that says nothing of it must not need sudo.
        return {} if "ansible_become" in target.variables else {"ansible_become": target.become}
    values: dict[str, Any] = {
        "ansible_host": target.address,
        "ansible_connection": target.connection,
        "ansible_python_interpreter": "/usr/bin/python3"
        if target.python == "python3"
        else target.python,
        "ansible_become": target.become,
    }
    if target.root is not None:
        values["ansible_connection"] = "cudactl_root"
        values["cudactl_root"], values["cudactl_kernel"] = target.root, target.kernel
        # Nothing of ours stays in an image's home folders.
        values["ansible_remote_tmp"] = "/run/cudactl-offline/tmp"
    if target.port is not None:
        values["ansible_port"] = target.port
    if target.user is not None:
        values["ansible_user"] = target.user
    if target.identity is not None:
        values["ansible_ssh_private_key_file"] = target.identity
    if target.ssh_args:
        values["ansible_ssh_common_args"] = shlex.join(target.ssh_args)
    return values


def store_certificates(
    certificates: dict[str, Certificate],
    targets: Sequence[Target],
    become_password: str | None = None,
    envelopes: dict[str, dict[str, Any]] | None = None,
) -> list[CudactlError]:
    """Keep each certificate on its host (/var/lib/cudactl): plain for the gate, and signed.

    An unsigned certificate takes an earlier signed one away: the two would speak of different runs.
    The host's history learns of it, so that a way back leads to what was shown to be right.
    """
    signed = envelopes or {}
    chosen = [t for t in targets if t.name in certificates]
    documents = {
        name: json.dumps(
            {
                "files": {
                    "certificate.dsse.json": json.dumps(signed[name]) if name in signed else None,
                    "certificate.json": json.dumps(c.model_dump(mode="json")),
                },
                "event": {
                    "event": "certified" if exit_of(c) is Exit.PASS else "not-certified",
                    "lock": c.lock_hash,
                    "verdict": c.verdict,
                    "level": c.level,
                },
            }
        ).encode()
        for name, c in certificates.items()
    }
    answers = run_python(
        chosen, STORE, [], requests=documents, become=True, become_password=become_password
    )
    return [a.error for a in answers if a.error is not None]
