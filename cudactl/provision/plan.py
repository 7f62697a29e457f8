"""The plan: lock × state → steps. Pure; the same inputs always give the same plan.

The controller makes it once to show it, and Ansible's first task makes it again from the host's
fresh state: only when both hash the same does anything change.
"""

from __future__ import annotations

from collections.abc import Collection

from cudactl.contracts.base import canonical_hash
from cudactl.contracts.lock import LockedPackage, StackLock
from cudactl.contracts.plan import Change, Finding, Plan, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.desired import (
    DesiredFile,
    environment_files,
    protection_files,
    repository_files,
    stack_folder,
)
from cudactl.provision.preflight import (
    disk_findings,
    readiness_findings,
    refuse,
    remark,
    source_findings,
    target_findings,
)

# Rough rates for the time shown beside a step, from runs over a local network: bytes per second
# for fetching and for unpacking, seconds per package for maintainer scripts. An estimate, said so.
FETCH_RATE = 25e6
UNPACK_RATE = 60e6
PER_PACKAGE_S = 0.15
PER_ROLE_S = 2.0
# What of a state may differ without the plan being another one.
VOLATILE = {
    "taken_at",
    "duration_s",
    "probe_version",
    "euid",
    "disks",
    "gpu_processes",
    "dpkg_locked",
    "host_lock",
    "certificate",
    "python",
}
HOST_COMPILER = ("g++", "build-essential")


def make_plan(
    host: str,
    lock: StackLock,
    state: HostState,
    *,
    now: float,
    no_obstacle: Collection[str] = (),
) -> Plan:
    """Return what has to change on `host` so that it carries `lock`.

    Args:
        host: Name the plan is for.
        lock: The lock.
        state: The host's state.
        now: Unix time, seconds; only the claim of another run depends on it.
        no_obstacle: Runs whose claim on the host is no refusal: our own, and one known to be dead.
    """
    findings = target_findings(lock, state)
    steps: list[PlanStep] = []
    if not findings:
        steps = [
            step
            for step in (
                _repository(lock, state),
                _packages(lock, state),
                _host_compiler(lock, state),
                _wheel_stack(lock, state),
                _environment(lock, state),
                _protection(lock, state),
            )
            if step is not None
        ]
        findings += source_findings(lock, state)
        findings += _driver_findings(lock, state, steps)
        if steps:
            findings += readiness_findings(state, no_obstacle, now)
            findings += disk_findings(state, _room(lock, steps))
    if state.os.look_alike:
        findings.append(
            remark("LOOK-ALIKE", f"{state.os.pretty}: a lab base that only carries that identity")
        )
    return Plan(
        host=host,
        lock_hash=lock.hash,
        state_hash=canonical_hash(state.model_dump(mode="json", exclude=VOLATILE)),
        steps=steps,
        findings=findings,
    )


def _file_changes(files: list[DesiredFile], state: HostState) -> list[Change]:
    there = {f.path: f.sha256 for f in state.files}
    return [
        Change(kind="file", name=f.path, before=there.get(f.path), after=f.sha256)
        for f in files
        if there.get(f.path) != f.sha256
    ]


def _file_variables(files: list[DesiredFile], changes: list[Change]) -> list[dict[str, str]]:
    wanted = {c.name for c in changes}
    return [f.model_dump(mode="json") for f in files if f.path in wanted]


def _repository(lock: StackLock, state: HostState) -> PlanStep | None:
    files = repository_files(lock)
    changes = _file_changes(files, state)
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
        variables={"files": _file_variables(files, changes)},
    )


def _apt_packages(lock: StackLock) -> list[LockedPackage]:
    names = {s.name for s in lock.sources if s.kind == "apt"}
    return [p for p in lock.packages if p.source in names]


def _installed(state: HostState, package: LockedPackage) -> str | None:
    if package.name in state.packages:
        return state.packages[package.name]
    return state.packages.get(f"{package.name}:{package.arch}")


def _packages(lock: StackLock, state: HostState) -> PlanStep | None:
    closure = _apt_packages(lock)
    wrong = [p for p in closure if _installed(state, p) != p.version]
    if not wrong:
        return None
    outside = [e.name for e in lock.external if e.name not in state.packages]
    changes = [
        Change(kind="package", name=p.name, before=_installed(state, p), after=p.version)
        for p in wrong
    ]
    new = sum(1 for c in changes if c.before is None)
    words = [f"install {new}"] if new else []
    if new < len(changes):
        words.append(f"change {len(changes) - new}")
    driver = [p for p in wrong if p.component == "driver"]
    size = sum(p.size for p in wrong)
    room = sum(p.installed_bytes or p.size * 3 for p in wrong)
    return PlanStep(
        id="packages.install",
        role="packages",
        summary=f"{' and '.join(words)} of the lock's {len(closure)} packages, in one transaction",
        reason=_why_packages(lock, changes)
        + (f"; the distribution adds what they need ({', '.join(outside)})" if outside else ""),
        risk="reboot" if driver else "none",
        changes=changes,
        download_bytes=size,
        seconds=PER_ROLE_S + size / FETCH_RATE + room / UNPACK_RATE + PER_PACKAGE_S * len(wrong),
        variables={
            "top_level": [p.name for p in closure if p.top_level],
            "closure": {p.name: p.version for p in closure},
            "install": [f"{p.name}={p.version}" for p in wrong],
            "room_bytes": room,
        },
    )


