"""`--root`: what plan and provision do with a mounted root instead of a host."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from cudactl.cli.host_options import HostChoice
from cudactl.contracts.errors import UsageError

if TYPE_CHECKING:
    from cudactl.contracts.plan import Choices
    from cudactl.workflow.planning import PlannedHost


def planned_root(
    root: str, kernel: str | None, chosen: HostChoice, decided: Choices | None
) -> AbstractContextManager[list[PlannedHost]]:
    """Enter a root and plan it; it is left again at the end of the block.

    Raises:
        UsageError: ROOT-AND-HOSTS, ROOT-NOT-A-SYSTEM, ROOT-NOT-ROOT, ROOT-NO-SUCH-KERNEL.
        CudactlError: ROOT-NO-MOUNT.
    """
    from cudactl.workflow.offline_root import plan_root

    if chosen.names or chosen.inventories:
        raise UsageError(
            "ROOT-AND-HOSTS",
            "--root was given together with hosts",
            expected="either a mounted root or hosts",
            remedy="leave the hosts and -i out",
        )
    return plan_root(root, kernel, lock=chosen.lock, choices=decided)
