"""cudnn on a GPU: convolutions forward and backward, exact, by several algorithms and layouts.

Operands are small integers, so every partial sum is exact in FP16 and FP32 alike; what comes back
is compared with a convolution in plain Python, number by number. An algorithm that cuDNN refuses is
recorded as refused, with the status. Then the rate of one convolution as networks have it.
"""

from __future__ import annotations

import math
import random
import time
from typing import Any, Dict, List, Tuple

from ...cuda import nvrtc_api
from ...cuda.calls import CallFailed
from ...cuda.convolutions import Example, decoded, encoded, ordered
from ...cuda.dnn import ALGORITHMS, TRANSFORMS, TYPES, Convolution, Dnn, Shape
from ...cuda.normals import BLOCK, Normals, decode
from ...cuda.runtime_api import Runtime, Stopwatch
from ...cuda.speed import rates, sample
from ...loading import Loaded
from .. import Emit, Values, libraries

EXACT_SHAPE = (4, 8, 16, 12, 16)
SPEED_SHAPE = (32, 256, 56, 56, 256)  # as in the middle of ResNet-like networks
LAYOUTS = ("nchw", "nhwc")
ROOM_BYTES = 1 << 30
SPARE_S = 2.0
SAMPLED = 16
FAILURES = (CallFailed, AttributeError)


def measure(request: Values, emit: Emit) -> None:
    """Measure cudnn.forward, cudnn.backward_data, cudnn.backward_filter and cudnn.speed."""
    until = time.monotonic() + float(request["deadline_s"]) - SPARE_S
    wanted = libraries(request)
    # What cuDNN links to is loaded first and by path, so that no other copy is picked up.
    order = ("cudart", "cublaslt", "cublas", "nvrtc", "cudnn")
    loaded = {name: Loaded(*wanted[name]) for name in order if name in wanted}
    if "nvrtc" in loaded:
        nvrtc_api.load_builtins(loaded["nvrtc"])
    checks = ["cudnn." + operation for operation in ALGORITHMS]
    try:
        runtime = Runtime(loaded["cudart"], str(request["gpu"]["address"]))
        dnn = Dnn(loaded["cudnn"])
    except (*FAILURES, KeyError) as error:
        for check in [*checks, "cudnn.speed"]:
            emit(check, {}, "%s: %s" % (type(error).__name__, error))
        return
    sizes = request.get("size") or {}
    shape, seed = Shape(*sizes.get("exact", EXACT_SHAPE)), int(request.get("seed", 1))
    # By turns, so that the result of the run before is a wrong one.
    examples = {layout: Example(seed + place, shape) for place, layout in enumerate(LAYOUTS)}
    types = [one for one in TYPES if one != "tf32" or runtime.cc >= (8, 0)]
    for operation in ALGORITHMS:
        runs: List[Values] = []
        # Algorithms that are exact come first: time may end before the others.
        for algorithm in sorted(ALGORITHMS[operation], key=TRANSFORMS.__contains__):
            for kind in types if algorithm not in TRANSFORMS else ["fp32"]:
                for layout in LAYOUTS:
                    if time.monotonic() < until:
                        how = (operation, algorithm, kind, layout)
                        runs.append(_exact(runtime, dnn, examples[layout], how))
        values = {"version_number": dnn.version, "runs": runs}
        emit("cudnn." + operation, values, None)
    speed: Values = {}
    said = None
    try:
        _speed(runtime, dnn, Shape(*sizes.get("speed", SPEED_SHAPE)), request, until, speed)
    except FAILURES as failure:
        said = str(failure)
    emit("cudnn.speed", speed, said)


def _exact(runtime: Runtime, dnn: Dnn, example: Example, how: Tuple[str, str, str, str]) -> Values:
    """Return what became of one algorithm in one type and layout."""
    operation, algorithm, kind, layout = how
    told: Values = {"algorithm": algorithm, "kind": kind, "layout": layout}
    told["stage"] = "workspace"
    try:
        convolution = Convolution(dnn, example.shape, kind, layout)
        size = convolution.workspace(operation, algorithm)
        told.update(stage="run", workspace_bytes=size)
        with runtime.scratch():
            where = [
                runtime.put(encoded(ordered(data, sizes, layout), kind))
                for data, sizes in example.operands[operation]
            ]
            result, sizes = example.results[operation]
            count = len(result) * (2 if kind == "fp16" else 4)
            where.append(runtime.allocate(count))
            runtime.fill(where[2], 0xFF, count)
            room = (runtime.allocate(max(size, 1)), size)
            convolution.run(operation, algorithm, (where[0], where[1], where[2]), room)
            runtime.synchronize()
            found = decoded(runtime.get(where[2], count), kind)
    except CallFailed as failure:
        told.update(code=failure.code, call=failure.name, text=str(failure))
        return told
    told.update(code=0, **_compared(found, ordered(result, sizes, layout)))
    return told


