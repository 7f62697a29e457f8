"""The frameworks leg's work: runs in the user's interpreter, says one JSON line per check.

Correctness first, then training with a known end, then a digest that other hosts must reach too,
then speed. Only the standard library and the framework itself.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import re
import sys
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from . import known

Values = Dict[str, Any]
Say = Callable[[str, Values, Optional[str]], None]
FRAMEWORKS = ("torch", "tensorflow")
LIBRARY = re.compile(
    r"/lib(cuda|cudart|cublas|cublasLt|cudnn\w*|nccl|nvrtc|nvrtc-builtins|nvJitLink)"
    r"(-[0-9a-f.]+)?\.so"
)
PASSES = 6
BATCHED = ("fp32", "bf16", "fp16")


def main() -> None:
    """Do what argv asks: the request as JSON, then the descriptor that takes the answers."""
    request, sink = json.loads(sys.argv[1]), os.fdopen(int(sys.argv[2]), "wb", 0)

    def say(check: str, values: Values, error: Optional[str]) -> None:
        sink.write(json.dumps([check, values, error]).encode() + b"\n")

    for name in request["frameworks"]:
        measure(str(name), request, say)
    sink.write(b'"end"\n')
    sink.close()
    # Vendor libraries may crash in their destructors; everything is said, so none are run.
    os._exit(0)


def framework(name: str, on: str) -> Any:  # noqa: ANN401 - one of two alike
    """Return the framework, imported."""
    if name == "torch":
        from .torch_work import Torch

        return Torch(on)
    from .tensorflow_work import TensorFlow

    return TensorFlow(on)


def measure(name: str, request: Values, say: Say) -> None:
    """Measure one framework; what one check raises is that check's error."""
    prefix = "frameworks.%s." % name
    on = str(request.get("on") or "cuda")
    interpreter = {"interpreter": sys.executable, "python": sys.version.split()[0]}
    try:
        one = framework(name, on)
        values = dict(interpreter, **one.loaded())
    except Exception as error:  # importing runs anything
        say(prefix + "loaded", interpreter, told(error))
        return
    values.update(really_loaded())
    values["mapped"] = [os.path.realpath(values["path"]), *values["libraries"]]
    say(prefix + "loaded", values, None)
    if on == "cuda" and not values["available"]:
        return  # the check above says so; nothing else can be measured
    asked: List[Tuple[str, Callable[[], Values]]] = [
        ("matmul", lambda: matmuls(one)),
        ("convolution", lambda: convolutions(one)),
        ("training", lambda: training(one)),
        ("digest", lambda: digests(one)),
        ("throughput", lambda: throughput(one, float(request.get("timed_s") or 0.3))),
    ]
    for what, work in asked:
        try:
            say(prefix + what, work(), None)
        except Exception as error:  # a GPU's errors come as any exception
            say(prefix + what, {}, told(error))


def told(error: Exception) -> str:
    """Return an exception in one line."""
    last = traceback.format_exception_only(type(error), error)[-1].strip()
    return last.splitlines()[0][:500]


def really_loaded() -> Values:
    """Return the CUDA libraries in this process's memory map, and the versions that they answer."""
    paths = set()
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            parts = line.split(None, 5)
            if len(parts) == 6 and LIBRARY.search(parts[5]):
                paths.add(os.path.realpath(parts[5].rstrip("\n")))
    libraries = sorted(paths)
    return {
        "libraries": libraries,
        "cudart_number": _asked(libraries, "libcudart", "cudaRuntimeGetVersion"),
        "driver_cuda_number": _asked(libraries, "libcuda.so", "cuDriverGetVersion"),
        "cudnn_loaded_number": _asked(libraries, "libcudnn.so", "cudnnGetVersion"),
    }


def _asked(libraries: Sequence[str], stem: str, call: str) -> Optional[int]:
    """Return the version that a library in the map answers, or None where it is not there."""
    for path in libraries:
        if not os.path.basename(path).startswith(stem):
            continue
        try:
            function = getattr(ctypes.CDLL(path), call)
        except (OSError, AttributeError):
            continue
        if call == "cudnnGetVersion":
            function.restype = ctypes.c_size_t
            return int(function())
        value = ctypes.c_int(-1)
        if function(ctypes.byref(value)) == 0:
            return value.value
    return None


def compared(found: Sequence[float], wanted: Sequence[float]) -> Values:
    """Return how far two lists of numbers are from being the same, bit for bit."""
    errors = [abs(f - w) for f, w in zip(found, wanted) if math.isfinite(f)]
    return {
        "checked": len(found),
        "expected": len(wanted),
        "wrong": sum(f != w for f, w in zip(found, wanted)),
        "not_finite": sum(not math.isfinite(f) for f in found),
        "all_zero": not any(found),
        "largest_error": max(errors, default=None),
    }


def matmuls(one: Any) -> Values:  # noqa: ANN401
    """Return, by type, how exact matmuls of whole numbers are."""
    by_type, problems = {}, {}  # type: Dict[str, Values], Dict[Tuple[int, int], known.Matmul]
    for kind in one.types():
        bounds = known.BOUNDS[kind]
        problem = problems.get(bounds) or known.matmul(kind)
        problems[bounds] = problem
        wanted = [float(v) for row in problem.product for v in row]
        by_type[kind] = compared(one.matmul(problem.left, problem.right, kind), wanted)
    return {"by_type": by_type, "inner": known.INNER}


def convolutions(one: Any) -> Values:  # noqa: ANN401
    """Return, by type and layout, how exact convolutions of whole numbers are."""
    problem = known.convolution()
    wanted = [float(v) for v in problem.result]
    by_kind = {}
    for kind in one.types():
        if kind not in BATCHED:
            continue
        for layout in one.layouts():
            found = one.convolution(problem, kind, layout)
            by_kind["%s %s" % (kind, layout)] = compared(found, wanted)
    # cuDNN loads its parts at the first convolution.
    return {"by_kind": by_kind, "mapped": really_loaded()["libraries"]}


def training(one: Any) -> Values:  # noqa: ANN401
    """Return how near training comes to its known end."""
    problem = known.regression()
    weights = one.regression(problem)
    far = [abs(w - s) for w, s in zip(weights, problem.solution)]
    trained = one.classify(known.pictures(), PASSES)
    finite = all(math.isfinite(w) for w in [*weights, *trained["weights"], trained["final_loss"]])
    return {
        "regression_steps": problem.steps,
        "regression_error": max(far) if finite else None,
        "passes": PASSES,
        "accuracy": trained["accuracy"],
        "final_loss": trained["final_loss"] if finite else None,
        "images_per_s": trained["images_per_s"],
        "finite": finite,
    }


def digests(one: Any) -> Values:  # noqa: ANN401
    """Return the digest of a deterministic training, twice."""
    pictures = known.pictures()
    return {"digest": one.digest(pictures), "again": one.digest(pictures)}


def throughput(one: Any, seconds: float) -> Values:  # noqa: ANN401
    """Return how fast it is."""
    values: Values = one.rate(seconds)
    values["timed_s"] = seconds
    return values
