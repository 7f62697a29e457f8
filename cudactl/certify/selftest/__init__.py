"""Does the judge still see what it must? Every known fault, injected into recorded evidence.

The fixtures are files beside this one, made by tools/selftest.py from the tests' own: healthy
evidence with its policy, and for each fault the changes (RFC 6902: add, remove, replace) that
inject it, with the status and the words that its check must answer.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from cudactl.judge import JudgeError, judge

GREEN = ("PASS", "SKIP")
NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
Statuses = dict[tuple[str, str | None], tuple[str, str]]


@dataclass(frozen=True)
class Fault:
    """One injected fault and whether it was seen."""

    name: str
    check: str
    detected: bool
    why: str
    """What was wrong, where it was not detected."""


@dataclass(frozen=True)
class Selftest:
    """What came of it."""

    faults: list[Fault]
    healthy: int
    """Healthy machines that were judged."""
    alarms: list[str]
    """False alarms: what was not green on a healthy machine."""

    @property
    def good(self) -> bool:
        """True when every fault was seen and nothing else; an empty test shows nothing."""
        found = all(fault.detected for fault in self.faults)
        return bool(self.faults) and self.healthy > 0 and found and not self.alarms

    def line(self) -> str:
        """Return the outcome in one line."""
        found = sum(fault.detected for fault in self.faults)
        return (
            f"{len(self.faults)} faults injected, {found} found and named rightly; "
            f"{self.healthy} healthy machines, {len(self.alarms)} false alarms"
        )

    def document(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "good": self.good,
            "injected": len(self.faults),
            "detected": sum(fault.detected for fault in self.faults),
            "healthy": self.healthy,
            "false_alarms": self.alarms,
            "faults": [
                {"name": f.name, "check": f.check, "detected": f.detected, "why": f.why}
                for f in self.faults
            ],
        }


def run_selftest() -> Selftest:
    """Judge every healthy machine and every fault."""
    kinds, faults = _fixture("healthy"), _fixture("faults")
    alarms: list[str] = []
    before: dict[str, Statuses] = {}
    kept = {kind: pickle.dumps(pair["evidence"]) for kind, pair in kinds.items()}
    for kind, pair in kinds.items():
        before[kind] = _judged(pair["evidence"], pair["policy"], pair["now"])
        alarms += [
            f"{kind}: {check}{f' [{gpu}]' if gpu else ''} is {status}: {reason}"
            for (check, gpu), (status, reason) in before[kind].items()
            if status not in GREEN
        ]
    found = []
    for fault in faults:
        # Our own bytes of a moment ago, in a tenth of the time of a deep copy.
        copied = pickle.loads(kept[fault["kind"]])  # noqa: S301
        found.append(_inject(fault, copied, kinds[fault["kind"]], before[fault["kind"]]))
    return Selftest(found, len(kinds), alarms)


def _inject(
    fault: dict[str, Any], evidence: dict[str, Any], pair: dict[str, Any], before: Statuses
) -> Fault:
    """Inject a fault into a copy of healthy evidence and judge it."""
    try:
        after = _judged(apply(evidence, fault["patch"]), pair["policy"], pair["now"])
    except JudgeError as error:
        return Fault(fault["name"], fault["check"], False, f"the evidence was refused: {error}")
    why = _missed(fault, before, after)
    return Fault(fault["name"], fault["check"], not why, why)


def _missed(fault: dict[str, Any], before: Statuses, after: Statuses) -> str:
    """Return why a fault was not found, or not named rightly; empty when it was."""
    check = fault["check"]
    answers = [answer for (name, _), answer in after.items() if name == check]
    if not any(a[0] == fault["status"] and fault["says"] in a[1] for a in answers):
        told = "; ".join(f"{status} ({reason})" for status, reason in answers)
        return f"{check} should be {fault['status']} and say {fault['says']!r}; it is {told}"
    changed = {
        name
        for (name, gpu) in {**before, **after}
        if before.get((name, gpu), ("",))[0] != after.get((name, gpu), ("",))[0]
    }
    expected = {check, *fault["also"]}
    if changed != expected:
        return f"other checks changed: {', '.join(sorted(changed ^ expected))}"
    return ""


def _judged(evidence: dict[str, Any], policy: dict[str, Any], now: float) -> Statuses:
    certificate = judge(evidence, policy, "selftest", now)
    return {(v["check"], v["gpu"]): (v["status"], v["reason"]) for v in certificate["verdicts"]}


def _fixture(name: str) -> Any:  # noqa: ANN401 - a fixture's own shape
    return json.loads((files(__package__) / f"{name}.json").read_text(encoding="utf-8"))


# --- JSON Patch ----------------------------------------------------------------------------------


def apply(document: Any, patch: Sequence[dict[str, Any]]) -> Any:  # noqa: ANN401
    """Return a document with a patch's changes applied, in place."""
    for change in patch:
        *parents, last = _path(change["path"])
        node = document
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        value = NUMBERS[change["number"]] if "number" in change else change.get("value")
        if isinstance(node, list):
            at = int(last)
            if change["op"] == "add":
                node.insert(at, value)
            elif change["op"] == "remove":
                del node[at]
            else:
                node[at] = value
        elif change["op"] == "remove":
            del node[last]
        else:
            node[last] = value
    return document


def difference(old: Any, new: Any, at: str = "") -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Return the changes that make `new` of `old`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old:
            here = f"{at}/{_quoted(key)}"
            if key not in new:
                yield {"op": "remove", "path": here}
            else:
                yield from difference(old[key], new[key], here)
        for key in new:
            if key not in old:
                yield {"op": "add", "path": f"{at}/{_quoted(key)}", **_value(new[key])}
    elif isinstance(old, list) and isinstance(new, list):
        yield from _lists(old, new, at)
    elif type(old) is not type(new) or old != new:
        yield {"op": "replace", "path": at, **_value(new)}


def _lists(old: list[Any], new: list[Any], at: str) -> Iterator[dict[str, Any]]:
    """Return the changes of a list: what lies between what both begin and end with."""
    if len(old) == len(new):
        for number, (was, now) in enumerate(zip(old, new, strict=True)):
            yield from difference(was, now, f"{at}/{number}")
        return
    shorter = min(len(old), len(new))
    head = next((n for n in range(shorter) if old[n] != new[n]), shorter)
    tail = next((n for n in range(shorter - head) if old[-1 - n] != new[-1 - n]), shorter - head)
    for _ in old[head : len(old) - tail]:
        yield {"op": "remove", "path": f"{at}/{head}"}
    for number, item in enumerate(new[head : len(new) - tail], head):
        yield {"op": "add", "path": f"{at}/{number}", **_value(item)}


def _value(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a value as a change holds it; JSON has no word for a number that is none."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        name = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        return {"number": name}
    return {"value": value}


def _path(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _quoted(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
