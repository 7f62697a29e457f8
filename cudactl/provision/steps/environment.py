"""`environment`: the toolkit that shells find."""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, PlanStep
from cudactl.contracts.preferences import GENERATED
from cudactl.contracts.state import HostState
from cudactl.provision.steps.files import DesiredFile, file_changes, file_variables
from cudactl.provision.steps.rates import PER_ROLE_S


def environment_files(lock: StackLock) -> list[DesiredFile]:
    """Return the login-shell environment for an apt toolkit."""
    cuda = lock.resolved.get("cuda")
    if cuda is None or lock.target.packages != "apt":
        return []
    home = cuda_home(cuda)
    return [
        DesiredFile(
            path="/etc/profile.d/cudactl-cuda.sh",
            content=GENERATED.format(lock=lock.short_hash)
            + f"export CUDA_HOME={home}\n"
            + f'case ":$PATH:" in *":{home}/bin:"*) ;; *) export PATH="{home}/bin:$PATH" ;; esac\n',
        )
    ]


def cuda_home(cuda: str) -> str:
    """Return the toolkit's folder: "13.0.2" → "/usr/local/cuda-13.0"."""
    return "/usr/local/cuda-" + ".".join(cuda.split(".")[:2])


def environment_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that places what differs."""
    files = environment_files(lock)
    changes = file_changes(files, state)
    if not changes:
        return None
    return PlanStep(
        id="environment.profile",
        role="environment",
        summary=f"make CUDA {lock.resolved.get('cuda')} the one login shells find",
        reason="nvcc is not on the PATH otherwise",
        changes=changes,
        seconds=PER_ROLE_S,
        variables={"files": file_variables(files, changes)},
    )
