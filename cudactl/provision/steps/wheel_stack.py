"""`wheel_stack`: verified wheels, unpacked side by side."""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.steps.rates import FETCH_RATE, PER_ROLE_S, UNPACK_RATE

STACKS = "/opt/cudactl/stacks"


def stack_folder(lock: StackLock) -> str:
    """Return the folder of a wheel stack on the host."""
    return f"{STACKS}/{lock.short_hash}"


def wheel_stack_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that unpacks the lock's stack where it is not complete."""
    if lock.target.packages != "wheels":
        return None
    wanted = {p.filename: p.sha256 for p in lock.packages}
    there = next((s for s in state.stacks if s.lock == lock.short_hash), None)
    if there is not None and there.complete and there.wheels == wanted:
        return None
    # Where an earlier run was stopped in the middle, half a stack lies beside the whole one.
    half = f"{lock.short_hash}.unpacking"
    left = [
        Change(kind="folder", name=f"{STACKS}/{half}", before="half unpacked")
        for s in state.stacks
        if s.lock == half
    ]
    size = sum(p.size for p in lock.packages)
    folder = stack_folder(lock)
    return PlanStep(
        id="wheel_stack.unpack",
        role="wheel_stack",
        summary=f"verify {len(wanted)} wheels and unpack them into {folder}",
        reason="an unfinished or different stack is there" if there else "the stack is not there",
        changes=[
            Change(
                kind="folder",
                name=folder,
                before=None if there is None else "incomplete",
                after=lock.short_hash,
            ),
            *left,
        ],
        download_bytes=size,
        seconds=PER_ROLE_S + size / FETCH_RATE + 2 * size / UNPACK_RATE,
        variables={
            "folder": folder,
            "lock": lock.hash,
            "wheels": [{"file": n, "sha256": d} for n, d in sorted(wanted.items())],
            "room_bytes": 3 * size,
        },
    )
