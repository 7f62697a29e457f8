"""How hosts stand before a rollout begins: whose they are, which are down, which are right."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.errors import CudactlError, UnreachableError, UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding, Plan
from cudactl.contracts.rollout import RolloutHost, RolloutHostState, RolloutOptions
from cudactl.reach.service import NoService, Standing
from cudactl.reach.targets import Target
from cudactl.workflow.planning import PlannedHost
from cudactl.workflow.rollout import starting
from cudactl.workflow.rollout.engines import engine_of
from cudactl.workflow.rollout.starting import Survey, make_request, targets_of
from tests.provision.conftest import *  # noqa: F403 - its locks and states are fixtures
from tests.provision.conftest import bare_state

INVENTORY = """\
all:
  children:
    gpus:
      hosts:
        g1: {rack: a, cudactl_slurm_node: node-1}
        g2: {rack: b, cudactl_kubernetes_node: k2}
        g3: {rack: b, zones: [x, y]}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    return str(tmp_path / "hosts.yml")


def request_for(lock: StackLock, inventory: str, *names: str, **options: Any):
    targets = [Target(name) for name in names]
    settings = RolloutOptions(**options)
    return make_request(targets, dict.fromkeys(names, lock), [inventory], [], settings)


def test_groups_and_nodes_come_from_the_inventory(apt_lock: StackLock, inventory: str) -> None:
    hosts = request_for(apt_lock, inventory, "g1", "g2", group_by="rack").hosts
    assert [h.groups for h in hosts] == [["a"], ["b"]]
    assert [h.slurm_node for h in hosts] == ["node-1", None]
    assert [h.kubernetes_node for h in hosts] == [None, "k2"]


def test_the_inventorys_own_groups_are_a_variable_too(apt_lock: StackLock, inventory: str) -> None:
    assert request_for(apt_lock, inventory, "g1", group_by="group_names").hosts[0].groups == [
        "gpus"
    ]


def test_a_host_may_count_in_several_groups(apt_lock: StackLock, inventory: str) -> None:
    assert request_for(apt_lock, inventory, "g3", group_by="zones").hosts[0].groups == ["x", "y"]


def test_a_host_without_its_group_is_named(apt_lock: StackLock, inventory: str) -> None:
    with pytest.raises(UsageError) as wrong:
        request_for(apt_lock, inventory, "g1", "g3", group_by="zones")
    assert wrong.value.code == "ROLLOUT-NO-GROUP"
    assert "g1 has no zones" in wrong.value.found


def test_a_host_that_left_the_inventory_is_missed_before_anything_is_done(
    apt_lock: StackLock, inventory: str
) -> None:
    request = request_for(apt_lock, inventory, "g1", "g2")
    assert set(targets_of(request)) == {"g1", "g2"}
    Path(inventory).write_text(INVENTORY.replace("g2:", "g9:"))
    with pytest.raises(UsageError) as changed:
        targets_of(request)
    assert changed.value.code == "ROLLOUT-INVENTORY-CHANGED"
    assert changed.value.found.startswith("g2:")


@pytest.mark.parametrize(
    ("wanted", "slurm_node", "kubernetes_node", "owners", "engine"),
    [
        ("auto", None, None, [], "none"),
        ("auto", None, None, ["slurm", "puppet"], "slurm"),
        ("auto", None, None, ["kubernetes", "gpu-operator"], "kubernetes"),
        ("auto", None, "k", ["slurm", "kubernetes"], "kubernetes"),
        ("none", "n", None, ["slurm"], "none"),
        ("slurm", None, None, [], "slurm"),
    ],
)
def test_whoever_owns_a_host_drains_it(
    wanted: Any, slurm_node: Any, kubernetes_node: Any, owners: list[str], engine: str
) -> None:
    host = RolloutHost(name="h", lock="l", slurm_node=slurm_node, kubernetes_node=kubernetes_node)
    state = bare_state(owners=owners)
    assert engine_of(host, RolloutOptions(engine=wanted), state) == engine


def test_a_host_of_two_schedulers_is_not_guessed_about() -> None:
    host = RolloutHost(name="h", lock="l")
    with pytest.raises(CudactlError) as several:
        engine_of(host, RolloutOptions(), bare_state(owners=["slurm", "kubernetes"]))
    assert several.value.code == "ROLLOUT-ENGINE-SEVERAL"


IN_SERVICE = Standing(in_service=True)


