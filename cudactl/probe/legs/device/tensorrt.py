"""tensorrt on one GPU: the small classifier of `probe/tensorrt`, built here and run here.

Through the Python bindings where the request names a folder that has them; otherwise, or where they
do not import, through trtexec, which is weaker evidence, and the values say which it was.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Dict, List, Optional

from ...cuda.driver_api import CudaError, Driver
from ...loading import Loaded
from ...tensorrt import bindings as python
from ...tensorrt import classifier, measuring
from ...tensorrt import trtexec as program
from .. import Emit, Values, libraries

PAIR = ("fp32", "fp16")
QUICK, THOROUGH = 1, 3
"""Builder optimisation levels; 3 is TensorRT's own default."""


def measure(request: Values, emit: Emit) -> None:
    """Measure tensorrt.engine, tensorrt.accuracy and tensorrt.latency."""
    # Kernels are loaded when they are used: the builder knows thousands, the classifier few.
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    sites = [_versioned(str(site)) for site in request.get("sites") or []]
    tool = str(request.get("trtexec") or "")
    why: Optional[str] = None
    if sites:
        found, why = python.opened(sites)
        if found is not None:
            _through_bindings(found, request, emit)
            return
    if os.access(tool, os.X_OK):
        _through_trtexec(tool, why, request, emit)
        return
    reasons = [why or "", ("%s is not there" % tool) if tool else ""]
    values = {"via": "bindings", "python": "%d.%d" % sys.version_info[:2]}
    emit("tensorrt.engine", values, "; ".join(filter(None, reasons)) or "nothing was asked for")


def _versioned(site: str) -> str:
    """Put this Python's version into a folder's name: Debian's bindings are for one Python."""
    return site.replace("{python}", "%d.%d" % sys.version_info[:2])


def _driver(request: Values) -> Driver:
    cuda = Loaded(*libraries(request)["cuda"])
    if cuda.library is None:
        raise python.TensorRtError("libcuda: %s" % cuda.error)
    driver = Driver(cuda.library)
    driver.call("cuInit", 0)
    address = str(request["gpu"].get("address") or "")
    if driver.number("cuDeviceGetCount") > 1 and address:
        driver.use(driver.number("cuDeviceGetByPCIBusId", address.encode()))
    else:
        driver.use(driver.number("cuDeviceGet", 0))
    return driver


def _through_bindings(found: python.Bindings, request: Values, emit: Emit) -> None:
    values: Dict[str, Any] = {
        "via": "bindings",
        "version": found.version,
        "path": os.path.realpath(str(found.trt.__file__)),
        "python": "%d.%d" % sys.version_info[:2],
    }
    # The module's own file too: it is what says whose TensorRT this is.
    values["mapped"] = [values["path"]]
    try:
        driver = _driver(request)
    except (CudaError, python.TensorRtError, KeyError, AttributeError) as error:
        emit("tensorrt.engine", values, str(error))
        return

    def one(precision: str) -> Values:
        return measuring.exactness(found, driver, precision)

    values["precisions"] = _each(found.precisions(), one)
    emit("tensorrt.engine", values, None)
    level = QUICK if request.get("tier") == "smoke" else THOROUGH
    real: List[measuring.Real] = []

    def drift() -> Values:
        real.append(measuring.Real(found, driver, level))
        return real[0].drift()

    if _said("tensorrt.accuracy", "bindings", drift, emit):
        seconds = float(request.get("timed_s") or 0.3)
        _said("tensorrt.latency", "bindings", lambda: real[0].latency(seconds), emit)


def _said(check: str, via: str, take: Callable[[], Values], emit: Emit) -> bool:
    """Take a measurement and emit it, or its error; return whether there was none."""
    try:
        values, error = take(), None
    except Exception as caught:  # bindings raise what they like
        values, error = {}, _told(caught)
    emit(check, dict(values, via=via), error)
    return error is None


def _told(error: Exception) -> str:
    own = (python.TensorRtError, program.TrtexecError, CudaError)
    return str(error) if isinstance(error, own) else "%s: %s" % (type(error).__name__, error)


def _each(precisions: List[str], one: Callable[[str], Values]) -> Dict[str, Values]:
    """Return precision → what was measured, or why nothing was."""
    found: Dict[str, Values] = {}
    for precision in precisions:
        try:
            found[precision] = dict(one(precision), error=None)
        except Exception as error:  # bindings raise what they like
            found[precision] = {"error": _told(error)}
    return found


def _through_trtexec(path: str, why: Optional[str], request: Values, emit: Emit) -> None:
    values: Dict[str, Any] = {"via": "trtexec", "path": path, "bindings_error": why}
    try:
        tool = program.Trtexec(path, 0.9 * float(request["deadline_s"]))
    except program.TrtexecError as error:
        emit("tensorrt.engine", values, str(error))
        return
    values["version_number"] = int(tool.version() or 0) or None
    values["mapped"] = [os.path.realpath(path)]
    values["precisions"] = _each(list(PAIR), lambda kind: program.exactness(tool, kind))
    emit("tensorrt.engine", values, None)
    plans: Dict[str, str] = {}

    def drift() -> Values:
        network = classifier.real()
        plans.update({name: tool.build(network, name, "real-" + name) for name in PAIR})
        return measuring.drift(network, lambda kind, image: tool.answer(plans[kind], image))

    def latency() -> Values:
        seconds = float(request.get("timed_s") or 0.3)
        timed: Values = {name: tool.latency(plan, seconds) for name, plan in plans.items()}
        return dict(timed, timed_s=seconds)

    if _said("tensorrt.accuracy", "trtexec", drift, emit):
        _said("tensorrt.latency", "trtexec", latency, emit)
