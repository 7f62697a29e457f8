#!/usr/bin/env python3
"""CUDACTL-SIMULATED-LIBRARY: a `trtexec` that computes the classifier's model on the processor.

It knows the flags that 8.6, 10 or 11 know and refuses all others, as the real one does. Keys and
faults stand in simulated-gpu.conf beside it: tensorrt.version; fault.trtexec.build, .wrong,
.no_output, .no_latency, .run.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorrt import _CONF, _MAJOR, __version__  # type: ignore[import-not-found]
from tensorrt.computing import computed  # type: ignore[import-not-found]

COMMON = "onnx saveEngine loadEngine loadInputs exportOutput iterations warmUp duration noTF32"
FLAGS = {
    8: COMMON + " buildOnly skipInference explicitBatch workspace fp16 int8 best"
    " builderOptimizationLevel",
    10: COMMON + " skipInference stronglyTyped fp16 int8 best builderOptimizationLevel",
    11: COMMON + " skipInference stronglyTyped cpuOnly builderOptimizationLevel",
}
FLOAT16 = 10


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Return a protocol-buffers message's fields: numbers, and bytes by length."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = varint()
        yield key >> 3, data[at : at + size]
        at += size


def plan_of(model: bytes) -> dict[str, Any]:
    """Return the steps of a model: one chain, each node reading from the one before."""
    graph = next(value for number, value in fields(model) if number == 7)
    weights: dict[str, list[float]] = {}
    half = False
    for number, value in fields(graph):
        if number != 5:
            continue
        tensor = dict(fields(value))
        code, size = ("e", 2) if tensor[2] == FLOAT16 else ("f", 4)
        half |= tensor[2] == FLOAT16
        raw, name = tensor[9], tensor[8].decode()
        if name != "shape":
            weights[name] = list(struct.unpack(f"<{len(raw) // size}{code}", raw))
    kind = int(half)
    steps: list[dict[str, Any]] = [{"op": "input", "inputs": [], "kind": 0}]
    for number, value in fields(graph):
        if number != 1:
            continue
        node = [(n, v.decode() if n in (1, 2, 4) else v) for n, v in fields(value)]
        named = {n: v for n, v in node if n == 4}[4]
        inputs = [v for n, v in node if n == 1]
        last = len(steps) - 1
        ints = {
            dict(fields(a))[1].decode(): [v for n, v in fields(a) if n == 8]
            for n, a in node
            if n == 5
        }
        if named == "Conv":
            steps.append({"op": "convolution", "inputs": [last], "kind": kind, "maps": 8})
            steps[-1].update(numbers=weights[inputs[1]], stride_nd=ints["strides"])
        elif named == "MaxPool":
            window = ints["kernel_shape"]
            steps.append({"op": "pool", "inputs": [last], "kind": kind, "window": window})
        elif named == "MatMul":
            numbers = weights[inputs[1]]
            steps.append({"op": "constant", "inputs": [], "kind": kind, "numbers": numbers})
            steps.append({"op": "matmul", "inputs": [last, last + 1], "kind": kind})
        else:
            op = "relu" if named == "Relu" else "cast"
            out = 0 if inputs == ["out"] else kind
            steps.append({"op": op, "inputs": [last], "kind": out})
    return {"steps": steps, "out": len(steps) - 1, "half": False}


def stop(text: str) -> None:
    """End as trtexec does."""
    print(f"[11/24/2026-12:00:00] [E] {text}")
    print("&&&& FAILED TensorRT.trtexec")
    sys.exit(1)


def main() -> None:
    """Do what the flags say."""
    major, minor, patch = (int(part) for part in __version__.split(".")[:3])
    number = f"{major}{minor:02}{patch:02}" if major >= 10 else f"{major}{minor}{patch:02}"
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] # {' '.join(sys.argv)}")
    known = FLAGS[_MAJOR].split()
    if sys.argv[1:] == ["--help"]:
        print("=== Model Options ===\n" + "\n".join(f"  --{name}[=…]   …" for name in known))
        return
    asked: dict[str, str] = {}
    for argument in sys.argv[1:]:
        name, _, value = argument.removeprefix("--").partition("=")
        if name not in known:
            stop(f"Unknown option: {argument}")
        asked[name] = value

    def fault(name: str) -> bool:
        return str(_CONF.get("fault.trtexec." + name, "0")) != "0"

    if "onnx" in asked:
        if fault("build"):
            stop("Engine could not be created from network")
        plan = plan_of(Path(asked["onnx"]).read_bytes())
        Path(asked["saveEngine"]).write_text(json.dumps(plan))
        return
    if fault("run"):
        stop("Cuda failure: an illegal memory access was encountered")
    plan = json.loads(Path(asked["loadEngine"]).read_text())
    if "loadInputs" in asked:
        data = Path(asked["loadInputs"].partition(":")[2]).read_bytes()
        out = computed(plan, list(struct.unpack(f"<{len(data) // 4}f", data)))
        if fault("wrong"):
            out[500] += 1
        if not fault("no_output"):
            output = [{"name": "classes", "dimensions": "1x1000", "values": out}]
            Path(asked["exportOutput"]).write_text(json.dumps(output))
    if not fault("no_latency"):
        times = "min = 0.05 ms, max = 0.09 ms, mean = 0.06 ms, median = 0.061 ms"
        print(
            f"[11/24/2026-12:00:00] [I] Latency: {times}, percentile(90%) = 0.07 ms, "
            "percentile(95%) = 0.072 ms, percentile(99%) = 0.08 ms"
        )


if __name__ == "__main__":
    main()
