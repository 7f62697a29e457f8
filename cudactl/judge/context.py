"""Evidence, made easy to ask: a check's measurement, its leg's outcome, a library's provenance."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

# status, measured, expected, reason
Answer = Tuple[str, str, str, str]


class JudgeError(Exception):
    """Evidence or policy is not what it should be."""


class Context:
    """One evidence document."""

    def __init__(self, evidence: Dict[str, Any]) -> None:
        if not isinstance(evidence, dict) or evidence.get("schema_version") != 1:
            raise JudgeError("this is no evidence of a version that this judge reads")
        state, legs = evidence.get("state"), evidence.get("legs")
        if not isinstance(state, dict) or not isinstance(legs, list):
            raise JudgeError("the evidence holds no state or no legs")
        for key, kind in (("os", dict), ("kernel", dict), ("module", dict), ("gpus", list)):
            if not isinstance(state.get(key), kind):
                raise JudgeError("the evidence's state holds no %s" % key)
        if not isinstance(state.get("hostname"), str):
            raise JudgeError("the evidence's state holds no hostname")
        self.state: Dict[str, Any] = state
        self.legs: Dict[str, Dict[str, Any]] = {}
        self.libraries: List[Dict[str, Any]] = []
        seen = set()
        for leg in legs:
            if not isinstance(leg, dict) or not isinstance(leg.get("leg"), str):
                raise JudgeError("the evidence holds a leg without a name")
            self.legs[leg["leg"]] = leg
            for library in leg.get("libraries") or []:
                if not isinstance(library, dict) or not isinstance(library.get("path"), str):
                    raise JudgeError("the evidence holds a library without a path")
                if library["path"] not in seen:
                    seen.add(library["path"])
                    self.libraries.append(library)

    def measurement(self, check: str) -> Optional[Dict[str, Any]]:
        """Return a check's measurement, or None when there is none."""
        for leg in self.legs.values():
            for measured in leg.get("measurements") or []:
                if isinstance(measured, dict) and measured.get("check") == check:
                    return measured
        return None

    def library(self, path: str) -> Optional[Dict[str, Any]]:
        """Return what is known of a loaded file."""
        return next((lib for lib in self.libraries if lib["path"] == path), None)

    def unmeasured(self, leg: str, check: str) -> Answer:
        """Return the answer for a check whose measurement is missing."""
        result = self.legs.get(leg)
        if result is None:
            return "ERROR", "", "", "the leg %s did not run" % leg
        outcome = result.get("outcome")
        if outcome in ("crashed", "timeout", "stuck"):
            why = {"crashed": "crashed", "timeout": "did not end", "stuck": "hangs in the kernel"}
            return (
                "FAIL",
                "",
                "",
                "the leg %s %s: %s"
                % (
                    leg,
                    why[str(outcome)],
                    result.get("detail") or "no detail",
                ),
            )
        return "ERROR", "", "", "the leg %s measured no %s" % (leg, check)


def dotted(number: int) -> str:
    """Return a version number as people write it: 91300 → 9.13.0, 8907 → 8.9.7, 101303 → 10.13.3.

    Sources: cudnn_version.h and NvInferVersion.h: up to major 8 it is major × 1000, from 9 on
    (TensorRT: 10) major × 10000.
    """
    if number >= 90000:
        return "%d.%d.%d" % (number // 10000, number // 100 % 100, number % 100)
    return "%d.%d.%d" % (number // 1000, number // 100 % 10, number % 100)


def cuda_version(number: int) -> str:
    """Return a CUDA version number as people write it: 13000 → 13.0 (major × 1000 + minor × 10)."""
    return "%d.%d" % (number // 1000, number % 1000 // 10)