def _compared(found: Any, expected: List[int]) -> Dict[str, Any]:  # noqa: ANN401
    worst, wrong = 0.0, []
    for place, (one, other) in enumerate(zip(found, expected)):
        if one != other:
            wrong.append(place)
            error = abs(one - other)
            worst = max(worst, error if math.isfinite(error) else 1e9)
    told: Dict[str, Any] = {
        "compared_values": len(expected),
        "wrong_values": len(wrong),
        "worst_error": worst,
    }
    if wrong:
        first = wrong[0]
        told.update(
            first_wrong=first, first_found=repr(found[first]), first_expected=expected[first]
        )
    return told


def _speed(
    runtime: Runtime, dnn: Dnn, shape: Shape, request: Values, until: float, values: Values
) -> None:
    """Time FP16 with channels last on random numbers, and look at some of the results."""
    count_x = shape.n * shape.c * shape.h * shape.w
    count_w, count_y = shape.k * shape.c * 9, shape.n * shape.k * shape.h * shape.w
    block = Normals(17, min(BLOCK, count_x + 1)).block("fp16")
    other = block[2 * (len(block) // 6) :] + block[: 2 * (len(block) // 6)]
    convolution = Convolution(dnn, shape, "fp16", "nhwc")
    algorithm = "implicit_precomp_gemm"
    size = convolution.workspace("forward", algorithm)
    if size > ROOM_BYTES:
        algorithm = "implicit_gemm"
        size = convolution.workspace("forward", algorithm)
    watch = Stopwatch(runtime)
    with runtime.scratch():
        x, w = runtime.repeated(block, 2 * count_x), runtime.repeated(other, 2 * count_w)
        y = runtime.allocate(2 * count_y)
        runtime.fill(y, 0xFF, 2 * count_y)
        room = (runtime.allocate(max(size, 1)), size)

        def run() -> None:
            convolution.run("forward", algorithm, (x, w, y), room)

        run()
        runtime.synchronize()
        looked = min(2 * count_y, 16 << 20)
        before = runtime.get(y, looked)
        timed_s = max(0.05, min(float(request["timed_s"]), (until - time.monotonic()) / 3))
        seconds = sample(watch, run, timed_s, until)
        values.update(rates(seconds, shape.operations / 1e12, "tflops"))
        if values.get("tflops_median"):
            values["images_per_s"] = values["tflops_median"] * 1e12 / shape.operations * shape.n
        values.update(
            algorithm=algorithm,
            shape=list(shape),
            timed_s=timed_s,
            repeated_bytes=looked,
            repeats_differ=before != runtime.get(y, looked),
            worst_error_sigma=_error(runtime, shape, (block, other), y),
        )


def _error(runtime: Runtime, shape: Shape, blocks: Tuple[bytes, bytes], y: int) -> float:
    """Return the largest error of some entries, in standard deviations of an entry."""
    image, weights = (decode("fp16", block) for block in blocks)
    numbers, count, worst = random.Random(19), len(image), 0.0
    spread = sum(one * one for one in image) / count * math.sqrt(9 * shape.c)
    for _ in range(SAMPLED):
        n, p, q, k = (numbers.randrange(one) for one in (shape.n, shape.h, shape.w, shape.k))
        expected = 0.0
        for r in range(max(0, 1 - p), min(3, shape.h + 1 - p)):
            for s in range(max(0, 1 - q), min(3, shape.w + 1 - q)):
                at = ((n * shape.h + p + r - 1) * shape.w + q + s - 1) * shape.c
                to = ((k * 3 + r) * 3 + s) * shape.c
                for c in range(shape.c):
                    expected += image[(at + c) % count] * weights[(to + c) % count]
        place = ((n * shape.h + p) * shape.w + q) * shape.k + k
        (found,) = decode("fp16", runtime.get(y + 2 * place, 2))
        error = abs(found - expected) / spread
        worst = max(worst, error if math.isfinite(error) else 1e9)
    return worst
