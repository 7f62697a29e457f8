"""A small world of hosts with a scheduler, for rollouts that are killed in the middle.

What a real cluster would do with a host is done to a `WorldHost`; the work on it is the real
`run_host`, advanced one step at a time in any order. The world watches over what must never happen.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.contracts.rollout import (
    RolloutHost,
    RolloutHostState,
    RolloutOptions,
    RolloutRequest,
    RolloutState,
)
from cudactl.reach.service import Standing
from cudactl.workflow.rollout.controller import Controller, HostEvent
from cudactl.workflow.rollout.deriving import derive
from cudactl.workflow.rollout.folders import RolloutFolder, create
from cudactl.workflow.rollout.host_run import HostJob, Looked, Shown, Step, run_host
from cudactl.workflow.rollout.journal import Journal


class Killed(BaseException):
    """The controller is gone: nothing of it runs any further, not even its cleaning up."""


@dataclass(eq=False)
class WorldHost:
    """One host and its scheduler's view of it."""

    name: str
    groups: list[str] = field(default_factory=lambda: ["all"])
    sick: bool = False
    """Unhealthy before anything was done to it."""
    drained_by: str | None = None
    jobs: int = 0
    """Looks until the last job has ended."""
    fault: Literal["", "refused", "apply", "certify", "busy"] = ""
    version: str = "old"
    """old, half (a change was begun), or new."""
    certified: str | None = "old"
    """The version that the host was last certified with."""


class World:
    """Hosts, time, and what must never happen."""

    def __init__(self, hosts: Sequence[WorldHost], options: RolloutOptions, seed: int = 0) -> None:
        self.hosts = {h.name: h for h in hosts}
        self.options = options
        self.now = 1000.0
        self.order = random.Random(seed)
        self.working: set[str] = set()
        self.begun: list[str] = []
        self.passed_over: set[str] = set()  # skipped or never free: another is the canary
        self.foreign = {h.name: h.drained_by for h in hosts if h.drained_by is not None}
        self.most_down: dict[str, int] = {}
        self.request = RolloutRequest(
            id="20260101-0000-test",
            created=0.0,
            who="t",
            controller="c",
            inventories=[],
            options=options,
            hosts=[RolloutHost(name=h.name, lock="l", groups=h.groups) for h in hosts],
            locks={},
        )

    @property
    def ours(self) -> str:
        return f"cudactl rollout {self.request.id}"

    def clock(self) -> float:
        return self.now

    def is_down(self, host: WorldHost) -> bool:
        unshown = host.version == "half" or host.certified != host.version
        return host.sick or host.drained_by is not None or host.name in self.working or unshown

    def check_canaries_first(self) -> None:
        """Until enough hosts are certified, no more were begun than there are canaries."""
        shown = [h for h in self.hosts.values() if (h.version, h.certified) == ("new", "new")]
        if len(shown) >= self.options.canary:
            return
        assert len(set(self.begun) - self.passed_over) <= self.options.canary

    def watch(self) -> None:
        """Note how many hosts of each group are down just now."""
        groups: dict[str, int] = {}
        for host in self.hosts.values():
            for group in host.groups:
                groups[group] = groups.get(group, 0) + self.is_down(host)
        for group, count in groups.items():
            self.most_down[group] = max(self.most_down.get(group, 0), count)
        for name, reason in self.foreign.items():
            assert self.hosts[name].drained_by == reason, f"{name}: a foreign drain was touched"


@dataclass
class WorldService:
    """The scheduler, as `run_host` sees it."""

    world: World
    name: Literal["none", "slurm", "kubernetes"] = "slurm"

    def standings(self, nodes: Sequence[str]) -> dict[str, Standing]:
        found = {}
        for node in nodes:
            host = self.world.hosts[node]
            by = host.drained_by
            ours = by == self.world.ours
            found[node] = Standing(by is None, ours, host.jobs == 0, f"DRAIN: {by}" if by else "")
        return found

    def withdraw(self, node: str) -> None:
        assert self.world.hosts[node].drained_by is None, "somebody's drain was replaced"
        self.world.hosts[node].drained_by = self.world.ours
        self.world.watch()

    def still_there(self, node: str, wait_s: float) -> str | None:
        host = self.world.hosts[node]
        if host.fault == "busy":
            return "a job without end"
        host.jobs = max(0, host.jobs - 1)
        return "a job" if host.jobs else None

    def give_back(self, node: str) -> bool:
        host = self.world.hosts[node]
        if host.drained_by != self.world.ours:
            return False
        assert host.version == host.certified, f"{node} was given back without a certificate"
        host.drained_by = None
        return True

    def remark(self, node: str, code: str) -> None:
        assert self.world.hosts[node].drained_by == self.world.ours


