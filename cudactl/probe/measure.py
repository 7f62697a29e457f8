"""`measure`: run the legs that a request names, each as a process with a deadline, as evidence.

A vendor library may crash, hang in the kernel or write rubbish to standard output: the leg's
process takes it, its results come over a pipe of their own, and what it had measured before it died
is kept.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Optional

from . import VERSION, provenance
from .files import Root
from .legs import LEGS
from .legs import measure as measure_leg
from .loading import mapped
from .state import host_state

DEFAULT_DEADLINE_S = 60.0
MAX_DEADLINE_S = 24 * 3600.0
KILL_GRACE_S = 2.0
AT_ONCE = 2
MAX_RESULT_BYTES = 16 * 1024 * 1024
# What a leg in the system world may see of its caller's environment.
KEPT = ("HOME", "CUDA_VISIBLE_DEVICES")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RequestError(Exception):
    """The request cannot be meant."""


def evidence(request: Dict[str, Any]) -> Dict[str, Any]:
    """Return the Evidence document for `request`.

    Args:
        request: {"world": "system"|"user", "hash": bool, "legs": {name: {"deadline_s": …, …}}}.
    """
    legs = request.get("legs")
    if not isinstance(legs, dict) or not legs:
        raise RequestError("the request names no legs")
    unknown = sorted(set(legs) - set(LEGS))
    if unknown:
        raise RequestError("no such leg: %s" % ", ".join(unknown))
    for name, leg in legs.items():
        deadline: Any = leg.get("deadline_s", DEFAULT_DEADLINE_S) if isinstance(leg, dict) else None
        number = isinstance(deadline, (int, float)) and not isinstance(deadline, bool)
        if not number or not 0 < deadline <= MAX_DEADLINE_S:
            raise RequestError("the request for the leg %s holds no sensible deadline_s" % name)
    world = request.get("world", "system")
    if world not in ("system", "user"):
        raise RequestError("no such world: %r" % (world,))
    begun = time.time()
    state = host_state(Root())
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(run_leg, name, legs[name], str(world)) for name in LEGS if name in legs]
        results = [job.result() for job in jobs]
    with_hash = bool(request.get("hash", True))
    paths = sorted({path for result in results for path in result["libraries"]})
    described = {d["path"]: d for d in provenance.describe(paths, with_hash)}
    for result in results:
        result["libraries"] = [described[path] for path in result["libraries"]]
    return {
        "schema_version": 1,
        "probe_version": VERSION,
        "probe_sha256": _own_sha256(),
        "taken_at": begun,
        "world": world,
        "state": state,
        "legs": results,
        "duration_s": time.time() - begun,
    }


def run_leg(name: str, request: Dict[str, Any], world: str) -> Dict[str, Any]:
    """Run one leg as a child and return its LegResult (libraries still as plain paths)."""
    deadline = float(request.get("deadline_s", DEFAULT_DEADLINE_S))
    begun = time.monotonic()
    reader, writer = os.pipe()
    archive = _archive()
    inherited = [writer]
    if archive is not None and archive.startswith("/proc/self/fd/"):
        inherited.append(int(archive.rsplit("/", 1)[1]))
    child = subprocess.Popen(
        [*_command(archive), "leg", name, str(writer)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(world),
        pass_fds=inherited,
        start_new_session=True,
    )
    os.close(writer)
    collected: Dict[str, bytes] = {"out": b"", "err": b""}
    threads = [
        threading.Thread(target=_drain, args=(reader, collected, "out"), daemon=True),
        threading.Thread(
            target=_drain,
            args=(child.stderr.fileno() if child.stderr else -1, collected, "err"),
            daemon=True,
        ),
    ]
    for thread in threads:
        thread.start()
    outcome = "ran"
    try:
        if child.stdin is not None:
            child.stdin.write(json.dumps(request).encode())
            child.stdin.close()
    except OSError:
        pass  # it died at once; its exit status tells
    try:
        child.wait(timeout=deadline)
    except subprocess.TimeoutExpired:
        outcome = _stop(child)
    if outcome != "stuck":
        for thread in threads:
            thread.join(KILL_GRACE_S)
        if not threads[0].is_alive():
            os.close(reader)
    measurements, libraries = _parse(collected["out"])
    if outcome == "ran":
        outcome = _ending(child.returncode, collected["out"], measurements)
    detail = ""
    if outcome != "ran":
        detail = _detail(child.returncode, collected["err"], deadline, outcome)
    return {
        "leg": name,
        "outcome": outcome,
        "detail": detail,
        "duration_s": time.monotonic() - begun,
        "measurements": measurements,
        "libraries": libraries,
    }


def leg_main(name: str, descriptor: int) -> None:
    """The child's side: measure, and write one JSON line per result to the pipe."""
    sink = os.fdopen(descriptor, "wb", 0)
    started = [time.monotonic()]

    def emit(check: str, values: Dict[str, Any], error: Optional[str]) -> None:
        now = time.monotonic()
        line = {
            "check": check,
            "values": values,
            "error": error,
            "duration_s": now - started[0],
        }
        started[0] = now
        sink.write(json.dumps(line).encode() + b"\n")
        # Said after every check, so that a later crash still tells what was mapped.
        sink.write(json.dumps({"libraries": mapped()}).encode() + b"\n")

    request = json.loads(sys.stdin.read() or "{}")
    measure_leg(name, request, emit)
    sink.write(b'{"end":true}\n')
    sink.close()
    # Vendor libraries may crash in their destructors; everything is said, so none are run.
    os._exit(0)


def _parse(data: bytes) -> Any:  # noqa: ANN401 - a pair of lists
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
    return measurements, libraries


def _ending(status: Optional[int], out: bytes, measurements: List[Any]) -> str:
    if status == 0 and b'{"end":true}' in out:
        return "ran"
    return "crashed" if status or measurements else "no_output"


def _detail(status: Optional[int], err: bytes, deadline: float, outcome: str) -> str:
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
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(timeout=KILL_GRACE_S)
    except subprocess.TimeoutExpired:
        return "stuck"
    return "timeout"


def _drain(descriptor: int, into: Dict[str, bytes], key: str) -> None:
    try:
        while len(into[key]) < MAX_RESULT_BYTES:
            block = os.read(descriptor, 65536)
            if not block:
                return
            into[key] += block
    except OSError:
        return


def _archive() -> Optional[str]:
    """Return the zipapp this runs from, or None in a checkout."""
    return getattr(globals().get("__loader__"), "archive", None)


def _command(archive: Optional[str]) -> List[str]:
    if archive is not None:
        return [sys.executable, "-I", "-S", archive]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    start = "import sys;sys.path.insert(0,%r);from cudactl.zipapp.main import main;main()" % package
    return [sys.executable, "-I", "-S", "-c", start]


def _environment(world: str) -> Dict[str, str]:
    if world == "user":
        return dict(os.environ)
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    kept.update({"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"})
    return kept


def _own_sha256() -> Optional[str]:
    archive = _archive()
    if archive is None:
        return None
    try:
        with open(archive, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return None
