"""From what was typed to a request, and from a request to how its hosts stand before it begins."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.rollout import (
    RolloutHost,
    RolloutHostState,
    RolloutOptions,
    RolloutRequest,
)
from cudactl.reach.inventory import resolve_targets
from cudactl.reach.service import Standing
from cudactl.reach.targets import Target
from cudactl.reach.variables import host_variables
from cudactl.workflow.planning import PlannedHost, plan_hosts, same_choices
from cudactl.workflow.rollout.controller import HostEvent
from cudactl.workflow.rollout.deriving import FINAL
from cudactl.workflow.rollout.engines import engine_of, node_names, service_of
from cudactl.workflow.rollout.folders import new_id, who
from cudactl.workflow.rollout.work import check_rollback

SLURM_NODE, KUBERNETES_NODE = "cudactl_slurm_node", "cudactl_kubernetes_node"
"""Inventory variables: what a host's scheduler calls it."""
EVERYONE = "all"
STANDS = ("PASS", "WARN", "NO_REFERENCE", "WAIVED")
"""Verdicts of a certificate that a host works by."""


def make_request(
    targets: Sequence[Target],
    locks: Mapping[str, StackLock],
    inventories: Sequence[str],
    ssh_args: Sequence[str],
    options: RolloutOptions,
) -> RolloutRequest:
    """Return the request for a rollout over `targets`, whose hosts are taken in this order.

    Raises:
        UsageError: ROLLOUT-CANARY-UNKNOWN, ROLLOUT-NO-GROUP.
        CudactlError: ROLLOUT-NO-ROLLBACK.
    """
    names = [t.name for t in targets]
    if strange := [name for name in options.canaries if name not in names]:
        raise UsageError(
            "ROLLOUT-CANARY-UNKNOWN",
            f"{', '.join(strange)}: no host of this rollout",
            expected=f"one of {', '.join(names[:8])}{' …' if len(names) > 8 else ''}",
            remedy="name hosts of the rollout with --canary, or a number of them",
        )
    if options.on_failure == "rollback":
        check_rollback()
    wanted = [SLURM_NODE, KUBERNETES_NODE, *([options.group_by] if options.group_by else [])]
    variables = host_variables(inventories, names, wanted)
    groups = {name: _groups(variables[name], options.group_by) for name in names}
    if without := [name for name in names if not groups[name]]:
        raise UsageError(
            "ROLLOUT-NO-GROUP",
            f"{', '.join(without[:5])}{' …' if len(without) > 5 else ''} "
            f"ha{'s' if len(without) == 1 else 've'} no {options.group_by}",
            expected=f"the inventory variable {options.group_by} on every host",
            remedy="set it there, or group by another one (group_names: the inventory's groups)",
        )
    return RolloutRequest(
        id=new_id(),
        created=time.time(),
        who=who().partition("@")[0],
        controller=socket.gethostname(),
        inventories=[str(Path(i).resolve()) if "," not in i else i for i in inventories],
        ssh_args=list(ssh_args),
        options=options,
        hosts=[
            RolloutHost(
                name=name,
                lock=locks[name].hash,
                groups=groups[name],
                slurm_node=_text(variables[name].get(SLURM_NODE)),
                kubernetes_node=_text(variables[name].get(KUBERNETES_NODE)),
            )
            for name in names
        ],
        locks={lock.hash: lock.model_dump(mode="json") for lock in locks.values()},
    )


def _groups(variables: Mapping[str, object], group_by: str | None) -> list[str]:
    if group_by is None:
        return [EVERYONE]
    value = variables.get(group_by)
    if value is None:
        return []
    # A list means several groups, each with a budget of its own.
    values = value if isinstance(value, list) else [value]
    return sorted({str(v) for v in values} - {"ungrouped"})


def _text(value: object) -> str | None:
    return str(value) if value else None


def targets_of(request: RolloutRequest) -> dict[str, Target]:
    """Return how the hosts of a request are reached now.

    Raises:
        UsageError: ROLLOUT-INVENTORY-CHANGED, or what reading the inventory finds.
    """
    names = [h.name for h in request.hosts]
    if not request.inventories and names == ["localhost"]:
        found = resolve_targets((), ())
    elif request.inventories:
        there = resolve_targets((), request.inventories, ssh_args=request.ssh_args)
        found = [t for t in there if t.name in set(names)]
    else:
        found = resolve_targets(names, (), ssh_args=request.ssh_args)
    targets = {t.name: t for t in found}
    if gone := [name for name in names if name not in targets]:
        raise UsageError(
            "ROLLOUT-INVENTORY-CHANGED",
            f"{', '.join(gone[:5])}{' …' if len(gone) > 5 else ''}: no longer in "
            f"{', '.join(request.inventories)}",
            expected="every host of the rollout",
            remedy=f"put them back, or end this one (cudactl rollout abort {request.id}) and start "
            "another: hosts that are right already cost nothing",
        )
    return targets