@dataclass
class WorldWork:
    """What provisioning and certifying do to a host of the world."""

    world: World
    host: WorldHost

    def plan(self) -> Looked:
        if self.host.fault == "refused":
            return Looked(error=CudactlError("PREFLIGHT-DISK", "no room"), refused=True)
        return Looked(empty=self.host.version == "new")

    def apply(self) -> CudactlError | None:
        assert self.host.jobs == 0, "changed under a running job"
        foreign = self.host.name in self.world.foreign
        assert self.world.options.include_drained or not foreign, "changed under somebody's drain"
        assert self.host.drained_by is not None, "changed while in service"
        if self.host.fault == "apply":
            self.host.version = "half"
            return CudactlError("PROVISION-FAILED", "a task failed")
        self.host.version = "new"
        return None

    def certify(self) -> Shown:
        if self.host.fault == "certify":
            return Shown(CudactlError("ROLLOUT-NOT-CERTIFIED", "a wrong number"))
        self.host.certified = self.host.version
        self.host.sick = False
        return Shown(level="execution", text="PASS, level execution")

    def roll_back(self) -> CudactlError | None:
        self.host.version = "old"
        self.host.certified = "old"
        self.host.sick = False
        return None


class WorldRunner:
    """Works on hosts of the world, one step of any of them at a time."""

    def __init__(self, world: World, folder: RolloutFolder) -> None:
        self.world = world
        self.folder = folder
        self.runs: dict[str, Any] = {}

    def start(self, job: HostJob) -> None:
        world = self.world
        assert job.host not in world.working, f"two are working on {job.host}"
        # Before anything is done to a host, the disk says that it may be in the middle.
        told = derive(world.request, self.folder.records()).hosts[job.host].status
        assert told == "running", f"{job.host} was begun and only then written down"
        world.working.add(job.host)
        world.begun.append(job.host)
        world.check_canaries_first()
        world.watch()
        self.runs[job.host] = run_host(
            job,
            WorldService(world),
            WorldWork(world, world.hosts[job.host]),
            stopping=lambda: bool(self.folder.asked("pause") or self.folder.asked("abort")),
            clock=world.clock,
        )

    def events(self, timeout_s: float) -> Iterable[HostEvent]:
        self.world.now += max(timeout_s, 0.01)
        if not self.runs:
            return []
        name = self.world.order.choice(sorted(self.runs))
        step: Step = next(self.runs[name])
        self.world.watch()
        if step.event is None:
            self.world.now += step.pause_s
            return []
        if step.event in ("done", "deferred"):
            assert next(self.runs.pop(name), None) is None, "something came after the end"
            self.world.working.discard(name)
            if step.values.get("outcome") in ("skipped", "busy"):
                self.world.passed_over.add(name)
        return [(name, step.event, step.values)]

    def idle(self, hosts: Sequence[RolloutHostState]) -> Collection[str]:
        return [h.name for h in hosts if self.world.hosts[h.name].jobs == 0]

    def stop(self) -> None:
        self.runs.clear()
        self.world.working.clear()


class MortalJournal(Journal):
    """A journal whose controller dies at a record: before it, in the middle of it, or after it."""

    def __init__(self, path: Path, clock: Any, dies_at: int | None, how: str) -> None:
        super().__init__(path, clock=clock)
        self.left = dies_at
        self.how = how
        self.path = path

    def append(self, event: str, **values: Any) -> Any:
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                if self.how == "after":
                    super().append(event, **values)
                elif self.how == "middle":
                    with self.path.open("ab") as file:
                        file.write(b'{"at": 1.0, "event": "do')
                raise Killed
        return super().append(event, **values)


@dataclass
class Interrupts:
    """How often Ctrl-C was pressed."""

    count: int = 0


class Driven:
    """A rollout in a world, with the controllers that drive it one after the other."""

    def __init__(self, world: World, state_folder: Path) -> None:
        self.world = world
        self.folder = create(world.request, state_folder)
        self.interrupts = Interrupts()

    def survey(self, hosts: Sequence[RolloutHostState]) -> Iterable[HostEvent]:
        for state in hosts:
            host = self.world.hosts[state.name]
            down = self.world.is_down(host)
            values = {"down": down, "engine": "slurm", "node": host.name}
            yield state.name, "surveyed", values

    def controller(
        self, dies_at: int | None = None, how: str = "before", **opening: Any
    ) -> RolloutState | None:
        """Drive until it ends; None: the controller was killed."""
        with self.folder.driven():
            journal = MortalJournal(self.folder.journal, self.world.clock, dies_at, how)
            runner = WorldRunner(self.world, self.folder)
            controller = Controller(
                self.world.request,
                self.folder,
                journal,
                runner,
                self.interrupts,
                clock=self.world.clock,
            )
            try:
                controller.open(self.survey, **opening)
                return controller.drive()
            except Killed:
                # Its workers end with it, wherever they are.
                self.world.working.clear()
                return None
            finally:
                journal.close()


def unreachable(text: str) -> UnreachableError:
    return UnreachableError("SLURM-SILENT", text)
