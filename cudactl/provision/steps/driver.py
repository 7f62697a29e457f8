"""`driver`: the module for every kernel that matters, nouveau kept out, parameters, persistence.

The packages themselves are part of the one transaction. What they leave behind is held against the
lock here: a DKMS build that failed is a failure, and the initramfs is looked into.
"""

from __future__ import annotations

from typing import Any

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.steps.apt import installed_version, locked_debs
from cudactl.provision.steps.driver_facts import built_by_dkms, driver_version, without_module
from cudactl.provision.steps.files import DesiredFile, file_changes, file_variables
from cudactl.provision.steps.rates import PER_ROLE_S

NOUVEAU = "/etc/modprobe.d/cudactl-nouveau.conf"
PARAMETERS = "/etc/modprobe.d/cudactl-nvidia.conf"
MODULES = "/etc/modules-load.d/cudactl-nvidia.conf"
PERSISTENCE = "nvidia-persistenced.service"
PERSISTENCE_DROP_IN = f"/etc/systemd/system/{PERSISTENCE}.d/cudactl-persistence.conf"
# Without the lock's name: another lock is no reason to make an initramfs again.
HEAD = "# Written by cudactl; changes here are overwritten.\n"
# Names of the modules that a spec's words stand for.
MODULE_NAMES = {"peermem": "nvidia-peermem", "gdrcopy": "gdrdrv"}
# Packages that bring the persistence daemon: NVIDIA's for Ubuntu, Ubuntu's, and Debian's.
_BRINGS_PERSISTENCE = ("nvidia-compute-utils", "nvidia-persistenced")
BUILD_S = 240.0
"""A DKMS build, seconds: 222 and 348 on two cores (535 on Debian 12, 550 on Debian 13)."""
INITRAMFS_S = 20.0


def driver_files(lock: StackLock) -> list[DesiredFile]:
    """Return the files that the driver needs beside its packages."""
    if driver_version(lock) is None:
        return []
    head = HEAD
    spec = lock.spec.driver
    parameters = spec.parameters if spec is not None else {}
    modules = spec.modules if spec is not None else []
    files = [
        DesiredFile(path=NOUVEAU, content=f"{head}blacklist nouveau\noptions nouveau modeset=0\n")
    ]
    if parameters:
        said = " ".join(f"{name}={value}" for name, value in sorted(parameters.items()))
        # Debian's archive has the module under a name of its own, with "nvidia" as its alias.
        files.append(DesiredFile(path=PARAMETERS, content=f"{head}options nvidia {said}\n"))
    if modules:
        lines = "".join(f"{MODULE_NAMES[name]}\n" for name in sorted(set(modules)))
        files.append(DesiredFile(path=MODULES, content=head + lines))
    if keeps_persistence(lock):
        # Ubuntu starts the daemon without persistence mode; the tool asks the daemon for it.
        files.append(
            DesiredFile(
                path=PERSISTENCE_DROP_IN,
                content=f"{head}[Service]\n"
                "ExecStartPost=-/usr/bin/nvidia-smi --persistence-mode=1\n",
            )
        )
    return files


def keeps_persistence(lock: StackLock) -> bool:
    """Return True when the persistence daemon is to run."""
    return lock.spec.driver is None or lock.spec.driver.persistence


def driver_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that makes the lock's driver the one that every boot takes."""
    version = driver_version(lock)
    if version is None:
        return _clean_step(state)
    files = driver_files(lock)
    placed = file_changes(files, state)
    stale = _stale(files, state)
    images = initramfs_behind(lock, state)
    missing = without_module(lock, state)
    service = _persistence(lock, state)
    changes = [
        *placed,
        *(Change(kind="file", name=f.path, before=f.sha256) for f in stale),
        *(
            Change(
                kind="module",
                name=f"nvidia for {kernel}",
                before=_on_disk(state, kernel),
                after=version,
            )
            for kernel in missing
        ),
        *(
            Change(
                kind="file",
                name=f"/boot/initrd.img-{kernel}",
                before="before these files",
                after="without nouveau",
            )
            for kernel in images
        ),
        *service,
    ]
    if not changes:
        return None
    builds = missing if built_by_dkms(lock) else []
    return PlanStep(
        id="driver.module",
        role="driver",
        summary=_summary(version, missing, images),
        reason=_reason(lock, state, missing),
        changes=changes,
        seconds=PER_ROLE_S + BUILD_S * len(builds) + INITRAMFS_S * len(images),
        variables={
            "version": version,
            "flavour": lock.driver_flavour,
            "dkms": built_by_dkms(lock),
            "kernels": missing,
            "files": file_variables(files, changes),
            "remove": [f.path for f in stale],
            "initramfs": images,
            "services": [_service_variables(c) for c in service],
        },
    )


