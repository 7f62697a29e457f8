"""`environment`: which toolkit is the active one, and how shells, services and modules find it.

One thing decides: the alternative `cuda`, that is /usr/local/cuda. NVIDIA's own loader
configuration names that folder first (/etc/ld.so.conf.d/000_cuda.conf), and every file here leads
there, so a switch is one link. Nothing is put into /usr/local/bin: nvcc looks for its parts beside
the name it was called by, and build tools take the folder above `which nvcc` for the toolkit. No
variable of systemd's manager is set either: that would be for every service, and needs a reload
under which running containers lose their GPUs.
"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.preferences import GENERATED
from cudactl.contracts.state import HostState
from cudactl.provision.steps.files import DesiredFile, file_changes, file_variables
from cudactl.provision.steps.rates import PER_ROLE_S
from cudactl.provision.steps.wheel_stack import STACKS, stack_folder

ACTIVE = "/usr/local/cuda"
ACTIVE_STACK = "/opt/cudactl/active"
PROFILE = "/etc/profile.d/cudactl-cuda.sh"
SERVICE = "/etc/cudactl/cudactl-cuda.env"
SSH = "/etc/ssh/sshd_config.d/cudactl-cuda.conf"
MODULEFILES = "/opt/cudactl/modulefiles/cuda"
# What Ubuntu's /etc/environment says, and what Debian's SSH server has without one, for everyone.
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNIT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
"""systemd's own for units."""
TARGETS = {"x86_64": "x86_64-linux", "sbsa": "sbsa-linux"}
MODULEFILE = """\
#%Module1.0
{head}module-whatis "NVIDIA CUDA toolkit {version}"
conflict cuda
setenv CUDA_HOME {home}
setenv CUDA_PATH {home}
prepend-path PATH {home}/bin
prepend-path LD_LIBRARY_PATH {home}/targets/{target}/lib
"""


def cuda_home(cuda: str) -> str:
    """Return the toolkit's folder: "13.0.2" → "/usr/local/cuda-13.0"."""
    return "/usr/local/cuda-" + minor_of(cuda)


def minor_of(cuda: str) -> str:
    """Return a toolkit's minor: "13.0.2" → "13.0"."""
    return ".".join(cuda.split(".")[:2])


def toolkits(lock: StackLock) -> dict[str, str]:
    """Return minor → version of every toolkit of an apt lock, the active one first."""
    active = lock.resolved.get("cuda")
    if active is None or lock.target.packages != "apt":
        return {}
    found = {minor_of(active): active}
    for package in lock.packages:
        if package.top_level and package.name.startswith("cuda-toolkit-"):
            version = package.version.rpartition("-")[0]
            found.setdefault(minor_of(version), version)
    return found


def environment_files(lock: StackLock, state: HostState | None = None) -> list[DesiredFile]:
    """Return the files that lead to the active toolkit, and a modulefile for every one.

    Args:
        lock: The lock.
        state: The host; without it, what holds for every host.
    """
    head = GENERATED.format(lock=lock.short_hash)
    versions = toolkits(lock)
    if not versions:
        if lock.target.packages == "wheels" and lock.spec.activate:
            return [DesiredFile(path=PROFILE, content=f"{head}. {ACTIVE_STACK}/activate\n")]
        return []
    files = [
        DesiredFile(
            path=PROFILE,
            content=head
            + f"export CUDA_HOME={ACTIVE}\n"
            + f'case ":$PATH:" in *":{ACTIVE}/bin:"*) ;; *) export PATH="{ACTIVE}/bin:$PATH" ;; '
            "esac\n",
        ),
        DesiredFile(
            path=SERVICE,
            content=head
            + f"# For a unit: EnvironmentFile={SERVICE}\n"
            + f"CUDA_HOME={ACTIVE}\nPATH={ACTIVE}/bin:{UNIT_PATH}\n",
        ),
    ]
    if state is not None and state.ssh.drop_ins and not state.ssh.set_env:
        path = state.ssh.path or USUAL_PATH
        if f"{ACTIVE}/bin" not in path.split(":"):
            path = f"{ACTIVE}/bin:{path}"
        # One line: the server heeds the first SetEnv only.
        files.append(
            DesiredFile(path=SSH, content=f'{head}SetEnv "PATH={path}" CUDA_HOME={ACTIVE}\n')
        )
    for minor, version in versions.items():
        text = MODULEFILE.format(
            head=head,
            version=version,
            home=cuda_home(version),
            target=TARGETS[lock.target.arch],
        )
        files.append(DesiredFile(path=f"{MODULEFILES}/{minor}", content=text))
    default = f'#%Module1.0\n{head}set ModulesVersion "{next(iter(versions))}"\n'
    return [*files, DesiredFile(path=f"{MODULEFILES}/.version", content=default)]


def environment_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that makes the lock's toolkit (or stack) the active one."""
    if lock.target.packages == "wheels" and not lock.spec.activate:
        return None  # a stack that only lies beside leaves the active one as it is
    files = environment_files(lock, state)
    changes = file_changes(files, state)
    stale = [f.path for f in state.files if _ours(f.path) and f.path not in {d.path for d in files}]
    changes += [
        Change(kind="file", name=f.path, before=f.sha256) for f in state.files if f.path in stale
    ]
    link = _link(lock, state)
    changes += [link] if link is not None else []
    if not changes:
        return None
    ssh = any(change.name == SSH for change in changes)
    return PlanStep(
        id="environment.active",
        role="environment",
        summary=_summary(lock) + ("; the SSH server reads its configuration again" if ssh else ""),
        reason=_why(link, lock),
        changes=changes,
        seconds=PER_ROLE_S,
        variables={
            "files": file_variables(files, changes),
            "remove": stale,
            "active": _active(lock),
            "ssh": ssh,
        },
    )


def _summary(lock: StackLock) -> str:
    versions = list(toolkits(lock).values())
    if not versions:
        return (
            "make this stack the one that login shells find"
            if lock.spec.activate
            else ("remove what led to a toolkit that the lock does not have")
        )
    beside = f", with {' and '.join(versions[1:])} beside it" if versions[1:] else ""
    return f"make CUDA {versions[0]} the active one{beside}"


def _why(link: Change | None, lock: StackLock) -> str:
    if link is not None and link.before is not None:
        return f"{link.name} leads to {link.before}"
    if not toolkits(lock) and not lock.spec.activate:
        return "they are cudactl's, of an earlier lock"
    return "shells, services and modules do not find it otherwise"


def _link(lock: StackLock, state: HostState) -> Change | None:
    """Return the change of the link that decides, or None where it is right."""
    if lock.target.packages == "wheels":
        name, before = ACTIVE_STACK, state.active_stack
        before = None if before is None else f"{STACKS}/{before}"
        after = stack_folder(lock)
    else:
        cuda = lock.resolved.get("cuda")
        if cuda is None:
            return None
        name, after = ACTIVE, cuda_home(cuda)
        before = state.alternatives.get("cuda")
        found = state.vendor_files.active_toolkit if state.vendor_files is not None else None
        if before is None and found is not None:
            before = found
    return Change(kind="link", name=name, before=before, after=after) if before != after else None


def _active(lock: StackLock) -> dict[str, str]:
    """Return the link that decides and where it leads."""
    if lock.target.packages == "wheels":
        return {"link": ACTIVE_STACK, "target": stack_folder(lock)}
    cuda = lock.resolved.get("cuda")
    return {} if cuda is None else {"link": ACTIVE, "target": cuda_home(cuda)}


def _ours(path: str) -> bool:
    return path in (PROFILE, SERVICE, SSH) or path.startswith(MODULEFILES + "/")