def locks_of(request: RolloutRequest) -> dict[str, StackLock]:
    """Return host → lock, as the request holds them."""
    locks = {key: StackLock.model_validate(value) for key, value in request.locks.items()}
    return {host.name: locks[host.lock] for host in request.hosts}


class Survey:
    """Looks at hosts: their state, their plan, and how they stand with their scheduler."""

    def __init__(self, request: RolloutRequest, targets: Mapping[str, Target]) -> None:
        self._request = request
        self._targets = targets
        self._locks = locks_of(request)
        self.planned: list[PlannedHost] = []
        self._kept: list[HostEvent] | None = None

    def ahead(self) -> list[HostEvent]:
        """Look at every host now, and keep the answer for the controller's own first look."""
        self._kept = self(
            [RolloutHostState(name=h.name, groups=h.groups) for h in self._request.hosts]
        )
        return self._kept

    def __call__(self, hosts: Sequence[RolloutHostState]) -> list[HostEvent]:
        """Return what is to be written down of hosts before anything is done to them.

        Raises:
            CudactlError: a scheduler that owns hosts cannot be asked.
        """
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        if not hosts:
            return []
        options = self._request.options
        targets = [self._targets[h.name] for h in hosts]
        self.planned = plan_hosts(
            targets, self._locks, choices=same_choices(targets, options.choices)
        )
        asked = {h.name: h for h in self._request.hosts}
        found = [
            (asked[p.target.name], engine_of(asked[p.target.name], options, p.state), p.state)
            for p in self.planned
        ]
        nodes = node_names(found)
        standings: dict[str, Standing] = {}
        for engine in {engine for _, engine, _ in found}:
            mine = {h.name: nodes.get(h.name, h.name) for h, e, _ in found if e == engine}
            there = service_of(engine, self._request.id).standings(list(mine.values()))
            standings |= {name: there[node] for name, node in mine.items() if node in there}
            reached = [p.target.name for p in self.planned if p.error is None]
            _refuse_unknown(engine, {n: mine[n] for n in mine if n in reached}, standings)
        events = []
        for host, planned, (_, engine, _) in zip(hosts, self.planned, found, strict=True):
            values = {"engine": engine, "node": nodes.get(host.name)}
            event, more = _seen(host, planned, standings.get(host.name))
            events.append((host.name, event, {**values, **more}))
        return events


def _refuse_unknown(
    engine: str, nodes: Mapping[str, str], standings: Mapping[str, Standing]
) -> None:
    """Refuse hosts that their scheduler does not know under the names that we have for them."""
    if strange := [f"{host} ({node})" for host, node in nodes.items() if host not in standings]:
        raise CudactlError(
            "ROLLOUT-NODE-UNKNOWN",
            f"{engine} does not know {', '.join(strange[:5])}{' …' if len(strange) > 5 else ''}",
            expected="each host's name in its scheduler",
            remedy=f"say it in the inventory: cudactl_{engine}_node: NAME; or --engine none for "
            "hosts that nobody schedules",
        )


def _seen(
    host: RolloutHostState, planned: PlannedHost, standing: Standing | None
) -> tuple[str, dict[str, object]]:
    """Return the record for one host; one that ended before is only looked at again."""
    final = host.status in FINAL
    out = standing is not None and not standing.in_service
    why = f"out of service: {standing.why}" if standing is not None and out else ""
    if planned.error is not None:
        code, text = planned.error.code, planned.error.found
        values: dict[str, object] = {"code": code, "text": text, "down": True}
        if final:
            return "surveyed", values
        return "done", {**values, "outcome": "skipped", "remedy": planned.error.remedy}
    assert planned.state is not None
    assert planned.plan is not None
    ours = standing is not None and standing.ours
    if right(planned) and not ours:
        if final:
            return "surveyed", {"down": out, "text": why}
        text = "right already, and certified" + (f"; {why}" if why else "")
        kept = planned.state.certificate
        level = kept.level if kept is not None else None
        return "done", {"outcome": "unchanged", "down": out, "text": text, "level": level}
    kept = planned.state.certificate
    if not why and kept is not None and kept.verdict == "FAIL":
        why = "its last certificate says FAIL"
    # One that failed here is down until it was shown to be right.
    return "surveyed", {"down": bool(why) or host.status == "failed", "text": why}


def right(planned: PlannedHost) -> bool:
    """Return True when a host carries its lock and has a certificate for it and this boot."""
    state, plan = planned.state, planned.plan
    if state is None or plan is None or not plan.empty or plan.refusals:
        return False
    kept = state.certificate
    return (
        kept is not None
        and kept.lock == planned.lock.hash
        and kept.boot_id == state.boot_id
        and kept.verdict in STANDS
        and kept.expires > time.time()
    )
