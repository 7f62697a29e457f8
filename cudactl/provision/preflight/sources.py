"""Do other people's apt sources, pins and keys clash with the lock's?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.apt_obstacles import Obstacle, apt_obstacles


def source_findings(lock: StackLock, state: HostState, choices: Choices) -> list[Finding]:
    """Refuse what clashes, and name what only overlaps; what is taken over is a step instead."""
    return [
        _finding(obstacle, state)
        for obstacle in apt_obstacles(lock, state)
        if not (choices.take_over and obstacle.movable and obstacle.path not in state.managed)
    ]


def _finding(obstacle: Obstacle, state: HostState) -> Finding:
    remedy = obstacle.remedy
    if who := state.managed.get(obstacle.path):
        remedy = f"have {who}, which writes {obstacle.path}, leave it out"
    if obstacle.refuses:
        return refuse(obstacle.code, obstacle.found, obstacle.expected, remedy)
    return remark(obstacle.code, obstacle.found, remedy)