def _why_packages(lock: StackLock, changes: list[Change]) -> str:
    upgrades = [c for c in changes if c.before is not None]
    if not upgrades:
        parts = [f"{name} {version}" for name, version in sorted(lock.resolved.items())]
        return f"the lock wants {', '.join(parts)}"
    first = upgrades[0]
    more = f" and {len(upgrades) - 1} more" if len(upgrades) > 1 else ""
    return f"{first.name} is {first.before}, the lock says {first.after}{more}"


def _host_compiler(lock: StackLock, state: HostState) -> PlanStep | None:
    """nvcc drives the host's C++ compiler; the nvcc wheels do not bring one."""
    if lock.target.packages != "wheels" or lock.package("nvidia-cuda-nvcc") is None:
        return None
    if any(name in state.packages for name in HOST_COMPILER):
        return None
    return PlanStep(
        id="packages.host_compiler",
        role="packages",
        summary="install g++ from the distribution",
        reason="nvcc compiles the host side of a program with it",
        changes=[Change(kind="package", name="g++", after="the distribution's")],
        seconds=30.0,
        variables={"top_level": [], "closure": {}, "install": ["g++"], "room_bytes": 0},
    )


def _wheel_stack(lock: StackLock, state: HostState) -> PlanStep | None:
    if lock.target.packages != "wheels":
        return None
    wanted = {p.filename: p.sha256 for p in lock.packages}
    there = next((s for s in state.stacks if s.lock == lock.short_hash), None)
    if there is not None and there.complete and there.wheels == wanted:
        return None
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
            )
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


def _environment(lock: StackLock, state: HostState) -> PlanStep | None:
    files = environment_files(lock)
    changes = _file_changes(files, state)
    if not changes:
        return None
    return PlanStep(
        id="environment.profile",
        role="environment",
        summary=f"make CUDA {lock.resolved.get('cuda')} the one login shells find",
        reason="nvcc is not on the PATH otherwise",
        changes=changes,
        seconds=PER_ROLE_S,
        variables={"files": _file_variables(files, changes)},
    )


def _protection(lock: StackLock, state: HostState) -> PlanStep | None:
    names = [p.name for p in _apt_packages(lock)]
    files = protection_files(lock)
    changes = _file_changes(files, state)
    unheld = [n for n in names if n not in state.holds]
    changes += [Change(kind="hold", name=n, after="hold") for n in unheld]
    if not changes:
        return None
    return PlanStep(
        id="protection.hold",
        role="protection",
        summary=f"hold exactly these {len(names)} packages, also against unattended upgrades",
        reason="one library upgraded alone breaks the driver or cuDNN until the next repair; "
        "everything else keeps its security updates",
        changes=changes,
        seconds=PER_ROLE_S,
        variables={"files": _file_variables(files, changes), "hold": unheld},
    )


def _driver_findings(lock: StackLock, state: HostState, steps: list[PlanStep]) -> list[Finding]:
    wanted = lock.resolved.get("driver")
    if wanted is None or wanted in ("none", "preinstalled"):
        return []
    findings: list[Finding] = []
    if any(step.risk == "reboot" for step in steps):
        if state.gpu_processes:
            names = ", ".join(f"{p.name} ({p.pid})" for p in state.gpu_processes[:5])
            findings.append(
                refuse(
                    "PREFLIGHT-GPU-BUSY",
                    f"processes use the GPU: {names}",
                    "an idle GPU, because the driver's libraries are replaced under them",
                    "stop them (or drain the node) first",
                )
            )
        if state.gpus:
            findings.append(
                remark("DRIVER-NEEDS-REBOOT", f"driver {wanted} is in use from the next boot on")
            )
    elif state.gpus and state.module.loaded != wanted:
        loaded = state.module.loaded or "none"
        findings.append(
            remark(
                "DRIVER-NOT-LOADED",
                f"driver {wanted} is installed, the loaded module is {loaded}",
                "reboot the host",
            )
        )
    return findings


def _room(lock: StackLock, steps: list[PlanStep]) -> dict[str, int]:
    """Return path → bytes that the steps write below it."""
    needs: dict[str, int] = {}
    for step in steps:
        room = int(step.variables.get("room_bytes", 0))
        if step.role == "wheel_stack":
            needs["/opt"] = needs.get("/opt", 0) + room
        elif step.role == "packages":
            needs["/"] = needs.get("/", 0) + room
            needs["/var"] = needs.get("/var", 0) + step.download_bytes
    return needs
