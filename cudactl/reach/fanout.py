"""The SSH fan-out: one round trip brings the probe to many hosts and their answers back.

The probe travels over standard input into a memory file on the host, so reading a host writes
nothing to its disk. ClusterShell's engine bounds how many run at once; each host has its own ssh
command line, so inventories may differ per host. Every failure gets a reason that says what to do.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cudactl import zipapp
from cudactl.contracts.errors import CudactlError
from cudactl.reach.reasons import MAX_ANSWER_BYTES, Ending, reason_for
from cudactl.reach.targets import Target

# Reads exactly the zipapp's length from standard input into a memory file and runs it from there,
# in the same process: starting Python twice would double what a host pays, and so would tidying up
# at its end. What is left on standard input is the request. Python 3.8 has memfd_create on every
# kernel since 3.17.
BOOTSTRAP = (
    "import gc,os,sys\n"
    "gc.disable()\n"
    "n=int(sys.argv[1]);f=os.memfd_create('cudactl',0);r=sys.stdin.buffer.raw\n"
    "while n>0:\n"
    " b=r.read(min(n,65536))\n"
    " if not b:sys.exit(74)\n"
    " n-=len(b)\n"
    " while b:b=b[os.write(f,b):]\n"
    "sys.path.insert(0,'/proc/self/fd/%d'%f)\n"
    "from cudactl.zipapp_main import main\n"
    "main(sys.argv[2:])\n"
    "sys.stdout.flush()\n"
    "os._exit(0)"
)
# Between asking a process that has used up its time to end, and ending it.
KILL_GRACE_S = 2.0
# How a line of progress begins, as zipapp/main.py writes it, and how long it may be.
PROGRESS = b'{"progress": {'
MAX_PROGRESS_BYTES = 4096
TIMED_OUT = (124, 137)  # timeout's exit status: asked to end, and had to be killed


@dataclass(frozen=True)
class Answer:
    """What one host answered, or why it did not."""

    target: Target
    document: dict[str, Any] | None
    error: CudactlError | None
    duration_s: float


def run_probe(
    targets: Sequence[Target],
    arguments: list[str],
    *,
    request: bytes = b"",
    requests: dict[str, bytes] | None = None,
    become: bool = False,
    become_password: str | None = None,
    forks: int = 30,
    deadline_s: float = 60.0,
    on_answer: Callable[[Answer], None] | None = None,
    on_progress: Callable[[Target, dict[str, Any]], None] | None = None,
) -> list[Answer]:
    """Run the probe with `arguments` on every target and return one answer each, in their order.

    Args:
        targets: Machines to ask.
        arguments: Probe verb and options, e.g. ["state"].
        request: Bytes for the probe's standard input, the same for all.
        requests: Target name → bytes, where they differ; wins over `request`.
        become: Use sudo on targets that declare it.
        become_password: sudo's password; None means sudo must not ask.
        forks: How many hosts at once.
        deadline_s: Seconds for one host, connection included.
        on_answer: Called as each answer arrives.
        on_progress: Called with what a host says before its answer, where the request asks for it.
    """
    if arguments == ["state"]:
        # Compiling takes the controller what it spares a host.
        payload = zipapp.build_state(compiled=len(targets) > 2)
    else:
        payload = zipapp.build()
    return _fan_out(
        targets,
        BOOTSTRAP,
        [str(len(payload)), *arguments],
        {t.name: payload + (requests or {}).get(t.name, request) for t in targets},
        (become, become_password),
        forks,
        deadline_s,
        on_answer,
        on_progress,
    )


def run_python(
    targets: Sequence[Target],
    script: str,
    arguments: list[str],
    *,
    requests: dict[str, bytes] | None = None,
    become: bool = False,
    become_password: str | None = None,
    forks: int = 30,
    deadline_s: float = 60.0,
) -> list[Answer]:
    """Run a small Python script, which prints one JSON document, on every target.

    Args:
        targets: Machines.
        script: Source text, for Python 3.8 and newer, standard library only.
        arguments: Its arguments.
        requests: Target name → bytes for its standard input.
        become: Use sudo on targets that declare it.
        become_password: sudo's password; None means sudo must not ask.
        forks: How many hosts at once.
        deadline_s: Seconds for one host.
    """
    stdin = {t.name: (requests or {}).get(t.name, b"") for t in targets}
    how = (become, become_password)
    return _fan_out(targets, script, arguments, stdin, how, forks, deadline_s, None)


def _fan_out(
    targets: Sequence[Target],
    script: str,
    arguments: list[str],
    stdin_of: dict[str, bytes],
    become: tuple[bool, str | None],
    forks: int,
    deadline_s: float,
    on_answer: Callable[[Answer], None] | None,
    on_progress: Callable[[Target, dict[str, Any]], None] | None = None,
) -> list[Answer]:
    answers: dict[str, Answer] = {}

    def keep(answer: Answer) -> None:
        answers[answer.target.name] = answer
        if on_answer is not None:
            on_answer(answer)

    def hear(target: Target, line: bytes) -> None:
        step = _progress(line) if on_progress is not None else None
        if on_progress is not None and step is not None:
            on_progress(target, step)

    def parts(target: Target) -> tuple[list[str], bytes]:
        python = [target.python, "-I", "-S", "-c", script, *arguments]
        stdin = stdin_of[target.name]
        wanted, password = become[0], become[1] or target.become_password
        if target.root is not None:
            python = ["chroot", target.root, *python]
        if wanted and target.become:
            python = ["sudo", *(("-n",) if password is None else ("-S", "-p", "")), "--", *python]
            if password is not None:
                stdin = password.encode() + b"\n" + stdin
        command = "exec " + shlex.join(python)
        if target.connection == "local":
            return ["/bin/sh", "-c", command], stdin
        return [*target.ssh_command(), command], stdin

    if len(targets) == 1:
        # One host needs no engine; ClusterShell's start would cost more than the answer.
        keep(_ask_one(targets[0], *parts(targets[0]), deadline_s, hear))
    elif targets:
        _ask_many(targets, parts, forks, deadline_s, keep, hear)
    return [answers[target.name] for target in targets]


def _progress(line: bytes) -> dict[str, Any] | None:
    """Return what a line says of how far the probe is; None where it says something else."""
    if not line.startswith(PROGRESS) or len(line) > MAX_PROGRESS_BYTES:
        return None
    try:
        step = json.loads(line)["progress"]
    except (ValueError, KeyError, RecursionError):
        return None
    return step if isinstance(step, dict) else None


def _ask_one(
    target: Target,
    command: list[str],
    stdin: bytes,
    deadline_s: float,
    hear: Callable[[Target, bytes], None],
) -> Answer:
    begun = time.monotonic()
    try:
        ending = _exchange(command, stdin, begun + deadline_s, lambda line: hear(target, line))
    except OSError as error:
        ending = Ending(127, err=str(error).encode())
    return _answer(target, ending, begun, deadline_s)


def _exchange(
    command: list[str], stdin: bytes, until: float, hear: Callable[[bytes], None]
) -> Ending:
    """Run a command with `stdin`, read both outputs side by side, stop at the limits."""
    heard = 0
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        ) as child,
        selectors.DefaultSelector() as ready,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        out, err = bytearray(), bytearray()
        ready.register(child.stdout, selectors.EVENT_READ, out)
        ready.register(child.stderr, selectors.EVENT_READ, err)
        os.set_blocking(child.stdin.fileno(), False)
        ready.register(child.stdin, selectors.EVENT_WRITE)
        left = memoryview(stdin)
        why: Literal["deadline", "flood"] | None = None
        while ready.get_map() and why is None:
            for key, _ in ready.select(max(0.0, until - time.monotonic())):
                if key.data is None:
                    with contextlib.suppress(BrokenPipeError):
                        left = left[child.stdin.write(left) or 0 :]
                        if left:
                            continue
                    # All is said, or nobody listens any more: its exit status tells.
                    ready.unregister(key.fileobj)
                    child.stdin.close()
                elif block := os.read(key.fd, 65536):
                    searched = len(key.data)
                    key.data.extend(block)
                    while key.data is out and (end := out.find(b"\n", searched)) >= 0:
                        hear(bytes(out[heard:end]))
                        heard = searched = end + 1
                else:
                    ready.unregister(key.fileobj)
            if time.monotonic() >= until:
                why = "deadline"
            elif len(out) + len(err) > MAX_ANSWER_BYTES:
                why = "flood"
        if why is None:
            try:
                child.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                why = "deadline"
        if why is not None:
            child.kill()
        code = child.wait()
        return Ending(code, bytes(out), bytes(err), why)


def _ask_many(
    targets: Sequence[Target],
    parts: Callable[[Target], tuple[list[str], bytes]],
    forks: int,
    deadline_s: float,
    keep: Callable[[Answer], None],
    hear: Callable[[Target, bytes], None],
) -> None:
    from ClusterShell.Event import EventHandler
    from ClusterShell.Task import task_self

    # It warns of every host that ends before it has read all; such a host's answer says why.
    logging.getLogger("ClusterShell").setLevel(logging.ERROR)

    class Collect(EventHandler):  # type: ignore[misc]
        """Collects one host's output; ClusterShell calls these by name."""

        def __init__(self, target: Target) -> None:
            self.target = target
            self.begun = time.monotonic()
            self.out: list[bytes] = []
            self.err: list[bytes] = []
            self.size = 0

        def ev_start(self, worker: Any) -> None:  # noqa: ANN401
            self.begun = time.monotonic()

        def ev_read(self, worker: Any, node: str, sname: str, msg: bytes) -> None:  # noqa: ANN401
            if self.size > MAX_ANSWER_BYTES:
                return
            self.size += len(msg) + 1
            if self.size > MAX_ANSWER_BYTES:
                worker.abort()
                return
            (self.out if sname == worker.SNAME_STDOUT else self.err).append(msg)
            if sname == worker.SNAME_STDOUT:
                hear(self.target, msg)

        def ev_close(self, worker: Any, timedout: bool) -> None:  # noqa: ANN401
            stopped: Literal["deadline", "flood"] | None = None
            if self.size > MAX_ANSWER_BYTES:
                stopped = "flood"
            elif timedout or (
                # Its clock began a little before ours.
                worker.retcode() in TIMED_OUT and time.monotonic() - self.begun >= 0.9 * deadline_s
            ):
                stopped = "deadline"
            ending = Ending(worker.retcode(), b"\n".join(self.out), b"\n".join(self.err), stopped)
            keep(_answer(self.target, ending, self.begun, deadline_s))

    task = task_self()
    task.set_info("fanout", max(1, forks))
    # Output goes to the handlers; ClusterShell's own gathering would keep a second copy.
    task.set_default("stdout_msgtree", False)
    task.set_default("stderr_msgtree", False)
    # ClusterShell waits without a limit for a process that has closed its outputs. `timeout` keeps
    # them open until the process ends, and ends it; ClusterShell's own limit is the second one.
    limit = ["timeout", "--foreground", f"--kill-after={KILL_GRACE_S}", str(deadline_s)]
    for target in targets:
        command, stdin = parts(target)
        worker = task.shell(
            "exec " + shlex.join([*limit, *command]),
            handler=Collect(target),
            timeout=deadline_s + 2 * KILL_GRACE_S,
            stderr=True,
        )
        worker.write(stdin)
        worker.set_write_eof()
    try:
        task.run()
    finally:
        task.abort()


def _answer(target: Target, ending: Ending, begun: float, deadline_s: float) -> Answer:
    duration = time.monotonic() - begun
    document: dict[str, Any] | None = None
    # Banners and shell greetings may come first: the probe's document is the last line.
    last = ending.out.rstrip().rsplit(b"\n", 1)[-1]
    if last.startswith(b"{") and ending.stopped is None:
        try:
            loaded = json.loads(last)
            document = loaded if isinstance(loaded, dict) else None
        except (ValueError, RecursionError):
            document = None
    if ending.code == 0 and document is not None:
        return Answer(target, document, None, duration)
    error = reason_for(target, ending, document, deadline_s)
    return Answer(target, None, error, duration)