class Surveyed:
    """One host, as it was found, and the record that is made of it."""

    def __init__(self, lock: StackLock, inventory: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lock = lock
        self.request = request_for(lock, inventory, "g1")
        self.patch = monkeypatch

    def record(
        self,
        *,
        certificate: dict[str, Any] | None = None,
        error: CudactlError | None = None,
        standing: Standing | None = IN_SERVICE,
        refused: bool = False,
        status: Any = "waiting",
    ) -> tuple[str, dict[str, Any]]:
        kept = None
        if certificate is not None:
            now = time.time()
            kept = {"lock": self.lock.hash, "level": "execution", "verdict": "PASS",
                    "boot_id": "b", "driver": None, "issued": now, "expires": now + 60,
                    **certificate}  # fmt: skip
        state = None if error is not None else bare_state(certificate=kept)
        findings = [Finding(code="X", found="x", refuses=True)] if refused else []
        plan = Plan(host="g1", lock_hash="l", state_hash="s", steps=[], findings=findings)
        planned = PlannedHost(Target("g1"), self.lock, state, None if error else plan, error)
        self.patch.setattr(starting, "plan_hosts", lambda *_, **__: [planned])
        service = NoService()
        found = {} if standing is None else {"node-1": standing}
        service.standings = lambda nodes: found  # type: ignore[method-assign]
        self.patch.setattr(starting, "service_of", lambda *_: service)
        survey = Survey(self.request, {"g1": Target("g1")})
        host = RolloutHostState(name="g1", groups=["all"], status=status)
        ((name, event, values),) = survey([host])
        assert name == "g1"
        return event, dict(values)


@pytest.fixture
def surveyed(apt_lock: StackLock, inventory: str, monkeypatch: pytest.MonkeyPatch) -> Surveyed:
    return Surveyed(apt_lock, inventory, monkeypatch)


def test_a_host_that_is_right_and_certified_is_left_alone(surveyed: Surveyed) -> None:
    event, values = surveyed.record(certificate={})
    assert (event, values["outcome"], values["down"]) == ("done", "unchanged", False)


@pytest.mark.parametrize(
    "certificate",
    [{"lock": "another"}, {"boot_id": "earlier"}, {"verdict": "FAIL"}, {"expires": 1.0}],
)
def test_a_certificate_that_does_not_count_any_more_is_made_anew(
    surveyed: Surveyed, certificate: dict[str, Any]
) -> None:
    event, values = surveyed.record(certificate=certificate)
    assert event == "surveyed"
    assert values["down"] is (certificate.get("verdict") == "FAIL")


def test_a_refused_host_is_not_right(surveyed: Surveyed) -> None:
    assert surveyed.record(certificate={}, refused=True)[0] == "surveyed"


def test_a_host_that_somebody_drained_counts_as_down(surveyed: Surveyed) -> None:
    event, values = surveyed.record(standing=Standing(False, why="DRAIN: bad fan"))
    assert (event, values["down"]) == ("surveyed", True)
    assert "bad fan" in values["text"]


def test_a_host_that_does_not_answer_is_left_alone_and_counts_as_down(surveyed: Surveyed) -> None:
    silent = UnreachableError("HOST-TIMEOUT", "no answer", remedy="look at it")
    event, values = surveyed.record(error=silent)
    assert (event, values["outcome"], values["down"]) == ("done", "skipped", True)
    assert values["remedy"] == "look at it"
    assert surveyed.record(error=silent, status="failed")[0] == "surveyed"


def test_a_host_that_failed_here_is_down_until_it_is_right(surveyed: Surveyed) -> None:
    assert surveyed.record(status="failed")[1]["down"] is True
    assert surveyed.record(status="failed", certificate={})[1]["down"] is False


def test_a_host_that_waits_in_our_name_is_returned_through_the_rollout(surveyed: Surveyed) -> None:
    event, values = surveyed.record(certificate={}, standing=Standing(False, ours=True, why="x"))
    assert (event, values["down"]) == ("surveyed", True)


def test_a_node_that_its_scheduler_does_not_know_is_refused_at_once(surveyed: Surveyed) -> None:
    with pytest.raises(CudactlError) as unknown:
        surveyed.record(standing=None)
    assert unknown.value.code == "ROLLOUT-NODE-UNKNOWN"
    assert "g1 (node-1)" in unknown.value.found
    assert "cudactl_slurm_node" in unknown.value.remedy
