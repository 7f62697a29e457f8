"""Works on hosts in processes of their own, and listens to all of them at once."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cudactl.contracts.lock import StackLock
from cudactl.contracts.rollout import RolloutHostState, RolloutRequest
from cudactl.reach.targets import Target
from cudactl.workflow.rollout.controller import HostEvent
from cudactl.workflow.rollout.engines import idle_hosts, service_of
from cudactl.workflow.rollout.folders import RolloutFolder
from cudactl.workflow.rollout.host_run import HostJob

WORKER = [sys.executable, "-m", "cudactl.workflow.rollout.worker"]
STOP_S = 60.0
"""How long a worker may take to stop Ansible and give its host back, seconds."""
IDLE_S = 10.0
"""How long an answer counts as to which hosts are idle, seconds."""


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    rest: bytes = b""
    ended: bool = False
    last: dict[str, Any] = field(default_factory=dict)


class ProcessRunner:
    """Starts a worker for each host; see `worker`."""

    def __init__(
        self,
        request: RolloutRequest,
        folder: RolloutFolder,
        lock_fd: int,
        targets: Mapping[str, Target],
        locks: Mapping[str, StackLock],
        *,
        become_password: str | None = None,
    ) -> None:
        self._request = request
        self._folder = folder
        self._lock_fd = lock_fd
        self._targets = targets
        self._locks = locks
        self._password = become_password
        self._running: dict[str, _Running] = {}
        self._ready = selectors.DefaultSelector()
        self._idle: tuple[float, Collection[str]] = (0.0, ())

    def start(self, job: HostJob) -> None:
        """Start a worker for a host."""
        log = self._folder.log(job.host)
        with log.open("ab") as out:
            process = subprocess.Popen(
                WORKER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                start_new_session=True,
                pass_fds=(self._lock_fd,),
            )
        assert process.stdin is not None
        assert process.stdout is not None
        # Over a pipe: arguments are for everybody to see, and there may be a password in it.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(self._task(job)).encode() + b"\n")
            process.stdin.close()
        os.set_blocking(process.stdout.fileno(), False)
        self._running[job.host] = _Running(process)
        self._ready.register(process.stdout, selectors.EVENT_READ, job.host)

    def _task(self, job: HostJob) -> dict[str, Any]:
        options = self._request.options
        return {
            "controller": os.getpid(),
            "lock_fd": self._lock_fd,
            "folder": str(self._folder.path),
            "job": job.model_dump(mode="json"),
            "target": asdict(self._targets[job.host]),
            "lock": self._locks[job.host].model_dump(mode="json"),
            "inventories": self._request.inventories,
            "tier": options.tier,
            "choices": options.choices.model_dump(mode="json"),
            "delete_emptydir": options.delete_emptydir,
            "become_password": self._password,
        }

    def events(self, timeout_s: float) -> Iterable[HostEvent]:
        """Return what workers have told since; one that ended without a last word has failed."""
        if not self._running:
            time.sleep(timeout_s)
            return []
        told: list[HostEvent] = []
        for key, _ in self._ready.select(timeout_s):
            told += self._heard(key.data, key.fd)
        return told

    def _heard(self, host: str, fd: int) -> list[HostEvent]:
        running = self._running[host]
        try:
            block = os.read(fd, 65536)
        except BlockingIOError:
            return []
        *lines, running.rest = (running.rest + block).split(b"\n")
        told: list[HostEvent] = []
        for line in lines:
            step = json.loads(line)
            running.ended = running.ended or step["event"] in ("done", "deferred")
            told.append((host, step["event"], step["values"]))
        if not block:
            assert running.process.stdout is not None
            self._ready.unregister(running.process.stdout)
            running.process.stdout.close()
            status = running.process.wait()
            del self._running[host]
            if not running.ended:
                told.append((host, "done", self._died(host, status)))
        return told

    def _died(self, host: str, status: int) -> dict[str, Any]:
        log = self._folder.log(host)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        said = " / ".join(line.strip() for line in lines[-2:])[-300:]
        return {
            "outcome": "failed",
            "code": "ROLLOUT-WORKER-DIED",
            "text": f"the process that worked on {host} ended with status {status}: {said}",
            "remedy": f"see {log}; then try the host again: rollout resume --retry",
            "down": True,
        }

    def idle(self, hosts: Sequence[RolloutHostState]) -> Collection[str]:
        """Return the hosts of Slurm on which nothing runs; asked at most every few seconds."""
        since, known = self._idle
        if time.monotonic() - since < IDLE_S:
            return known
        nodes = {h.name: h.node for h in hosts if h.engine == "slurm" and h.node is not None}
        found = idle_hosts(service_of("slurm", self._request.id), nodes) if nodes else ()
        self._idle = (time.monotonic(), found)
        return found

    def stop(self) -> None:
        """Stop every worker in the way of Ctrl-C, and wait until it has given its host back."""
        for running in self._running.values():
            running.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_S
        for running in self._running.values():
            try:
                running.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
        self._running.clear()
