"""A leg's process: started, limited by its deadline, ended, and what it said and how it ended.

A vendor library may crash, abort, hang in the kernel or write rubbish without end: this process
takes it. Its results come over a pipe of their own, one line each, so that what it had measured
before it died is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

from . import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple

KILL_GRACE_S = 2.0
MAX_RESULT_BYTES = 16 * 1024 * 1024
KEPT_ERR_BYTES = 64 * 1024
# What a leg in the system world may see of its caller's environment.
KEPT = ("HOME", "CUDA_VISIBLE_DEVICES")
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - the folder itself is made for us alone
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_running: "Set[subprocess.Popen[bytes]]" = set()


def run_leg(
    name: str,
    request: Dict[str, Any],
    deadline: float,
    world: str,
    gpu: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    """Run one leg as a child and return its LegResult (libraries still as plain paths).

    Args:
        name: Name of the leg.
        request: What it is asked.
        deadline: Seconds.
        world: "system" or "user": whose environment it gets.
        gpu: The one GPU that it may see; None for the machine's part.
    """
    result = _run_leg(name, request, deadline, world, gpu)
    result["gpu"] = gpu["id"] if gpu is not None else None
    return result


def _run_leg(
    name: str,
    request: Dict[str, Any],
    deadline: float,
    world: str,
    gpu: Optional[Dict[str, Any]],
) -> Dict[str, Any]:
    begun = time.monotonic()
    if gpu is not None and gpu["users"]:
        shown = ", ".join(str(pid) for pid in gpu["users"][:5])
        return _result(name, "deferred", "process %s computes on it" % shown, begun, [], [])
    part = name if gpu is None else "%s@%s" % (name, gpu["id"])
    earlier = abandoned(part)
    if earlier is not None:
        detail = (
            "process %d of an earlier run is still stuck in the kernel; none was added" % earlier
        )
        return _result(name, "stuck", detail, begun, [], [])
    scratch = _scratch()
    try:
        if gpu is not None:
            request = dict(request, gpu=gpu)
        outcome, detail, out = _run(part, request, deadline, _environment(world, scratch, gpu))
    finally:
        if scratch is not None:
            _clear(scratch)
    measurements, libraries, touched = _parse(out)
    if outcome != "ran" and touched is not None:
        detail += "; the last library it took hold of is " + touched
    return _result(name, outcome, detail, begun, measurements, libraries)


def _scratch() -> Optional[str]:
    """Make a folder of the leg's own; a full disk is no reason to measure nothing."""
    for folder in (os.environ.get("TMPDIR") or TEMPORARY[0], *TEMPORARY):
        path = os.path.join(folder, "cudactl-leg-" + os.urandom(6).hex())
        with contextlib.suppress(OSError):
            os.mkdir(path, 0o700)
            return path
    return None


def _clear(folder: str) -> None:
    """Remove the leg's folder and whatever it left there."""
    try:
        os.rmdir(folder)
    except OSError:
        import shutil  # it is dear, and seldom is anything left

        shutil.rmtree(folder, ignore_errors=True)


def stop_all() -> None:
    """End every leg that runs."""
    for child in list(_running):
        _stop(child)


def abandoned(name: str) -> Optional[int]:
    """Return the process id of this leg that an earlier run had to leave in the kernel, or None.

    Such a process is in uninterruptible sleep, and the probe that started it is gone.
    """
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        command = _command_line(pid)
        if command[-3:-1] != ["leg", name] or "-S" not in command:
            continue
        state, parent = _state(pid)
        if state == "D" and "measure" not in _command_line(parent):
            return int(pid)
    return None


