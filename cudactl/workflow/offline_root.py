"""Provision a mounted root: for Packer, MAAS and stateless images, by the same roles as a host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cudactl.contracts.errors import UsageError
from cudactl.contracts.plan import Choices
from cudactl.reach.offline_root import check_root, entered
from cudactl.reach.targets import root_target
from cudactl.workflow.locks import locks_for
from cudactl.workflow.planning import PlannedHost, plan_hosts


@contextmanager
def plan_root(
    root: str, kernel: str | None, *, lock: Path | None = None, choices: Choices | None = None
) -> Iterator[list[PlannedHost]]:
    """Enter a root and plan it: services are only enabled, and nothing is loaded or rebooted.

    Args:
        root: The folder.
        kernel: Release of the kernel that it is going to run; None: its newest one.
        lock: The lock; otherwise ./stack.lock.
        choices: What the caller decided; a root is never rebooted.

    Raises:
        UsageError: ROOT-NOT-A-SYSTEM, ROOT-NOT-ROOT, ROOT-NO-SUCH-KERNEL, or what the lock has.
        CudactlError: ROOT-NO-MOUNT.
    """
    path = str(Path(root).resolve())
    check_root(path)
    there = sorted(p.name for p in (Path(path) / "lib/modules").glob("*"))
    if kernel is not None and kernel not in there:
        raise UsageError(
            "ROOT-NO-SUCH-KERNEL",
            f"{root} has no kernel {kernel}",
            expected=f"one of {', '.join(there)}" if there else "a root with a kernel",
            remedy="install the kernel first, or name one that is there",
        )
    target = root_target(path, kernel or "")
    decided = (choices or Choices()).model_copy(update={"reboot": "never"})
    locks = locks_for([target], lock, current=True)
    with entered(path):
        yield plan_hosts([target], locks, choices={target.name: decided})
