"""`repository`: key, source and pins; what others left in the way is moved aside by choice only."""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.preferences import GENERATED, apt_preferences
from cudactl.contracts.state import HostState
from cudactl.provision.steps.apt import deb_architecture
from cudactl.provision.steps.apt_obstacles import Obstacle, apt_obstacles, key_path
from cudactl.provision.steps.files import DesiredFile, file_changes, file_variables
from cudactl.provision.steps.rates import PER_ROLE_S

COPIES = "/var/lib/cudactl/taken-over"
# Where only this role writes: what lies there and is not the lock's is left from another lock.
OWN = ("/etc/apt/sources.list.d/cudactl-", "/usr/share/keyrings/cudactl-")


def repository_files(lock: StackLock) -> list[DesiredFile]:
    """Return key, deb822 source and preferences for every apt source of the lock.

    The distribution's own archive is known to the host already: only its pins are placed.
    """
    files: list[DesiredFile] = []
    for source in lock.sources:
        if source.kind != "apt" or source.distribution:
            continue
        head = GENERATED.format(lock=lock.short_hash)
        key = key_path(source.name)
        files.append(DesiredFile(path=key, content=source.signing_key or ""))
        files.append(
            DesiredFile(
                path=f"/etc/apt/sources.list.d/cudactl-{source.name}.sources",
                content=head
                + "Types: deb\n"
                + f"URIs: {source.url}\n"
                + "Suites: ./\n"
                + f"Architectures: {deb_architecture(lock)}\n"
                + f"Signed-By: {key}\n",
            )
        )
    pins = apt_preferences(lock)
    if pins:
        files.append(DesiredFile(path="/etc/apt/preferences.d/cudactl-lock.pref", content=pins))
    return files


def taken_over(lock: StackLock, state: HostState, choices: Choices) -> list[Obstacle]:
    """Return what is moved aside, each file once; never what somebody else writes again."""
    if not choices.take_over:
        return []
    first: dict[str, Obstacle] = {}
    for obstacle in apt_obstacles(lock, state):
        if obstacle.movable and obstacle.path not in state.managed:
            first.setdefault(obstacle.path, obstacle)
    return list(first.values())


def repository_step(lock: StackLock, state: HostState, choices: Choices) -> PlanStep | None:
    """Return the step that places what differs, and takes away what is in the way."""
    files = repository_files(lock)
    placed = file_changes(files, state)
    wanted = {file.path for file in files}
    left = [f for f in state.files if f.path.startswith(OWN) and f.path not in wanted]
    aside = taken_over(lock, state, choices)
    changes = [
        *placed,
        *(Change(kind="file", name=f.path, before=f.sha256) for f in left),
        *(Change(kind="file", name=o.path, before=o.sha256) for o in aside),
        *(
            Change(kind="file", name=COPIES + o.path, after=o.sha256)
            for o in aside
            # An earlier copy may be the same; it is not lost where it is not.
            if o.path not in state.records.taken_over
        ),
    ]
    if not changes:
        return None
    sources = ", ".join(s.url for s in lock.sources if s.kind == "apt" and not s.distribution)
    words = [f"place key, source and pins for {sources}"] if placed and sources else []
    words += ["place the lock's pins"] if placed and not sources else []
    words += [f"remove {len(left)} files of another lock"] if left else []
    words += [f"move {', '.join(o.path for o in aside)} aside"] if aside else []
    reason = "the lock's exact versions come from there, and nothing else may replace them"
    if aside:
        reason += "; taken over: " + "; ".join(o.found for o in aside)
    return PlanStep(
        id="repository.source",
        role="repository",
        summary=", ".join(words),
        reason=reason,
        changes=changes,
        seconds=PER_ROLE_S * 2,
        variables={
            "files": file_variables(files, placed),
            "remove": [f.path for f in left],
            "aside": [{"path": o.path, "sha256": o.sha256} for o in aside],
        },
    )
