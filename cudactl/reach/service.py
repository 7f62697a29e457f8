"""Taking a node out of service and giving it back, whoever schedules work on it.

Slurm and Kubernetes each have an implementation; a host that nobody schedules has `NoService`. The
rule for all: what we take out of service carries our name there, and we give back only what still
carries it. Whether a node is ours is read from the scheduler each time, never remembered.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cudactl.contracts.errors import CudactlError, UnreachableError

ANSWER_S = 60.0
"""How long a scheduler's own command may take, seconds."""


@dataclass(frozen=True)
class Standing:
    """How a node stands with its scheduler."""

    in_service: bool
    """It takes new work."""
    ours: bool = False
    """It is out of service because of this rollout, and of nobody else."""
    idle: bool = True
    """Nothing runs on it."""
    why: str = ""
    """Why it is out of service, in the scheduler's or its administrator's words."""


class Service(Protocol):
    """What takes nodes out of service and returns them."""

    name: Literal["none", "slurm", "kubernetes"]

    def standings(self, nodes: Sequence[str]) -> dict[str, Standing]:
        """Return how nodes stand; a node that the scheduler does not know is absent.

        Raises:
            CudactlError: the scheduler does not answer, or there is no command to ask it with.
        """

    def withdraw(self, node: str) -> None:
        """Take a node out of service in our name; what runs there is not disturbed by this."""

    def still_there(self, node: str, wait_s: float) -> str | None:
        """Return what keeps the node from being empty, or None; may wait and evict for `wait_s`."""

    def give_back(self, node: str) -> bool:
        """Return the node to service; False: it was no longer ours, and was not touched."""

    def remark(self, node: str, code: str) -> None:
        """Say beside our name why the node stays out of service."""


class NoService:
    """A host that nobody schedules: it is simply there."""

    name: Literal["none", "slurm", "kubernetes"] = "none"

    def standings(self, nodes: Sequence[str]) -> dict[str, Standing]:
        """Every node is in service."""
        return {node: Standing(in_service=True) for node in nodes}

    def withdraw(self, node: str) -> None:
        """Nothing to do."""

    def still_there(self, node: str, wait_s: float) -> str | None:
        """Nothing is known to run there."""
        return None

    def give_back(self, node: str) -> bool:
        """Nothing to do."""
        return True

    def remark(self, node: str, code: str) -> None:
        """Nowhere to say it."""


def our_name(rollout: str) -> str:
    """Return what a node that we took out of service carries as its reason."""
    return f"cudactl rollout {rollout}"


def ask(
    command: Sequence[str],
    *,
    engine: str,
    code: str,
    remedy: str,
    deadline_s: float = ANSWER_S,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a scheduler's command.

    Args:
        command: Program and arguments; never through a shell.
        engine: The scheduler's name, for people.
        code: Beginning of the codes of errors.
        remedy: What to do where the program is missing.
        deadline_s: Seconds it may take.
        stdin: What it reads.

    Raises:
        CudactlError: {code}-NO-CLIENT.
        UnreachableError: {code}-SILENT.
    """
    try:
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except FileNotFoundError:
        raise CudactlError(
            f"{code}-NO-CLIENT",
            f"{command[0]} is not there, and these hosts belong to {engine}",
            expected=f"{engine}'s commands on this controller",
            remedy=remedy,
        ) from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(
            f"{code}-SILENT",
            f"{engine} did not answer `{' '.join(command[:3])}` within {deadline_s:.0f} s",
            expected="an answer",
            remedy=f"see whether {engine}'s controller is well; the rollout tries again",
        ) from None
