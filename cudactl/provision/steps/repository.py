"""`repository`: key, source and pins."""

from __future__ import annotations

from cudactl.contracts.lock import LockSource, StackLock
from cudactl.contracts.plan import Choices, PlanStep
from cudactl.contracts.preferences import GENERATED, apt_preferences
from cudactl.contracts.state import HostState
from cudactl.provision.steps.apt import deb_architecture
from cudactl.provision.steps.files import DesiredFile, file_changes, file_variables
from cudactl.provision.steps.rates import PER_ROLE_S


def key_path(source: LockSource) -> str:
    """Return where the source's public key lies on a host."""
    return f"/usr/share/keyrings/cudactl-{source.name}.asc"


def repository_files(lock: StackLock) -> list[DesiredFile]:
    """Return key, deb822 source and preferences for every apt source of the lock."""
    files: list[DesiredFile] = []
    for source in lock.sources:
        if source.kind != "apt":
            continue
        head = GENERATED.format(lock=lock.short_hash)
        files.append(DesiredFile(path=key_path(source), content=source.signing_key or ""))
        files.append(
            DesiredFile(
                path=f"/etc/apt/sources.list.d/cudactl-{source.name}.sources",
                content=head
                + "Types: deb\n"
                + f"URIs: {source.url}\n"
                + "Suites: ./\n"
                + f"Architectures: {deb_architecture(lock)}\n"
                + f"Signed-By: {key_path(source)}\n",
            )
        )
    pins = apt_preferences(lock)
    if pins:
        files.append(DesiredFile(path="/etc/apt/preferences.d/cudactl-lock.pref", content=pins))
    return files


def repository_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that places what differs."""
    files = repository_files(lock)
    changes = file_changes(files, state)
    if not changes:
        return None
    sources = ", ".join(s.url for s in lock.sources if s.kind == "apt")
    return PlanStep(
        id="repository.source",
        role="repository",
        summary=f"place key, source and pins for {sources}",
        reason="the lock's exact versions come from there, and nothing else may replace them",
        changes=changes,
        seconds=PER_ROLE_S * 2,
        variables={"files": file_variables(files, changes)},
    )
