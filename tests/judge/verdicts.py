"""What one check says of a healthy machine with something changed: its whole verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cudactl.judge import judge
from tests.judge.healthy import NOW, fresh, value

Document = dict[str, Any]


class Said(NamedTuple):
    """A verdict as a reader sees it."""

    status: str
    measured: str
    expected: str
    reason: str


def said(
    check: str,
    kind: str = "gpu",
    *,
    change: Callable[[Document], object] | None = None,
    policy: Callable[[Document], object] | None = None,
    expect: Document | None = None,
    **values: object,
) -> Said:
    """Judge a healthy machine with some of a check's measured values changed.

    Args:
        check: Whose verdict is returned; the first GPU's where it is asked of each.
        kind: Healthy evidence, see `healthy.KINDS`.
        change: Changes the evidence in another way.
        policy: Changes the policy.
        expect: Changes what the policy expects of the check.
        values: Measured values that take the healthy ones' place.
    """
    evidence, document = fresh(kind)
    if values:
        value(evidence, check).update(values)
    if change is not None:
        change(evidence)
    if policy is not None:
        policy(document)
    if expect is not None:
        wanted = next(e for e in document["expectations"] if e["check"] == check)
        wanted["expect"] = {**wanted["expect"], **expect}
    found = judge(evidence, document, "h1", NOW)["verdicts"]
    one = next(v for v in found if v["check"] == check)
    return Said(one["status"], one["measured"], one["expected"], one["reason"])
