"""The work on one host: what is given back, what stays out of service, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.contracts.rollout import RolloutOptions
from cudactl.workflow.rollout.host_run import HostJob, Looked, Shown, Step, run_host
from tests.workflow.rollout.world import World, WorldHost, WorldService, WorldWork


class Case:
    """One host of a world, and the work on it."""

    def __init__(self, **host: Any) -> None:
        self.host = WorldHost("n1", **host)
        self.world = World([self.host], RolloutOptions(include_drained=True))
        self.service = WorldService(self.world)
        self.work = WorldWork(self.world, self.host)

    def run(self, stopping: bool = False, **job: Any) -> list[Step]:
        asked = HostJob(host="n1", rollout=self.world.request.id, engine="slurm", node="n1", **job)
        steps = []
        for step in run_host(
            asked, self.service, self.work, stopping=lambda: stopping, clock=self.world.clock
        ):
            self.world.now += step.pause_s
            steps.append(step)
        return steps

    def end(self, **job: Any) -> dict[str, Any]:
        last = self.run(**job)[-1]
        assert last.event in ("done", "deferred")
        return {"event": last.event, **last.values}


def test_each_phase_is_told_before_it_is_done() -> None:
    case = Case()
    told = [s.values.get("phase", s.event) for s in case.run()]
    assert told == ["draining", "drained", "provisioning", "certifying", "returning", "done"]
    assert case.host.drained_by is None


def test_a_host_that_is_right_is_not_provisioned_but_shown() -> None:
    case = Case(version="new", certified="new")
    assert "provisioning" not in [s.values.get("phase") for s in case.run()]


def test_a_host_that_never_becomes_free_goes_back_as_it_was() -> None:
    case = Case(fault="busy")
    end = case.end(drain_timeout_s=20)
    assert (end["event"], end["code"]) == ("deferred", "ROLLOUT-NOT-FREE")
    assert end["until"] == case.world.now + 300
    assert "a job without end" in end["text"]
    assert case.host.drained_by is None
    end = case.end(drain_timeout_s=20, deferred=3)
    assert (end["event"], end["outcome"], end["down"]) == ("done", "busy", False)


def test_a_pause_ends_the_waiting_and_gives_the_host_back() -> None:
    case = Case(jobs=5)
    last = case.run(stopping=True)[-1]
    assert (last.event, last.values["code"]) == ("deferred", "ROLLOUT-PAUSED")
    assert case.host.drained_by is None
    assert case.host.version == "old"


def test_a_pause_does_not_interrupt_what_was_begun() -> None:
    assert Case().run(stopping=True)[-1].values["outcome"] == "certified"


def test_a_refused_host_goes_back_untouched() -> None:
    case = Case(fault="refused")
    end = case.end()
    assert (end["outcome"], end["code"], end["down"]) == ("failed", "PREFLIGHT-DISK", False)
    assert case.host.drained_by is None


def test_a_host_that_was_changed_before_a_crash_is_not_given_back_when_it_is_refused() -> None:
    case = Case(fault="refused", drained_by="cudactl rollout 20260101-0000-test", version="half")
    assert case.end(touched=True)["down"]
    assert case.host.drained_by == case.world.ours


def test_a_host_that_another_run_is_changing_is_put_back() -> None:
    case = Case()
    busy = CudactlError("HOST-BUSY", "run-1 of somebody is changing it")
    case.work.plan = lambda: Looked(error=busy, refused=True)  # type: ignore[method-assign]
    end = case.end()
    assert (end["event"], end["code"], end["down"]) == ("deferred", "HOST-BUSY", False)


def test_a_changed_host_waits_out_of_service_while_another_run_has_it() -> None:
    ours = "cudactl rollout 20260101-0000-test"
    case = Case(drained_by=ours, version="half")
    busy = CudactlError("HOST-BUSY", "run-1 of somebody is changing it")
    case.work.plan = lambda: Looked(error=busy, refused=True)  # type: ignore[method-assign]
    assert case.end(touched=True)["down"]
    assert case.host.drained_by == ours


@pytest.mark.parametrize("fault", ["apply", "certify"])
def test_a_host_that_failed_stays_out_of_service(fault: Any) -> None:
    case = Case(fault=fault)
    end = case.end()
    assert (end["outcome"], end["down"]) == ("failed", True)
    assert case.host.drained_by == case.world.ours


def test_a_rolled_back_host_goes_back_and_why_is_kept() -> None:
    case = Case(fault="certify")
    end = case.end(on_failure="rollback")
    assert (end["outcome"], end["code"]) == ("rolled-back", "ROLLOUT-NOT-CERTIFIED")
    assert case.host.drained_by is None


def test_a_rollback_that_fails_leaves_the_host_out_and_tells_both() -> None:
    case = Case(fault="apply")
    worse = CudactlError("ROLLBACK-NOTHING-KEPT", "no earlier package is kept")
    case.work.roll_back = lambda: worse  # type: ignore[method-assign]
    end = case.end(on_failure="rollback")
    assert (end["outcome"], end["code"], end["down"]) == ("failed", "PROVISION-FAILED", True)
    assert "ROLLBACK-NOTHING-KEPT" in end["text"]


def test_a_foreign_drain_is_left_alone_and_told() -> None:
    case = Case(drained_by="bad fan")
    end = case.end()
    assert (end["outcome"], end["code"], end["down"]) == ("skipped", "ROLLOUT-FOREIGN-DRAIN", True)
    assert "bad fan" in end["text"]
    assert case.host.version == "old"


def test_a_foreign_drain_that_is_included_stays() -> None:
    case = Case(drained_by="bad fan")
    end = case.end(include_drained=True)
    assert (end["outcome"], end["code"]) == ("certified", "ROLLOUT-LEFT-DRAINED")
    assert "as it was found" in end["text"]
    assert case.host.drained_by == "bad fan"


def test_a_drain_that_comes_between_looking_and_draining_is_theirs() -> None:
    case = Case()

    def somebody_was_faster(node: str) -> None:
        case.host.drained_by = "bad fan"

    case.service.withdraw = somebody_was_faster  # type: ignore[method-assign]
    assert case.end()["code"] == "ROLLOUT-FOREIGN-DRAIN"
    assert (case.host.drained_by, case.host.version) == ("bad fan", "old")


def test_a_drain_that_comes_while_we_work_stays_and_the_host_is_right_all_the_same() -> None:
    case = Case()

    def taken_over() -> Shown:
        case.host.certified = case.host.version
        case.host.drained_by = "bad fan"
        return Shown(level="execution", text="PASS")

    case.work.certify = taken_over  # type: ignore[method-assign]
    end = case.end()
    assert (end["outcome"], end["code"], end["down"]) == ("certified", "ROLLOUT-LEFT-DRAINED", True)
    assert "bad fan" in end["text"]


def test_a_certified_host_is_only_returned_after_a_crash() -> None:
    case = Case(drained_by="cudactl rollout 20260101-0000-test", version="new", certified="new")
    assert [s.event for s in case.run(phase="returning")] == ["done"]
    assert case.host.drained_by is None
    # And when it was returned already, it is not drained again.
    assert case.end(phase="returning")["outcome"] == "certified"


def silent(*_: object) -> Any:
    raise UnreachableError("SLURM-SILENT", "slurmctld does not answer")


def test_a_scheduler_that_does_not_answer_puts_the_host_back() -> None:
    case = Case()
    case.service.standings = silent  # type: ignore[method-assign]
    assert case.end()["event"] == "deferred"


def test_a_scheduler_that_falls_silent_at_the_end_is_tried_again_then_told() -> None:
    case = Case()
    case.service.give_back = silent  # type: ignore[method-assign]
    end = case.end()
    assert (end["outcome"], end["code"], end["down"]) == ("certified", "ROLLOUT-NOT-RETURNED", True)
    assert case.world.now >= 1000 + 11 * 5


def test_a_host_that_its_scheduler_does_not_know_is_refused_with_the_variable_to_set() -> None:
    case = Case()
    case.service.standings = lambda nodes: {}  # type: ignore[method-assign]
    end = case.end()
    assert end["code"] == "ROLLOUT-NODE-UNKNOWN"
    assert "cudactl_slurm_node" in end["remedy"]
