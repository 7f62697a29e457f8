"""`measure`: the legs that a request names, each run as a process of its own, as evidence.

How a leg's process is started, limited and ended is in `child.py`; this is what it is asked, and
what becomes of its answers.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import hashlib
import json
import os
import signal
import sys
import time
from typing import Any, Dict, Optional

from . import VERSION, loading, provenance
from .child import archive, run_leg, stop_all
from .files import Root
from .legs import LEGS
from .legs import measure as measure_leg
from .state import host_state

DEFAULT_DEADLINE_S = 60.0
MAX_DEADLINE_S = 24 * 3600.0
AT_ONCE = 2
PR_SET_PDEATHSIG = 1  # linux/prctl.h


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
    deadlines: Dict[str, float] = {}
    for name, leg in legs.items():
        deadline: Any = leg.get("deadline_s", DEFAULT_DEADLINE_S) if isinstance(leg, dict) else None
        number = isinstance(deadline, (int, float)) and not isinstance(deadline, bool)
        if not number or not 0 < deadline <= MAX_DEADLINE_S:
            raise RequestError("the request for the leg %s holds no sensible deadline_s" % name)
        deadlines[name] = float(deadline)
    world = request.get("world", "system")
    if world not in ("system", "user"):
        raise RequestError("no such world: %r" % (world,))
    begun = time.time()
    state = host_state(Root())
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(run_leg, name, legs[name], deadlines[name], str(world))
            for name in LEGS
            if name in legs
        ]
        try:
            results = [job.result() for job in jobs]
        except BaseException:  # Ctrl-C: the legs have sessions of their own and did not get it
            for job in jobs:
                job.cancel()
            stop_all()
            raise
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


def leg_main(name: str, descriptor: int) -> None:
    """The child's side: measure, and write one JSON line per result to the pipe."""
    with contextlib.suppress(AttributeError, OSError):
        # Nobody keeps the deadline of a leg whose parent is gone: it goes too.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
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
        sink.write(json.dumps({"libraries": loading.mapped()}).encode() + b"\n")

    loading.announce = lambda path: sink.write(json.dumps({"loading": path}).encode() + b"\n")
    request = json.loads(sys.stdin.read() or "{}")
    measure_leg(name, request, emit)
    sink.write(b'{"end":true}\n')
    sink.close()
    # Vendor libraries may crash in their destructors; everything is said, so none are run.
    os._exit(0)


def _own_sha256() -> Optional[str]:
    path = archive()
    if path is None:
        return None
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return None
