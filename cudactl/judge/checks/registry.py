"""How a check is declared, and how it is asked: what is missing is an error, never a pass."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Tuple

from ..context import Answer, Context, Unmeasured

Values = Dict[str, Any]
Decide = Callable[[Context, Values, Values], Answer]


class Check(NamedTuple):
    """A declared check."""

    id: str
    leg: str
    title: str
    needs: Tuple[str, ...]
    decide: Decide
    judges_error: bool
    per_gpu: bool
    level: str


CHECKS: Dict[str, Check] = {}
# The state is taken in the same run as the legs; what it shows needs no process of its own.
STATE = "stack"


def check(
    id: str,
    leg: str,
    title: str,
    needs: Tuple[str, ...] = (),
    judges_error: bool = False,
    per_gpu: bool = False,
    level: str = "linkage",
) -> Callable[[Decide], Decide]:
    """Declare a check.

    Args:
        id: Stable id, "<leg>.<what>".
        leg: Leg that measures it; "stack" for what the machine's state shows.
        title: What holds when it passes, one line.
        needs: Measured keys without which nothing can be said.
        judges_error: The check reads the measurement's error itself (key "error"); otherwise any
            error is a failure.
        per_gpu: Asked of every tested GPU by itself; `context.gpu` and `context.reference` are set.
        level: What a pass shows: "linkage", "execution" or "performance".
    """

    def declare(decide: Decide) -> Decide:
        if id in CHECKS:
            raise ValueError("%s is declared twice" % id)
        CHECKS[id] = Check(id, leg, title, needs, decide, judges_error, per_gpu, level)
        return decide

    return declare


def passed(measured: str, expected: str, reason: str) -> Answer:
    """Return a pass."""
    return "PASS", measured, expected, reason


def failed(measured: str, expected: str, reason: str) -> Answer:
    """Return a failure."""
    return "FAIL", measured, expected, reason


def no_reference(measured: str, reason: str) -> Answer:
    """Return that something was measured, and nothing is known to hold it against."""
    return "NO_REFERENCE", measured, "", reason


def unmeasured(reason: str, expected: str = "") -> Answer:
    """Return that nothing can be said."""
    return "ERROR", "", expected, reason


def ask(declared: Check, context: Context, expect: Values) -> Answer:
    """Return a check's answer for one evidence document."""
    values = context.state
    if declared.leg != STATE and declared.needs:
        measured = context.measurement(declared.leg, declared.id)
        if measured is None:
            return unmeasured(context.why_unmeasured(declared.leg, declared.id))
        if measured.get("error") and not declared.judges_error:
            # The lock promises that this works: that it does not is a finding about the host.
            return failed("", str(expect.get("version", "")), str(measured["error"]))
        values = dict(measured["values"], error=measured.get("error"))
    missing = [key for key in declared.needs if values.get(key) is None]
    if missing:
        return unmeasured("%s was not measured" % ", ".join(missing))
    try:
        return declared.decide(context, values, expect)
    except Unmeasured as error:
        return unmeasured(str(error))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # A value of the wrong shape is a value that could not be measured.
        return unmeasured("the values cannot be read (%s: %s)" % (type(error).__name__, error))
