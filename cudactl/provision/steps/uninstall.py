"""`uninstall`: take away what cudactl put on a host, and nothing else.

Packages that were there before cudactl's first run stay, and so does what the distribution brought
along: others may have come to need it. Certificates, locks and history stay unless purged.
"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.apt import installed_version, locked_debs
from cudactl.provision.steps.container_runtime import docker_removal
from cudactl.provision.steps.kept import kept_folder
from cudactl.provision.steps.rates import PER_PACKAGE_S, PER_ROLE_S
from cudactl.provision.steps.wheel_stack import STACKS

BASE = "/var/lib/cudactl"
OPT = "/opt/cudactl"
PINS = "/etc/apt/preferences.d/cudactl-lock.pref"
# What has to read a folder again when a file goes from it.
READERS = {
    "ldconfig": "/etc/ld.so.conf.d/",
    "initramfs": "/etc/mod",
    "systemd": "/etc/systemd/system/",
    "ssh": "/etc/ssh/sshd_config.d/",
}


def brought(lock: StackLock, state: HostState) -> list[str]:
    """Return the installed packages that came by cudactl, by name."""
    known = state.records.brought
    names = {name for name, before in known.items() if before is None}
    if any(f.path == PINS for f in state.files):
        # A host of an older cudactl, which did not write down what it brought.
        names |= {p.name for p in locked_debs(lock) if p.name not in known}
    arch = {p.name: f"{p.name}:{p.arch}" for p in locked_debs(lock)}
    return sorted(n for n in names if n in state.packages or arch.get(n, n) in state.packages)


def uninstall_steps(lock: StackLock, state: HostState, choices: Choices) -> list[PlanStep]:
    """Return the steps, in the order in which they are done."""
    toolkit = "nvidia-container-toolkit" in brought(lock, state)
    made = (
        docker_removal(state) if toolkit else None,
        _packages(lock, state, choices),
        _files(state),
        _stacks(state),
        _kept(state, choices),
    )
    return [step for step in made if step is not None]


def uninstall_findings(lock: StackLock, state: HostState, steps: list[PlanStep]) -> list[Finding]:
    """Refuse to take the driver from under work that runs, and name what stays."""
    findings = []
    if any(step.risk == "reboot" for step in steps) and state.gpu_processes:
        names = ", ".join(f"{p.name} ({p.pid})" for p in state.gpu_processes[:5])
        findings.append(
            refuse(
                "PREFLIGHT-GPU-BUSY",
                f"processes use the GPU: {names}",
                "an idle GPU, because the driver goes from under them",
                "stop them (or drain the node) first",
            )
        )
    before = {n: v for n, v in state.records.brought.items() if v and n in state.packages}
    if before and steps:
        some = ", ".join(sorted(before)[:3]) + (", …" if len(before) > 3 else "")
        findings.append(
            remark(
                "UNINSTALL-LEFT",
                f"{len(before)} packages were there before cudactl and stay, at the version that "
                f"is there now: {some}",
            )
        )
    if any(step.id == "uninstall.packages" for step in steps):
        findings.append(
            remark(
                "UNINSTALL-ALONG",
                "packages of the distribution that came along stay",
                "apt-get autoremove shows them, and takes away what nothing needs",
            )
        )
    return findings


def _packages(lock: StackLock, state: HostState, choices: Choices) -> PlanStep | None:
    names = brought(lock, state)
    known = {*state.records.brought, *(p.name for p in locked_debs(lock))}
    held = [n for n in state.holds if n in known]
    changes = [Change(kind="hold", name=n, before="hold") for n in held]
    version = {p.name: installed_version(state, p) for p in locked_debs(lock)}
    changes += [
        Change(kind="package", name=n, before=state.packages.get(n) or version.get(n))
        for n in names
    ]
    if not changes:
        return None
    driver = {p.name for p in lock.of("driver")} & set(names)
    return PlanStep(
        id="uninstall.packages",
        role="uninstall",
        summary=f"let go of {len(held)} and remove {len(names)} packages, in one transaction",
        reason="cudactl brought them",
        risk="reboot" if driver else "none",
        changes=changes,
        seconds=PER_ROLE_S + PER_PACKAGE_S * len(names),
        variables={"unhold": held, "packages": names, "purge": choices.purge},
    )


def _files(state: HostState) -> PlanStep | None:
    paths = sorted(f.path for f in state.files)
    restored = state.records.taken_over
    changes = [
        Change(kind="file", name=f.path, before=f.sha256)
        for f in sorted(state.files, key=lambda f: f.path)
    ]
    changes += [Change(kind="file", name=path, after="as it was") for path in restored]
    if not changes:
        return None
    return PlanStep(
        id="uninstall.files",
        role="uninstall",
        summary=f"remove {len(paths)} files of cudactl's"
        + (f" and put {len(restored)} of others back" if restored else ""),
        reason="sources, keys, pins, environment, protection and what leads to the toolkit",
        changes=changes,
        seconds=PER_ROLE_S,
        variables={
            "files": paths,
            "restore": [{"copy": f"{BASE}/taken-over{p}", "path": p} for p in restored],
            "folders": [OPT] if any(p.startswith(f"{OPT}/") for p in paths) else [],
            "readers": [
                name for name, start in READERS.items() if any(p.startswith(start) for p in paths)
            ],
        },
    )


def _stacks(state: HostState) -> PlanStep | None:
    changes = [
        Change(kind="folder", name=f"{STACKS}/{s.lock}", before=s.lock) for s in state.stacks
    ]
    if state.active_stack is not None:
        changes.append(Change(kind="link", name=f"{OPT}/active", before=state.active_stack))
    if not changes:
        return None
    return PlanStep(
        id="uninstall.stacks",
        role="uninstall",
        summary=f"remove {len(state.stacks)} wheel stacks",
        reason="cudactl unpacked them",
        changes=changes,
        seconds=PER_ROLE_S,
        variables={"folders": [OPT]},
    )


def _kept(state: HostState, choices: Choices) -> PlanStep | None:
    records = state.records
    changes = [Change(kind="folder", name=kept_folder(k.lock), before=k.lock) for k in records.kept]
    there = bool(changes or records.locks or records.certified or state.certificate)
    if choices.purge and there:
        changes.append(Change(kind="folder", name=BASE, before="certificates and history"))
    if not changes:
        return None
    return PlanStep(
        id="uninstall.kept",
        role="uninstall",
        summary="remove kept packages" + (", certificates and history" if choices.purge else ""),
        reason="--purge was given" if choices.purge else "there is nothing to go back to by them",
        changes=changes,
        seconds=PER_ROLE_S,
        variables={"folders": [BASE] if choices.purge else [f"{BASE}/packages"]},
    )
