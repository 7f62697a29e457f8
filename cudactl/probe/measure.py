"""`measure`: the legs that a request names, each run as a process of its own, as evidence.

How a leg's process is started, limited and ended is in `child.py`; this is what it is asked, and
what becomes of its answers.
"""

from __future__ import annotations

import functools
import hashlib
import time

from . import TYPE_CHECKING, VERSION
from .child import archive, run_leg, stop_all
from .files import Root
from .legs import LEGS
from .state import host_state
from .tested import tested_gpus
from .together import together

if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    Tell = Callable[[Dict[str, Any]], None]

DEFAULT_DEADLINE_S = 60.0
MAX_DEADLINE_S = 24 * 3600.0
AT_ONCE = 2


class RequestError(Exception):
    """The request cannot be meant."""


def evidence(request: Dict[str, Any], tell: Optional[Tell] = None) -> Dict[str, Any]:
    """Return the Evidence document for `request`.

    Args:
        request: {"world": "system"|"user", "hash": bool, "legs": {name: {"deadline_s": …, …}}}.
        tell: Called as each part of a leg begins and ends; from several threads.
    """
    legs = request.get("legs")
    # A lock without libraries is judged by the machine's state alone; the request then says so.
    if not isinstance(legs, dict) or not (legs or request.get("state_only") is True):
        raise RequestError("the request names no legs")
    unknown = sorted(set(legs) - set(LEGS))
    if unknown:
        raise RequestError("no such leg: %s" % ", ".join(unknown))
    for name, leg in legs.items():
        _deadline(name, leg)
        if isinstance(leg, dict) and leg.get("device") is not None:
            _deadline(name + ".device", leg["device"])
    world = request.get("world", "system")
    if world not in ("system", "user"):
        raise RequestError("no such world: %r" % (world,))
    begun = time.time()
    state = host_state(Root())
    jobs = [
        functools.partial(_run, tell, name, legs[name], str(world))
        for name in LEGS
        if name in legs and not legs[name].get("device_only")
    ]
    results = together(jobs, AT_ONCE, stop_all)
    gpus = tested_gpus(Root(), request, state)
    on_devices = [name for name in LEGS if name in legs and legs[name].get("device")]
    # Health comes last: its counters tell what the other legs' loads did to the GPU.
    on_devices.sort(key=lambda name: name == "health")
    if gpus and on_devices:
        on_gpu = functools.partial(_on_gpu, tell, on_devices, legs, str(world))
        parts = [functools.partial(on_gpu, gpu) for gpu in gpus]
        for some in together(parts, len(parts), stop_all):
            results += some
    with_hash = bool(request.get("hash", True))
    paths = sorted({path for result in results for path in result["libraries"]})
    if paths:
        from . import provenance  # where nothing was loaded nothing is to be traced

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
        "gpus": gpus,
        "legs": results,
        "duration_s": time.time() - begun,
    }


def _deadline(name: str, leg: Any) -> float:  # noqa: ANN401 - a request may hold anything
    deadline: Any = leg.get("deadline_s", DEFAULT_DEADLINE_S) if isinstance(leg, dict) else None
    number = isinstance(deadline, (int, float)) and not isinstance(deadline, bool)
    if not number or not 0 < deadline <= MAX_DEADLINE_S:
        raise RequestError("the request for the leg %s holds no sensible deadline_s" % name)
    return float(deadline)


def _run(
    tell: Optional[Tell],
    name: str,
    request: Dict[str, Any],
    world: str,
    gpu: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    """Run a part of a leg, and tell of its beginning and its end."""
    about = {"leg": name, "gpu": gpu and gpu["id"], "outcome": None}
    if tell is not None:
        tell(about)
    result = run_leg(name, request, _deadline(name, request), world, gpu)
    if tell is not None:
        tell(dict(about, outcome=result["outcome"], duration_s=result["duration_s"]))
    return result


def _on_gpu(
    tell: Optional[Tell],
    names: List[str],
    legs: Dict[str, Any],
    world: str,
    gpu: Dict[str, Any],
) -> List[Dict[str, Any]]:
    """Run the device parts on one GPU, one after the other: they measure its speed."""
    return [_run(tell, name, legs[name]["device"], world, gpu) for name in names]


def _own_sha256() -> Optional[str]:
    path = archive()
    if path is None:
        return None
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return None
