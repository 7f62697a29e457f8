"""The process that works on one host: a task on standard input, a line for each step on output.

Its own process, because Ansible's runs want one each, and so that Ctrl-C on the controller's
terminal reaches the controller only. When the controller dies, the kernel ends this process, too,
in the way of Ctrl-C: Ansible is stopped and the host's claim is dropped.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> int:
    """Work; return the exit code."""
    ends = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print belongs into the log
    _end_with_controller()
    task = json.loads(sys.stdin.readline() or "{}")
    if not task or os.getppid() != task["controller"]:
        return 1
    # Programs that this process starts must not keep the rollout's lock.
    os.set_inheritable(task["lock_fd"], False)
    try:
        _work(task, lambda line: ends.write(line))
    except KeyboardInterrupt:
        _log("stopped by the controller")
        return 130
    except BrokenPipeError:
        return 130
    return 0


def _end_with_controller() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _work(task: dict[str, Any], tell: Any) -> None:  # noqa: ANN401
    from cudactl.contracts.errors import CudactlError
    from cudactl.contracts.lock import StackLock
    from cudactl.contracts.plan import Choices
    from cudactl.reach.targets import Target
    from cudactl.workflow.keys import signing_key
    from cudactl.workflow.rollout.engines import service_of
    from cudactl.workflow.rollout.folders import RolloutFolder
    from cudactl.workflow.rollout.host_run import HostJob, run_host
    from cudactl.workflow.rollout.work import HostWork

    job = HostJob.model_validate(task["job"])
    folder = RolloutFolder(Path(task["folder"]))
    key = None
    try:
        key = signing_key(None)
    except CudactlError as unusable:
        _log(f"the certificate is not signed: {unusable.found}")
    work = HostWork(
        Target(**{**task["target"], "ssh_args": tuple(task["target"]["ssh_args"])}),
        StackLock.model_validate(task["lock"]),
        inventories=task["inventories"],
        tier=task["tier"],
        choices=Choices.model_validate(task["choices"]),
        become_password=task["become_password"],
        key=key,
        say=_log,
        on_progress=_log_progress,
    )
    steps = run_host(
        job,
        service_of(job.engine, job.rollout, delete_emptydir=task["delete_emptydir"]),
        work,
        stopping=lambda: bool(folder.asked("pause") or folder.asked("abort")),
    )
    for step in steps:
        if step.event is not None:
            _log(f"{step.event} {step.values}")
            tell(json.dumps({"event": step.event, "values": step.values}) + "\n")
        if step.pause_s:
            time.sleep(step.pause_s)


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}", file=sys.stderr, flush=True)


def _log_progress(progress: Any) -> None:  # noqa: ANN401
    if progress.status != "started":
        _log(f"{progress.status} {progress.task} {progress.seconds:.1f} s {progress.message}")


if __name__ == "__main__":
    sys.exit(main())
