"""Which scheduler a host belongs to, and what it is called there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.rollout import Engine, RolloutHost, RolloutOptions
from cudactl.contracts.state import HostState
from cudactl.reach.kubernetes import Kubernetes
from cudactl.reach.service import NoService, Service, our_name
from cudactl.reach.slurm import Slurm, nodes_by_host

OWNERS: dict[str, Engine] = {"slurm": "slurm", "kubernetes": "kubernetes"}
"""What the probe calls an owner → who drains its hosts."""


def service_of(engine: Engine, rollout: str, *, delete_emptydir: bool = False) -> Service:
    """Return what takes hosts of a scheduler out of service in a rollout's name."""
    if engine == "slurm":
        return Slurm(our_name(rollout))
    if engine == "kubernetes":
        return Kubernetes(rollout, delete_emptydir=delete_emptydir)
    return NoService()


def engine_of(host: RolloutHost, options: RolloutOptions, state: HostState | None) -> Engine:
    """Return who drains a host: what was said, else what the inventory says, else its owners.

    Raises:
        CudactlError: ROLLOUT-ENGINE-SEVERAL.
    """
    if options.engine != "auto":
        return options.engine
    named: list[Engine] = []
    named += ["slurm"] if host.slurm_node else []
    named += ["kubernetes"] if host.kubernetes_node else []
    if not named and state is not None:
        named = [OWNERS[owner] for owner in state.owners if owner in OWNERS]
    if len(named) > 1:
        raise CudactlError(
            "ROLLOUT-ENGINE-SEVERAL",
            f"{host.name} belongs to both Slurm and Kubernetes, as far as can be seen",
            expected="one scheduler that drains it",
            remedy="say which: --engine slurm or --engine kubernetes, or name its node in the "
            "inventory (cudactl_slurm_node or cudactl_kubernetes_node)",
        )
    return named[0] if named else "none"


def node_names(
    hosts: Iterable[tuple[RolloutHost, Engine, HostState | None]],
) -> dict[str, str]:
    """Return host → what its scheduler calls it.

    Slurm is asked once which node is which host; in Kubernetes a node bears its host's name.
    """
    known: dict[str, str] | None = None
    names: dict[str, str] = {}
    for host, engine, state in hosts:
        hostname = state.hostname if state is not None else host.name
        if engine == "kubernetes":
            names[host.name] = host.kubernetes_node or hostname
        elif engine == "slurm":
            if host.slurm_node:
                names[host.name] = host.slurm_node
                continue
            known = nodes_by_host() if known is None else known
            candidates = (hostname, hostname.split(".")[0], host.name)
            found = [known[c] for c in candidates if c in known]
            names[host.name] = found[0] if found else hostname
    return names


def idle_hosts(service: Service, nodes: dict[str, str]) -> Sequence[str]:
    """Return the hosts (host → node) on which nothing runs; none where the scheduler is silent."""
    try:
        there = service.standings(list(nodes.values()))
    except CudactlError:
        return ()
    return [host for host, node in nodes.items() if node in there and there[node].idle]