def _clean_step(state: HostState) -> PlanStep | None:
    """Return the step that takes our files away where the lock has no driver any more."""
    stale = _stale([], state)
    if not stale:
        return None
    images = sorted(state.kernel.initramfs) if any(f.path == NOUVEAU for f in stale) else []
    return PlanStep(
        id="driver.files",
        role="driver",
        summary="remove what an earlier lock's driver needed",
        reason="the lock brings no driver",
        changes=[
            *(Change(kind="file", name=f.path, before=f.sha256) for f in stale),
            *(
                Change(
                    kind="file",
                    name=f"/boot/initrd.img-{k}",
                    before="with these files",
                    after="without them",
                )
                for k in images
            ),
        ],
        seconds=PER_ROLE_S + INITRAMFS_S * len(images),
        variables={
            "dkms": False,
            "kernels": [],
            "files": [],
            "remove": [f.path for f in stale],
            "initramfs": images,
            "services": [],
        },
    )


def _stale(files: list[DesiredFile], state: HostState) -> list[Any]:
    wanted = {f.path for f in files}
    ours = {NOUVEAU, PARAMETERS, MODULES, PERSISTENCE_DROP_IN}
    return [f for f in state.files if f.path in ours - wanted]


def initramfs_behind(lock: StackLock, state: HostState) -> list[str]:
    """Return the kernels whose initramfs does not have what is in modprobe's folder yet.

    nouveau is loaded from the initramfs, long before anything on the root file system is read.
    """
    files = [f for f in driver_files(lock) if f.path in (NOUVEAU, PARAMETERS)]
    there = {f.path: f for f in state.files}
    if file_changes(files, state) or (PARAMETERS in there and len(files) == 1):
        return sorted(state.kernel.initramfs)
    newest = max((there[f.path].written for f in files), default=0.0)
    return sorted(k for k, written in state.kernel.initramfs.items() if written < newest)


def _persistence(lock: StackLock, state: HostState) -> list[Change]:
    """Return the change of the persistence daemon's unit, where it is or will be installed."""
    wanted = keeps_persistence(lock)
    there = state.services.get(PERSISTENCE)
    if there is None:
        coming = [
            p.name
            for p in locked_debs(lock)
            if p.name.startswith(_BRINGS_PERSISTENCE) and installed_version(state, p) is None
        ]
        if not coming:
            return []
        return [_enabling(None, wanted)]
    return [] if there.enabled == wanted else [_enabling(there.enabled, wanted)]


def _enabling(before: bool | None, after: bool) -> Change:
    words = {None: None, True: "enabled", False: "disabled"}
    return Change(kind="service", name=PERSISTENCE, before=words[before], after=words[after])


def _service_variables(change: Change) -> dict[str, Any]:
    return {"name": change.name, "enabled": change.after == "enabled"}


def _on_disk(state: HostState, kernel: str) -> str | None:
    return state.module.on_disk.get(kernel)


def _summary(version: str, missing: list[str], images: list[str]) -> str:
    words = []
    if missing:
        words.append(f"see that driver {version} has its module for kernel {' and '.join(missing)}")
    if images:
        words.append(f"keep nouveau out of {len(images)} initramfs")
    return "; ".join(words) or f"place what driver {version} needs beside its packages"


def _reason(lock: StackLock, state: HostState, missing: list[str]) -> str:
    if missing:
        failed = [
            b for b in state.module.dkms if b.kernel in missing and b.status in ("failed", "added")
        ]
        if failed:
            return f"DKMS has {failed[0].module} {failed[0].version} as {failed[0].status}"
        return "without it the GPUs are gone when that kernel runs"
    return "nouveau, parameters and persistence are settled before the driver loads"
