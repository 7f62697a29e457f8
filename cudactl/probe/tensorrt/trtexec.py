"""The classifier through trtexec, NVIDIA's own program, where there are no Python bindings.

Weaker evidence: the model goes through the ONNX parser, and it is trtexec that reads the output
back and takes the times. Its flags change between 8.6, 10 and 11, so `--help` is asked first.
"""

from __future__ import annotations

import array
import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from typing import Any, Dict, List

from . import classifier, measuring, onnx

Values = Dict[str, Any]
MEDIAN = re.compile(r"Latency: .*?median = ([0-9.eE+-]+) ms")
P99 = re.compile(r"Latency: .*?percentile\(99%\) = ([0-9.eE+-]+) ms")
VERSION = re.compile(r"TensorRT(?:\.trtexec)? \[TensorRT v(\d+)\]")


class TrtexecError(Exception):
    """trtexec did not do what it was told."""


class Trtexec:
    """One trtexec, with the time it may take."""

    def __init__(self, path: str, deadline_s: float) -> None:
        self.path = path
        self.until = time.monotonic() + deadline_s
        self.help = self._run(["--help"], any_status=True)
        self.folder = tempfile.mkdtemp(prefix="trtexec-")  # below the leg's own, which is removed

    def _run(self, arguments: List[str], any_status: bool = False) -> str:
        left = max(1.0, self.until - time.monotonic())
        try:
            done = subprocess.run(
                [self.path, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=left,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TrtexecError(str(error)) from error
        said = done.stdout.decode("utf-8", errors="replace")
        if done.returncode != 0 and not any_status:
            errors = [line.strip() for line in said.splitlines() if "[E]" in line]
            last = "; ".join(errors[-2:]) or said.strip()[-300:]
            raise TrtexecError("trtexec ended with status %d: %s" % (done.returncode, last))
        return said

    def knows(self, flag: str) -> bool:
        """Return whether --help names a flag."""
        return re.search(r"(^|\s)--%s\b" % re.escape(flag), self.help) is not None

    def build(self, network: classifier.Network, precision: str, name: str) -> str:
        """Build and save an engine; return its path."""
        model = os.path.join(self.folder, name + ".onnx")
        plan = os.path.join(self.folder, name + ".plan")
        with open(model, "wb") as stream:
            stream.write(onnx.model(network, half=precision == "fp16"))
        flags = ["--onnx=" + model, "--saveEngine=" + plan]
        flags += [f for f in ("--skipInference", "--buildOnly") if self.knows(f[2:])][:1]
        if self.knows("stronglyTyped"):
            flags.append("--stronglyTyped")
        elif precision == "fp16":
            flags.append("--fp16")
        if self.knows("noTF32"):
            flags.append("--noTF32")
        if self.knows("builderOptimizationLevel"):
            flags.append("--builderOptimizationLevel=1")
        self._run(flags)
        if not os.path.exists(plan):
            raise TrtexecError("trtexec saved no engine")
        return plan

    def answer(self, plan: str, image: "array.array[float]") -> List[float]:
        """Return what comes out for an image."""
        given, taken = (os.path.join(self.folder, name) for name in ("image.bin", "output.json"))
        with open(given, "wb") as stream:
            stream.write(image.tobytes())
        if os.path.exists(taken):
            os.unlink(taken)
        few = ["--iterations=1", "--warmUp=0", "--duration=0"]
        flags = ["--loadEngine=" + plan, "--loadInputs=image:" + given, "--exportOutput=" + taken]
        self._run([*flags, *few])
        try:
            with open(taken, encoding="utf-8") as text:
                (output,) = [one for one in json.load(text) if one["name"] == "classes"]
            return [float(v) for v in output["values"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrtexecError("trtexec wrote no output that can be read: %s" % error) from error

    def latency(self, plan: str, seconds: float) -> Values:
        """Return median and 99th percentile by trtexec's own clock, milliseconds."""
        flags = ["--loadEngine=" + plan, "--duration=%d" % max(1, round(seconds))]
        said = self._run([*flags, "--iterations=%d" % measuring.LEAST_SAMPLES])
        median, p99 = MEDIAN.search(said), P99.search(said)
        if median is None or p99 is None:
            raise TrtexecError("trtexec told no latency")
        return {
            "median_ms": float(median.group(1)),
            "p99_ms": float(p99.group(1)),
            "samples": measuring.LEAST_SAMPLES,
        }

    def version(self) -> str:
        """Return the version as its banner gives it: "[TensorRT v101303]"."""
        found = VERSION.search(self.help)
        return found.group(1) if found else ""


def exactness(tool: Trtexec, precision: str) -> Values:
    """Return what the bindings' `measuring.exactness` returns, by trtexec."""
    network, image = classifier.exact(), classifier.exact_image()
    begun = time.monotonic()
    plan = tool.build(network, precision, "exact-" + precision)
    took = time.monotonic() - begun
    with open(plan, "rb") as stream:
        content = stream.read()
    first = tool.answer(plan, image)
    again = tool.answer(plan, image)
    data = array.array("f", first).tobytes()
    values = measuring.compared(data, classifier.exact_answer())
    values.update(
        build_s=took,
        plan_bytes=len(content),
        plan_sha256=hashlib.sha256(content).hexdigest(),
        input_shape=list(classifier.INPUT_SHAPE),
        output_shape=[1, len(first)],
        repeats=1,
        repeats_equal=int(again == first),
    )
    return values
