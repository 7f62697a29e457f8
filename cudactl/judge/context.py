"""Evidence, made easy to ask: a check's measurement, its leg's outcome, a library's provenance.

Evidence comes from another machine, so nothing in it is taken for granted: the wrong shape is
refused here, once, with the place named.
"""

from __future__ import annotations

import math
from copy import copy
from typing import Any, Dict, List, Optional, Tuple

from .errors import JudgeError

# status, measured, expected, reason
Answer = Tuple[str, str, str, str]
OUTCOMES = ("ran", "timeout", "crashed", "stuck", "no_output", "deferred")
MAX_ENTRIES = 5000


class Unmeasured(Exception):
    """A value that a check needs is not there, or is not of its kind."""


def need(document: Any, key: str, kind: Any, where: str) -> Any:  # noqa: ANN401
    """Return `document[key]`, which must be of `kind`; a bool is never a number here.

    Raises:
        JudgeError: naming the place.
    """
    value = document.get(key) if isinstance(document, dict) else None
    numeric = kind in (int, float, (int, float))
    if not isinstance(value, kind) or (numeric and isinstance(value, bool)):
        raise JudgeError("the evidence's %s.%s is missing or of the wrong type" % (where, key))
    if isinstance(value, float) and not math.isfinite(value):
        raise JudgeError("the evidence's %s.%s is no finite number" % (where, key))
    if isinstance(value, (list, dict)) and len(value) > MAX_ENTRIES:
        raise JudgeError("the evidence's %s.%s has %d entries" % (where, key, len(value)))
    return value


class Context:
    """One evidence document."""

    def __init__(self, evidence: Dict[str, Any]) -> None:
        if not isinstance(evidence, dict) or evidence.get("schema_version") != 1:
            raise JudgeError("this is no evidence of a version that this judge reads")
        self.taken_at = float(need(evidence, "taken_at", (int, float), "evidence"))
        self.state: Dict[str, Any] = need(evidence, "state", dict, "evidence")
        self._check_state()
        self.gpu: Optional[Dict[str, Any]] = None
        self.reference: Optional[Dict[str, Any]] = None
        self.tested = self._tested(evidence)
        self.legs: Dict[str, Dict[str, Any]] = {}
        self._parts: Dict[Tuple[str, Optional[str]], Dict[str, Any]] = {}
        self.libraries: List[Dict[str, Any]] = []
        self._by_path: Dict[str, Dict[str, Any]] = {}
        self._measured: Dict[Tuple[str, str, Optional[str]], Dict[str, Any]] = {}
        for leg in need(evidence, "legs", list, "evidence"):
            self._add(leg)

    def _check_state(self) -> None:
        state = self.state
        need(state, "hostname", str, "state")
        system = need(state, "os", dict, "state")
        need(system, "id", str, "state.os")
        need(system, "version_id", str, "state.os")
        need(need(state, "kernel", dict, "state"), "running", str, "state.kernel")
        need(state, "module", dict, "state")
        need(state, "packages", dict, "state")
        for gpu in need(state, "gpus", list, "state"):
            need(gpu, "address", str, "state.gpus")
            need(gpu, "device", str, "state.gpus")
        for stack in need(state, "stacks", list, "state"):
            need(stack, "lock", str, "state.stacks")
            need(stack, "wheels", dict, "state.stacks")

    @staticmethod
    def _tested(evidence: Dict[str, Any]) -> List[Dict[str, Any]]:
        """Return the GPUs that the device parts were asked of."""
        if evidence.get("gpus") is None:
            return []
        gpus: List[Dict[str, Any]] = need(evidence, "gpus", list, "evidence")
        for gpu in gpus:
            need(gpu, "id", str, "gpus")
            need(gpu, "device", str, "gpus")
        if len({gpu["id"] for gpu in gpus}) != len(gpus):
            raise JudgeError("the evidence holds a GPU twice")
        return gpus

    def at(self, gpu: Dict[str, Any], references: Dict[str, Any]) -> "Context":
        """Return this evidence as one tested GPU sees it: its measurements and its reference."""
        view = copy(self)
        view.gpu = gpu
        view.reference = references.get(gpu["device"])
        return view

    def _add(self, leg: Any) -> None:  # noqa: ANN401 - it may be anything
        name = need(leg, "leg", str, "legs")
        gpu = leg.get("gpu")
        if gpu is not None and gpu not in [one["id"] for one in self.tested]:
            raise JudgeError("the evidence's leg %s ran on a GPU that was not tested" % name)
        if (name, gpu) in self._parts:
            raise JudgeError("the evidence holds the leg %s twice" % name)
        if need(leg, "outcome", str, name) not in OUTCOMES:
            raise JudgeError("the evidence's leg %s ended in an unknown way" % name)
        self._parts[name, gpu] = leg
        if gpu is None:
            self.legs[name] = leg
        for measured in need(leg, "measurements", list, name):
            check = need(measured, "check", str, name)
            need(measured, "values", dict, check)
            if (name, check, gpu) in self._measured:
                raise JudgeError("the evidence holds %s twice" % check)
            self._measured[name, check, gpu] = measured
        for library in need(leg, "libraries", list, name):
            path = need(library, "path", str, name + ".libraries")
            if not isinstance(library.get("simulated"), bool):
                raise JudgeError("the evidence does not say whether %s is simulated" % path)
            known = self._by_path.setdefault(path, library)
            if known != library:
                raise JudgeError("the evidence says two different things of %s" % path)
            if known is library:
                self.libraries.append(library)

    def measurement(self, leg: str, check: str) -> Optional[Dict[str, Any]]:
        """Return a check's measurement by its own leg, or None when there is none.

        On a view of one GPU it is that GPU's; otherwise the machine's.
        """
        return self._measured.get((leg, check, self._part))

    def part(self, leg: str) -> Optional[Dict[str, Any]]:
        """Return how a leg went: its part on this GPU, or the machine's."""
        return self._parts.get((leg, self._part))

    @property
    def _part(self) -> Optional[str]:
        return None if self.gpu is None else str(self.gpu["id"])

    def library(self, path: str) -> Optional[Dict[str, Any]]:
        """Return what is known of a loaded file."""
        return self._by_path.get(path)

    @property
    def gpus(self) -> List[Dict[str, Any]]:
        """The NVIDIA GPUs on the PCI bus."""
        return list(self.state["gpus"])

    def why_unmeasured(self, leg: str, check: str) -> str:
        """Return why a measurement is missing."""
        result = self.part(leg)
        if result is None:
            return "the leg %s did not run" % leg
        if result["outcome"] == "ran":
            return "the leg %s measured no %s" % (leg, check)
        return "not measured: the leg %s %s" % (leg, ENDED[result["outcome"]])


