"""What a run decides beside its lock, from the option to the saved plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices
from cudactl.contracts.state import HostState
from cudactl.reach.fanout import Answer
from cudactl.reach.targets import Target
from cudactl.workflow import planning
from cudactl.workflow.planning import (
    PlannedHost,
    check_unmoved,
    load_plans,
    plan_hosts,
    same_choices,
    save_plans,
)
from tests.provision.conftest import apt_lock, bare_state

lock = apt_lock
NEVER = Choices(reboot="never", take_over=True)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> HostState:
    """Every host answers with the same state, a bare one, and nobody's apt is asked."""
    state = bare_state()

    def probe(targets: list[Target], *_: Any, **__: Any) -> list[Answer]:
        return [Answer(t, state.model_dump(mode="json"), None, 0.1) for t in targets]

    monkeypatch.setattr(planning, "run_probe", probe)
    return state


def plans(lock: StackLock, choices: dict[str, Choices] | None) -> list[PlannedHost]:
    targets = [Target(name="n1"), Target(name="n2")]
    return plan_hosts(targets, dict.fromkeys(("n1", "n2"), lock), choices=choices)


@pytest.mark.usefixtures("answering")
def test_what_was_decided_is_part_of_what_is_approved(lock: StackLock) -> None:
    one, two = plans(lock, {"n1": NEVER})
    assert one.plan is not None
    assert two.plan is not None
    assert one.plan.choices == NEVER
    assert two.plan.choices == Choices(), "who is not named gets the defaults"
    assert one.plan.hash != plans(lock, None)[0].plan.hash  # type: ignore[union-attr]


@pytest.mark.usefixtures("answering")
def test_a_saved_plan_keeps_what_was_decided(lock: StackLock, tmp_path: Path) -> None:
    targets = [Target(name="n1"), Target(name="n2")]
    made = plans(lock, same_choices(targets, NEVER))
    save_plans(made, [], tmp_path / "p")
    saved, _ = load_plans(tmp_path / "p")
    assert [p.choices for p in saved.plans] == [NEVER, NEVER]
    check_unmoved(plans(lock, {p.host: p.choices for p in saved.plans}), saved)
    with pytest.raises(CudactlError, match=r"n1.*n2") as refused:
        check_unmoved(plans(lock, None), saved)
    assert refused.value.code == "PLAN-STALE"
