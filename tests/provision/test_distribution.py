"""What the distribution brings is in the plan, by name and version, as the host's apt tells it."""

from __future__ import annotations

import pytest

from cudactl.contracts.lock import ExternalDependency, StackLock
from cudactl.contracts.plan import Plan
from cudactl.contracts.state import AptAnswer, HostState
from cudactl.provision.plan import make_plan
from cudactl.provision.steps.distribution import answer_of, missing, with_answer


def needing(lock: StackLock, *names: str) -> StackLock:
    external = [ExternalDependency(name=n, needed_by=["cuda-toolkit-13-0"]) for n in names]
    return lock.model_copy(update={"external": external})


def planned(lock: StackLock, state: HostState, answer: AptAnswer | None) -> Plan:
    return make_plan("h1", lock, state.model_copy(update={"apt_answer": answer}), now=2000.0)


def outside(plan: Plan, lock: StackLock) -> dict[str, str | None]:
    locked = {p.name for p in lock.packages}
    return {
        c.name: c.after
        for s in plan.steps
        for c in s.changes
        if c.kind == "package" and c.name not in locked
    }


def test_every_package_that_comes_along_is_named(apt_lock: StackLock, state: HostState) -> None:
    wanted = needing(apt_lock, "libx11-6")
    brings = {"libx11-6": "1.8", "libxcb1": "1.15"}
    plan = planned(wanted, state, AptAnswer(asked=["libx11-6"], brings=brings))
    assert outside(plan, wanted) == brings


def test_what_the_host_has_is_not_asked_for(apt_lock: StackLock, state: HostState) -> None:
    there = state.model_copy(update={"packages": {**state.packages, "libx11-6": "1.8"}})
    assert missing(needing(apt_lock, "libx11-6", "dkms"), there) == ["dkms"]


def test_a_host_with_every_locked_package_is_asked_nothing(
    apt_lock: StackLock, state: HostState
) -> None:
    # The need is met by a package of another name, which dpkg knows and names alone do not show.
    there = {**state.packages, **{p.name: p.version for p in apt_lock.packages}}
    assert not missing(
        needing(apt_lock, "awk"), state.model_copy(update={"packages": {**there, "mawk": "1.3"}})
    )


@pytest.mark.parametrize(
    "answer",
    [
        None,
        AptAnswer(asked=["dkms"], error="Unable to locate package dkms"),
        AptAnswer(asked=["another"], brings={"another": "1"}),
    ],
)
def test_without_an_answer_the_name_alone_is_told(
    apt_lock: StackLock, state: HostState, answer: AptAnswer | None
) -> None:
    wanted = needing(apt_lock, "dkms")
    plan = planned(wanted, state, answer)
    assert outside(plan, wanted) == {"dkms": "the distribution's"}
    said = [f for f in plan.findings if f.code == "APT-LISTS-OLD"]
    assert bool(said) == (answer is not None and answer.error is not None)
    assert not plan.refusals


def test_an_archive_that_would_remove_something_is_refused(
    apt_lock: StackLock, state: HostState
) -> None:
    answer = AptAnswer(asked=["dkms"], brings={"dkms": "3"}, removes=["my-tool"])
    (refusal,) = planned(needing(apt_lock, "dkms"), state, answer).refusals
    assert refusal.code == "PREFLIGHT-APT-REMOVES"
    assert "my-tool" in refusal.found


def test_an_unreadable_answer_is_no_answer(state: HostState) -> None:
    assert answer_of("") is None
    assert answer_of("no json") is None
    told = with_answer(state, None, ["dkms"])
    assert told.apt_answer is not None
    assert told.apt_answer.error
