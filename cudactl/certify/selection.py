"""What somebody leaves out of a run: shown as skipped, with their reason, and a lower level."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from cudactl.contracts.certificate import Expectation, Policy
from cudactl.contracts.errors import UsageError
from cudactl.judge.checks import CHECKS


def select(policy: Policy, only: Sequence[str], skip: Sequence[str], reason: str | None) -> Policy:
    """Return the policy without what is left out.

    Args:
        policy: The whole.
        only: Legs or checks; everything else is left out. Empty: everything is asked.
        skip: Legs or checks that are left out.
        reason: Why, in the user's words.

    Raises:
        UsageError: CHECK-UNKNOWN, CHECK-NONE-LEFT.
    """
    if not only and not skip:
        return policy
    ran = [f"{leg}.ran" for leg in policy.legs]
    ran += [f"{leg}.ran_on_gpu" for leg in policy.device_legs]
    asked = {e.check: e for e in policy.expectations}
    for check in ran:
        asked.setdefault(check, Expectation(check=check, source="the tier"))
    for name in (*only, *skip):
        if not any(_means(name, check) for check in asked):
            raise _unknown(name, list(asked))
    kept = [
        check
        for check in asked
        if (not only or any(_means(name, check) for name in only))
        and not any(_means(name, check) for name in skip)
    ]
    # That a leg came to its end goes with what it measures.
    legs = {CHECKS[check].leg for check in kept if check not in ran}
    kept = [check for check in kept if check not in ran or CHECKS[check].leg in legs]
    kept += [check for check in ran if CHECKS[check].leg in legs and check not in kept]
    kept = [check for check in kept if not any(_means(name, check) for name in skip)]
    if not any(check not in ran for check in kept):
        raise UsageError(
            "CHECK-NONE-LEFT",
            "nothing would be measured: every check is left out",
            expected="at least one check that is asked",
            remedy="leave out less",
        )
    why = "left out by the user: " + (reason or ("not named by --only" if only else "--skip"))
    return policy.model_copy(
        update={
            "legs": [leg for leg in policy.legs if leg in legs],
            "device_legs": [leg for leg in policy.device_legs if leg in legs],
            "request": _narrowed(policy, legs),
            "expectations": [
                e if check in kept else e.model_copy(update={"skip": why, "left_out": True})
                for check, e in asked.items()
                if check not in ran or check not in kept or e in policy.expectations
            ],
        }
    )


def _means(name: str, check: str) -> bool:
    """Return True when a name, as typed, means this check: its id, or its leg's."""
    return name == check or name == CHECKS[check].leg


def _narrowed(policy: Policy, legs: set[str]) -> dict[str, object]:
    request = copy.deepcopy(policy.request)
    request["legs"] = {name: leg for name, leg in request["legs"].items() if name in legs}
    return request


def _unknown(name: str, checks: Sequence[str]) -> UsageError:
    legs = sorted({CHECKS[check].leg for check in checks})
    of_leg = sorted(c for c in checks if c.split(".")[0] == name.split(".")[0])
    return UsageError(
        "CHECK-UNKNOWN",
        f"this run asks no leg or check called {name!r}",
        expected=f"a leg ({', '.join(legs)}) or a check such as {(of_leg or sorted(checks))[0]}",
        remedy="see what a run asks: certify policy --lock LOCK",
    )