def _command_line(pid: str) -> List[str]:
    try:
        with open("/proc/%s/cmdline" % pid, "rb") as stream:
            return stream.read().decode("utf-8", errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def _state(pid: str) -> Tuple[str, str]:
    """Return a process's state letter and its parent's id."""
    try:
        with open("/proc/%s/stat" % pid, encoding="utf-8", errors="replace") as stream:
            # The name in brackets may hold anything, so what counts begins after the last bracket.
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        fields = []
    return (fields[0], fields[1]) if len(fields) > 1 else ("", "")


def _run(
    name: str, request: Dict[str, Any], deadline: float, environment: Dict[str, str]
) -> Tuple[str, str, bytes]:
    """Return the outcome, its detail, and what came over the result pipe."""
    reader, writer = os.pipe()
    own = archive()
    inherited = [writer]
    if own is not None and own.startswith("/proc/self/fd/"):
        inherited.append(int(own.rsplit("/", 1)[1]))
    try:
        child = subprocess.Popen(
            [*_command(own), "leg", name, str(writer)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=inherited,
            start_new_session=True,
        )
    except OSError as error:
        os.close(reader)
        return "crashed", "it could not be started: %s" % error, b""
    finally:
        os.close(writer)
    assert child.stdin is not None
    assert child.stderr is not None
    _running.add(child)
    results, said = bytearray(), bytearray()
    threads = [
        threading.Thread(target=_keep_first, args=(reader, results), daemon=True),
        threading.Thread(target=_keep_last, args=(child.stderr.fileno(), said), daemon=True),
    ]
    for thread in threads:
        thread.start()
    outcome = "ran"
    with contextlib.suppress(OSError):  # it died at once; its exit status tells
        child.stdin.write(json.dumps(request).encode())
        child.stdin.close()
    try:
        child.wait(timeout=deadline)
    except subprocess.TimeoutExpired:
        outcome = _stop(child)
    if outcome != "stuck":
        for thread in threads:
            thread.join(KILL_GRACE_S)
            if thread.is_alive():  # something that it started still holds the pipe
                _kill(child)
                thread.join(KILL_GRACE_S)
        if not threads[0].is_alive():
            os.close(reader)
    _running.discard(child)
    out = bytes(results)
    if outcome == "ran":
        outcome = _ending(child.returncode, out)
    return outcome, _detail(outcome, child.returncode, bytes(said), deadline), out


def _result(
    name: str,
    outcome: str,
    detail: str,
    begun: float,
    measurements: List[Dict[str, Any]],
    libraries: List[str],
) -> Dict[str, Any]:
    return {
        "leg": name,
        "outcome": outcome,
        "detail": detail,
        "duration_s": time.monotonic() - begun,
        "measurements": measurements,
        "libraries": libraries,
    }


def _parse(data: bytes) -> Tuple[List[Dict[str, Any]], List[str], Optional[str]]:
    """Return the measurements, the libraries that were mapped, and the one that was loaded last."""
    touched: Optional[str] = None
    measurements: List[Dict[str, Any]] = []
    libraries: List[str] = []
    for line in data.split(b"\n"):
        try:
            entry = json.loads(line) if line else None
        except ValueError:
            continue
        if isinstance(entry, dict) and "check" in entry:
            measurements.append(entry)
            extra = entry["values"].get("mapped") if isinstance(entry.get("values"), dict) else None
            libraries += [p for p in extra or [] if p not in libraries]
        elif isinstance(entry, dict) and "libraries" in entry:
            libraries += [p for p in entry["libraries"] if p not in libraries]
        elif isinstance(entry, dict) and "loading" in entry:
            touched = str(entry["loading"])
    return measurements, libraries, touched


def _ending(status: Optional[int], out: bytes) -> str:
    if status == 0 and out.endswith(b'{"end":true}\n'):
        return "ran"
    # A library that ends the process as if all were well has not let the leg end, either.
    return "crashed" if status or b'"check"' in out else "no_output"


def _detail(outcome: str, status: Optional[int], err: bytes, deadline: float) -> str:
    if outcome == "ran":
        return ""
    if outcome in ("timeout", "stuck"):
        text = "no end within %.0f s" % deadline
        return text + (", and it cannot be killed (stuck in the kernel)" * (outcome == "stuck"))
    last = err.decode("utf-8", errors="replace").strip()[-600:]
    if status is not None and status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = "signal %d" % -status
        return (name + ": " + last) if last else name
    return "exit status %s%s" % (status, ": " + last if last else "")


def _stop(child: "subprocess.Popen[bytes]") -> str:
    """Kill a leg and everything it started; one that does not die is stuck in the kernel."""
    _kill(child)
    try:
        child.wait(timeout=KILL_GRACE_S)
    except subprocess.TimeoutExpired:
        return "stuck"
    return "timeout"


def _kill(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)


def _keep_first(descriptor: int, into: bytearray) -> None:
    """Read to the end and keep the beginning; who writes must never wait for a reader."""
    with contextlib.suppress(OSError):
        for block in iter(lambda: os.read(descriptor, 65536), b""):
            into += block[: MAX_RESULT_BYTES - len(into)]


def _keep_last(descriptor: int, into: bytearray) -> None:
    """Read to the end and keep the end of it."""
    with contextlib.suppress(OSError):
        for block in iter(lambda: os.read(descriptor, 65536), b""):
            into += block
            del into[:-KEPT_ERR_BYTES]


def archive() -> Optional[str]:
    """Return the zipapp this runs from, or None in a checkout."""
    return getattr(globals().get("__loader__"), "archive", None)


def _command(own: Optional[str]) -> List[str]:
    # Naming the archive would do, and would import 6 ms more (runpy) into every leg.
    start = "import gc,sys;gc.disable();sys.path.insert(0,%r);from cudactl.%s import main;main()"
    if own is not None:
        return [sys.executable, "-I", "-S", "-c", start % (own, "zipapp_main")]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-I", "-S", "-c", start % (package, "zipapp.main")]


def _environment(
    world: str, scratch: Optional[str], gpu: Optional[Dict[str, Any]]
) -> Dict[str, str]:
    if world == "user":
        environment = dict(os.environ)
    else:
        environment = {key: os.environ[key] for key in KEPT if key in os.environ}
        environment.update({"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"})
    if gpu is not None:
        # An address is no name for CUDA; without a UUID the leg finds its own among all.
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        if str(gpu["id"]).startswith("GPU-"):
            environment["CUDA_VISIBLE_DEVICES"] = str(gpu["id"])
    if scratch is not None:
        environment["TMPDIR"] = scratch
    return environment
