"""Which hosts are taken next, and what is said where none is."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.contracts.rollout import (
    JournalRecord,
    RolloutHost,
    RolloutOptions,
    RolloutRequest,
    RolloutState,
)
from cudactl.workflow.rollout.deciding import Decision, allowed_down, decide
from cudactl.workflow.rollout.deriving import derive


def request(count: int = 4, **options: Any) -> RolloutRequest:
    racks = options.pop("racks", ["all"] * count)
    return RolloutRequest(
        id="20260101-0000-test",
        created=0,
        who="w",
        controller="c",
        inventories=[],
        options=RolloutOptions(**{"canary": 0, **options}),
        hosts=[RolloutHost(name=f"n{i}", lock="l", groups=[racks[i]]) for i in range(count)],
        locks={},
    )


def after(asked: RolloutRequest, *events: tuple[str, str | None, dict[str, Any]]) -> RolloutState:
    told = [("opened", None, {}), *events]
    return derive(
        asked,
        [
            JournalRecord(seq=i, at=float(i), event=event, host=host, **values)
            for i, (event, host, values) in enumerate(told, 1)
        ],
    )


def done(host: str, outcome: str, **values: Any) -> tuple[str, str, dict[str, Any]]:
    return ("done", host, {"outcome": outcome, **values})


def next_of(asked: RolloutRequest, *events: Any, idle: tuple[str, ...] = ()) -> Decision:
    return decide(asked, after(asked, *events), now=100.0, idle=idle)


@pytest.mark.parametrize(
    ("wanted", "size", "allowed"),
    [("1", 50, 1), ("7", 3, 7), ("5%", 100, 5), ("5%", 39, 1), ("1%", 3, 1), ("100%", 3, 3)],
)
def test_a_share_is_rounded_down_and_at_least_one(wanted: str, size: int, allowed: int) -> None:
    assert allowed_down(wanted, size) == allowed


def test_as_many_as_the_budget_allows_are_taken() -> None:
    assert next_of(request(max_down="2")).take == ("n0", "n1")


def test_one_host_that_ends_makes_room_at_once() -> None:
    asked = request(max_down="2")
    taken = [("taken", "n0", {}), ("taken", "n1", {}), done("n1", "certified", down=False)]
    assert next_of(asked, *taken).take == ("n2",)


def test_a_host_that_was_down_before_counts() -> None:
    asked = request(max_down="1")
    assert next_of(asked, done("n3", "skipped", down=True)).hold is not None
    assert next_of(asked, ("surveyed", "n2", {"down": True})).take == ("n2",)


def test_a_host_that_is_down_already_costs_nothing_and_comes_first() -> None:
    asked = request(max_down="2")
    found = [("surveyed", "n3", {"down": True}), ("surveyed", "n2", {"down": True})]
    assert next_of(asked, *found).take == ("n2", "n3")


def test_idle_hosts_come_before_those_that_somebody_uses() -> None:
    assert next_of(request(max_down="2"), idle=("n3", "n1")).take == ("n1", "n3")


def test_each_group_has_its_own_budget() -> None:
    asked = request(max_down="1", racks=["a", "a", "b", "b"])
    assert next_of(asked).take == ("n0", "n2")
    assert next_of(asked, ("taken", "n0", {})).take == ("n2",)


def test_no_more_than_the_forks_run_at_once() -> None:
    assert next_of(request(max_down="100%", forks=3)).take == ("n0", "n1", "n2")


def test_nobody_is_taken_beside_a_canary() -> None:
    asked = request(canary=1, max_down="3")
    assert next_of(asked).take == ("n0",)
    assert next_of(asked, ("taken", "n0", {})).take == ()
    certified = [("taken", "n0", {}), done("n0", "certified", down=False)]
    assert next_of(asked, *certified).take == ("n1", "n2", "n3")


def test_named_canaries_come_first_and_all_of_them_count() -> None:
    asked = request(canaries=["n2", "n3"], max_down="1")
    assert next_of(asked).take == ("n2",)
    one = [("taken", "n2", {}), done("n2", "certified", down=False)]
    assert next_of(asked, *one).take == ("n3",)


def test_a_canary_that_was_left_alone_is_replaced_where_a_number_was_asked_for() -> None:
    skipped = done("n0", "skipped", code="HOST-REFUSED", down=False)
    assert next_of(request(canary=1), skipped).take == ("n1",)
    held = next_of(request(canaries=["n0"]), skipped).hold
    assert held is not None
    assert held.code == "ROLLOUT-CANARY"


def test_a_canary_that_failed_holds_the_rollout_even_where_it_goes_on_after_failures() -> None:
    asked = request(canary=1, on_failure="continue", max_down="3")
    failed = [("taken", "n0", {}), done("n0", "failed", code="X-BAD", down=True)]
    held = next_of(asked, *failed).hold
    assert held is not None
    assert held.code == "ROLLOUT-CANARY"
    assert "n0 (X-BAD)" in held.text
    assert "--retry" in held.remedy


def test_the_first_failure_holds_and_says_who_and_what_to_do() -> None:
    asked = request(max_down="2")
    held = next_of(asked, ("taken", "n0", {}), done("n0", "failed", code="X-BAD", down=True)).hold
    assert held is not None
    assert (held.code, "n0 (X-BAD)" in held.text) == ("ROLLOUT-FAILURES", True)
    assert "rollout resume 20260101-0000-test --retry" in held.remedy


def test_failures_are_borne_up_to_the_limit() -> None:
    asked = request(max_down="3", max_failures=2)
    one = [("taken", "n0", {}), done("n0", "failed", down=True)]
    assert next_of(asked, *one).take == ("n1", "n2")
    two = [*one, ("taken", "n1", {}), done("n1", "rolled-back", down=False)]
    assert next_of(asked, *two).hold is not None


def test_failed_hosts_use_up_the_budget_and_that_is_said() -> None:
    asked = request(max_down="1", on_failure="continue")
    held = next_of(asked, ("taken", "n0", {}), done("n0", "failed", code="X-BAD", down=True)).hold
    assert held is not None
    assert held.code == "ROLLOUT-BUDGET"
    assert "1 host down: n0 (X-BAD)" in held.text
    assert "3 waiting hosts" in held.text


def test_a_deferred_host_is_left_alone_until_its_time() -> None:
    asked = request(count=1)
    deferred = [("taken", "n0", {}), ("deferred", "n0", {"until": 130.0, "down": False})]
    assert next_of(asked, *deferred) == Decision(until=130.0)
    assert decide(asked, after(asked, *deferred), now=131.0).take == ("n0",)


def test_a_sick_host_that_was_put_back_is_still_down() -> None:
    asked = request(count=2)
    found = [("surveyed", "n0", {"down": True}), ("taken", "n0", {})]
    put_back = [*found, ("deferred", "n0", {"until": 130.0, "down": False})]
    assert after(asked, *put_back).hosts["n0"].down
    assert next_of(asked, *put_back) == Decision(until=130.0)


def test_a_pause_is_no_reason_to_leave_a_host_alone_later() -> None:
    asked = request(count=1)
    put_back = [("taken", "n0", {}), ("deferred", "n0", {"code": "ROLLOUT-PAUSED", "until": 500.0})]
    state = after(asked, *put_back)
    assert (state.hosts["n0"].deferred, state.hosts["n0"].until) == (0, 0.0)


@pytest.mark.parametrize("event", ["paused", "held", "aborted"])
def test_nothing_is_taken_any_more(event: str) -> None:
    decision = next_of(request(), (event, None, {}))
    assert (decision.take, decision.hold) == ((), None)


def test_resuming_goes_on_and_an_abort_is_for_good() -> None:
    asked = request()
    opened = ("opened", None, {})
    assert next_of(asked, ("paused", None, {}), opened).take == ("n0",)
    state = after(asked, ("taken", "n0", {}), ("aborted", None, {}), opened)
    assert state.status == "aborting"
    state = after(asked, ("aborted", None, {}), opened, done("n0", "certified", down=False))
    assert state.status == "aborted"
    assert state.hosts["n1"].status == "left"


def test_another_budget_replaces_the_first() -> None:
    asked = request(max_down="1")
    assert next_of(asked, ("opened", None, {"max_down": "50%"})).take == ("n0", "n1")


def test_a_host_may_be_half_changed_until_it_is_certified() -> None:
    asked = request()
    begun = [("taken", "n0", {}), ("phase", "n0", {"phase": "provisioning"})]
    assert after(asked, *begun).hosts["n0"].touched
    assert (
        after(asked, *begun, done("n0", "failed", down=True), ("retry", "n0", {}))
        .hosts["n0"]
        .touched
    )
    assert not after(asked, *begun, done("n0", "certified", down=False)).hosts["n0"].touched
    drained = [("taken", "n0", {}), ("phase", "n0", {"phase": "drained"})]
    assert not after(asked, *drained).hosts["n0"].touched