ENDED = {
    "crashed": "crashed",
    "timeout": "did not end in time",
    "stuck": "hangs in the kernel and cannot be killed",
    "no_output": "said nothing",
    "deferred": "was not started: somebody uses the GPU",
}


def integer(values: Dict[str, Any], key: str) -> int:
    """Return a measured whole number; a bool or a float is none."""
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unmeasured("%s was not measured" % key)
    return value


def number(values: Dict[str, Any], key: str) -> float:
    """Return a measured finite number."""
    value = values.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise Unmeasured("%s was not measured" % key)
    return float(value)


def text(values: Dict[str, Any], key: str) -> str:
    """Return a measured text that is not empty."""
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise Unmeasured("%s was not measured" % key)
    return value


def entries(values: Dict[str, Any], key: str) -> List[Any]:
    """Return a measured list."""
    value = values.get(key)
    if not isinstance(value, list):
        raise Unmeasured("%s was not measured" % key)
    return value


def dotted(version: int) -> str:
    """Return a version number as people write it: 91300 → 9.13.0, 8907 → 8.9.7, 101303 → 10.13.3.

    Sources: cudnn_version.h and NvInferVersion.h: up to major 8 it is major × 1000, from 9 on
    (TensorRT: 10, cuBLAS: always) major × 10000.
    """
    if version >= 90000:
        return "%d.%d.%d" % (version // 10000, version // 100 % 100, version % 100)
    return "%d.%d.%d" % (version // 1000, version // 100 % 10, version % 100)


def cuda_version(version: int) -> str:
    """Return a CUDA version number as people write it: 13000 → 13.0 (major × 1000 + minor × 10)."""
    return "%d.%d" % (version // 1000, version % 1000 // 10)
