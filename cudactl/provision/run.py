"""One Ansible run for one approved set of plans: events in, progress and outcomes out.

Progress, timings and errors come from ansible-runner's events, never from scraped output. Ansible
is started only for hosts whose plan is not empty.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Plan
from cudactl.contracts.state import HostLock
from cudactl.provision.data import data_folder
from cudactl.provision.events import differences, message
from cudactl.stack.lock.file import write_lock

SHOWN_ROLES = {
    *("repository", "packages", "driver", "fabric", "wheel_stack", "environment"),
    *("container_runtime", "protection", "reboot"),
}


@dataclass(frozen=True)
class Progress:
    """One thing that happened on one host."""

    host: str
    task: str
    role: str | None
    status: str
    """started, ok, changed, failed, unreachable or skipped."""
    seconds: float
    message: str = ""
    difference: str = ""
    """What became different, under --diff."""


@dataclass
class Outcome:
    """How the run ended for one host."""

    host: str
    ok: bool = True
    failed_task: str = ""
    message: str = ""
    changed: list[str] = field(default_factory=list)
    """Tasks that changed something."""
    seconds: float = 0.0


@dataclass(frozen=True)
class HostRun:
    """What Ansible needs to know about one host of the run."""

    plan: Plan
    lock: StackLock
    inventory_vars: dict[str, Any]
    """Connection variables, for hosts that no inventory describes."""


class AnsibleRunError(CudactlError):
    """Ansible could not be run at all."""


def run_ansible(
    hosts: Sequence[HostRun],
    claim: HostLock,
    *,
    inventories: Sequence[str] = (),
    wheel_cache: Path | None = None,
    forks: int = 20,
    check: bool = False,
    diff: bool = False,
    become_password: str | None = None,
    verbosity: int = 0,
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Outcome]:
    """Run the provisioning play for `hosts` and return one outcome per host name.

    Raises:
        KeyboardInterrupt: after Ansible was stopped on Ctrl-C.
        AnsibleRunError: ANSIBLE-BROKEN, when the play did not even start.
    """
    import ansible_runner

    outcomes = {h.plan.host: Outcome(h.plan.host) for h in hosts}
    starts: dict[str, float] = {}
    begun = time.monotonic()

    def on_event(event: dict[str, Any]) -> bool:
        kind = str(event.get("event", ""))
        data = event.get("event_data") or {}
        host = str(data.get("host") or "")
        if kind == "runner_on_start":
            starts[f"{host}/{data.get('task_uuid')}"] = time.monotonic()
            if host in outcomes and on_progress is not None:
                on_progress(Progress(host, str(data.get("task") or ""), None, "started", 0.0))
        status = {
            "runner_on_ok": "ok",
            "runner_on_failed": "failed",
            "runner_on_unreachable": "unreachable",
            "runner_on_skipped": "skipped",
        }.get(kind)
        if status is None or host not in outcomes:
            return True
        result = data.get("res") or {}
        if status == "ok" and result.get("changed"):
            status = "changed"
        since = starts.get(f"{host}/{data.get('task_uuid')}", time.monotonic())
        task = str(data.get("task") or "")
        outcome = outcomes[host]
        outcome.seconds = time.monotonic() - begun
        said = ""
        if status in ("failed", "unreachable"):
            said = message(result)
            if not data.get("ignore_errors") and outcome.ok:
                outcome.ok, outcome.failed_task, outcome.message = False, task, said
        elif status == "changed":
            outcome.changed.append(task)
        if on_progress is not None:
            role = str(data.get("role") or "") or None
            taken = time.monotonic() - since
            on_progress(
                Progress(host, task, role, status, taken, said, differences(result) if diff else "")
            )
        return True

    with _private_folder() as folder:
        play, inventory, variables = _write_inputs(folder, hosts, claim, inventories, wheel_cache)
        options = [f"--forks={forks}"]
        options += ["--check"] if check else []
        options += ["--diff"] if diff else []
        options += ["-" + "v" * verbosity] if verbosity else []
        passwords = {r"^BECOME password.*:\s*?$": become_password} if become_password else None
        if become_password:
            options.append("--ask-become-pass")
        interrupted = _Interrupt(say)
        with interrupted.caught():
            result = ansible_runner.run(
                private_data_dir=str(folder),
                playbook=str(play),
                inventory=inventory,
                extravars=variables,
                limit=",".join(h.plan.host for h in hosts),
                cmdline=" ".join(options),
                passwords=passwords,
                envvars=_environment(folder),
                event_handler=on_event,
                cancel_callback=lambda: interrupted.seen,
                quiet=True,
                suppress_env_files=True,
            )
        if interrupted.seen:
            raise KeyboardInterrupt
        reached = {h for h, o in outcomes.items() if o.seconds > 0}
        if result.rc not in (0, 2, 4) or (result.rc != 0 and not reached):
            said = _last_words(folder)
            raise AnsibleRunError(
                "ANSIBLE-BROKEN",
                f"ansible-playbook ended with status {result.rc} before the play ran: {said}",
                expected="a play that starts",
                remedy="run again with -v; check the inventory with ansible-inventory --list",
            )
        for outcome in outcomes.values():
            if outcome.ok and outcome.host not in reached:
                outcome.ok, outcome.message = False, "Ansible never got to this host"
    return outcomes


class _Interrupt:
    """Turns the first Ctrl-C into a request to stop Ansible, so that our own cleaning up runs."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.seen = False
        self._say = say

    @contextmanager
    def caught(self) -> Iterator[None]:
        def stop(*_: object) -> None:
            if not self.seen:
                self._say("\nstopping Ansible and giving the hosts back …")
            self.seen = True

        before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)


