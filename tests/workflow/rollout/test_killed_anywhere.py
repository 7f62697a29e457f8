"""Rollouts of any shape, killed after any record, in any interleaving: what must always hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cudactl.contracts.rollout import RolloutOptions, RolloutState
from cudactl.workflow.rollout.deciding import budgets
from cudactl.workflow.rollout.deriving import FINAL, derive
from tests.workflow.rollout.world import Driven, World, WorldHost

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Thousands of records are synced here; what a disk does with that is not the question."""
FAULTS = st.sampled_from(["", "", "", "", "refused", "apply", "certify", "busy"])
HOSTS = st.lists(
    st.tuples(
        st.sampled_from(["rack-a", "rack-b"]),
        st.sampled_from([False, False, False, True]),  # sick
        st.sampled_from([None, None, None, "bad fan", "cudactl rollout 20250101-0000-else"]),
        st.integers(0, 3),  # jobs
        FAULTS,
    ),
    min_size=1,
    max_size=7,
)
OPTIONS = st.builds(
    RolloutOptions,
    canary=st.integers(0, 2),
    max_down=st.sampled_from(["1", "2", "3", "50%", "100%"]),
    group_by=st.just("rack"),
    on_failure=st.sampled_from(["hold", "continue", "rollback"]),
    max_failures=st.sampled_from([None, 1, 2]),
    include_drained=st.booleans(),
    drain_timeout_s=st.just(20.0),
    deferrals=st.integers(0, 2),
)
KILLS = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from(["before", "middle", "after"])), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(shape=HOSTS, options=OPTIONS, kills=KILLS, seed=st.integers(0, 2**16))
def test_a_rollout_killed_anywhere_goes_on_and_breaks_no_promise(
    shape: list[tuple], options: RolloutOptions, kills: list[tuple[int, str]], seed: int
) -> None:
    hosts = [
        WorldHost(f"n{number}", [group], sick, drained, jobs, fault)
        for number, (group, sick, drained, jobs, fault) in enumerate(shape)
    ]
    world = World(hosts, options, seed)
    world.watch()
    before = dict(world.most_down)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        driven = Driven(world, Path(folder))
        for dies_at, how in kills:
            driven.controller(dies_at, how)
        end = driven.controller()
        assert end is not None

        # The whole truth is in the journal: read again, it says the same.
        assert derive(world.request, driven.folder.records()) == end
        # Never more down than allowed, or than were down before anything was begun.
        for group, budget in budgets(world.request, options.max_down).items():
            assert world.most_down[group] <= max(budget, before[group])
        # It ended for a reason that is said, and nothing is left in the middle.
        assert end.status in ("finished", "held")
        assert not world.working
        assert (end.code is not None) == (end.status == "held")
        for state in end.hosts.values():
            host = world.hosts[state.name]
            assert state.status in FINAL or (state.status == "waiting" and end.status == "held")
            if state.status == "certified":
                assert (host.version, host.certified) == ("new", "new")
            if state.status == "waiting":
                assert host.drained_by != world.ours, "a host that waits is not kept out of service"
            assert state.down == world.is_down(host), f"{state.name}: {state}"

        # Everything mended and tried again, as often as it takes: everybody is right.
        for host in hosts:
            host.fault = ""
        for dies_at, how in [*kills, *[(None, "")] * (len(hosts) + 1)]:
            end = driven.controller(dies_at, how, retry=True, max_down="100%")
        assert end is not None
        assert end.status == "finished" or _only_others_hold_it_up(world, end)
        for state in end.hosts.values():
            if state.name not in world.foreign or options.include_drained:
                assert world.hosts[state.name].certified == "new" or end.status == "held"


def _only_others_hold_it_up(world: World, end: RolloutState) -> bool:
    """A canary that somebody else drained is never certified, so nobody else is taken."""
    return end.code == "ROLLOUT-CANARY" and bool(world.foreign)