@contextmanager
def _private_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cudactl-run-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_inputs(
    folder: Path,
    hosts: Sequence[HostRun],
    claim: HostLock,
    inventories: Sequence[str],
    wheel_cache: Path | None,
) -> tuple[Path, list[str], dict[str, Any]]:
    """Write locks and a small inventory of our own; return playbook, inventories, variables."""
    locks = folder / "locks"
    locks.mkdir()
    entries: dict[str, Any] = {}
    for run in hosts:
        path = locks / f"{run.lock.short_hash}.lock"
        if not path.exists():
            write_lock(run.lock, path)
        entries[run.plan.host] = {
            "cudactl_approved_lock": str(path),
            "cudactl_approved": {run.plan.host: run.plan.hash},
            "cudactl_choices": run.plan.choices.model_dump(mode="json"),
            **run.inventory_vars,
        }
    own = folder / "hosts.yml"
    own.write_text(yaml.safe_dump({"all": {"hosts": entries}}))
    variables: dict[str, Any] = {"cudactl_run": claim.model_dump(mode="json")}
    if wheel_cache is not None:
        variables["wheel_stack_cache"] = str(wheel_cache)
    sources = [str(Path(i).resolve()) if "," not in i else i for i in inventories]
    return data_folder("playbooks") / "provision.yml", [*sources, str(own)], variables


def _ansible(folder: Path) -> Path:
    """Return a folder with an ansible-playbook that ends when this process does, however it ends.

    The claim of a dead run is taken over at once, so nothing of it may go on changing hosts.
    """
    program = folder / "bin" / "ansible-playbook"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        "setpriv --pdeathsig TERM true 2>/dev/null && tied='setpriv --pdeathsig TERM'\n"
        'PATH="${PATH#*:}" exec $tied ansible-playbook "$@"\n'
    )
    program.chmod(0o700)
    return program.parent


def _environment(folder: Path) -> dict[str, str]:
    """Return Ansible's environment: our roles, one connection kept open, no noise."""
    return {
        "PATH": os.pathsep.join(
            [str(_ansible(folder)), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        ),
        "ANSIBLE_ROLES_PATH": str(data_folder("roles")),
        "ANSIBLE_CONNECTION_PLUGINS": str(data_folder("playbooks") / "connection_plugins"),
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INJECT_FACT_VARS": "False",
        "ANSIBLE_SSH_ARGS": os.environ.get(
            "ANSIBLE_SSH_ARGS", "-o ControlMaster=auto -o ControlPersist=60s"
        ),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_NOCOLOR": "True",
    }


def _last_words(folder: Path) -> str:
    outputs = sorted(folder.glob("artifacts/*/stdout"))
    text = outputs[-1].read_text(errors="replace") if outputs else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-4:])[-600:] or "it printed nothing"
