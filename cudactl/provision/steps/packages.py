"""`packages`: the closure in one apt transaction, and what the distribution must bring."""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.state import BrokenPackage, HostState
from cudactl.provision.steps.apt import installed_version, locked_debs
from cudactl.provision.steps.distribution import compiler_missing, distribution_changes
from cudactl.provision.steps.driver_facts import headers_missing, leftovers
from cudactl.provision.steps.kept import (
    deb_file,
    keep_changes,
    keep_variables,
    kept_files,
    kept_folder,
)
from cudactl.provision.steps.rates import FETCH_RATE, PER_PACKAGE_S, PER_ROLE_S, UNPACK_RATE


def packages_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the transaction that brings every locked package to its version."""
    closure = locked_debs(lock)
    wrong = [p for p in closure if installed_version(state, p) != p.version]
    headers, gone = headers_missing(lock, state), leftovers(lock, state)
    if not wrong and not headers and not gone:
        return None
    outside = distribution_changes(lock, state)
    changes = [
        Change(kind="package", name=p.name, before=installed_version(state, p), after=p.version)
        for p in wrong
    ]
    removals = [Change(kind="package", name=name, before=state.packages[name]) for name in gone]
    # A package's hold goes with it.
    removals += [Change(kind="hold", name=n, before="hold") for n in gone if n in state.holds]
    driver = [p for p in wrong if p.component == "driver"]
    kept = kept_files(lock, state)
    fetched = [p for p in wrong if deb_file(p) not in kept]
    size = sum(p.size for p in fetched)
    room = sum(p.installed_bytes or p.size * 3 for p in wrong)
    return PlanStep(
        id="packages.install",
        role="packages",
        summary=_summary(changes, len(closure), headers, gone),
        reason=(_why_packages(lock, changes) if wrong else _why_around(headers, gone))
        + (
            f"; the distribution adds what they need ({', '.join(c.name for c in outside)})"
            if outside
            else ""
        ),
        risk="reboot" if driver else "none",
        changes=[*changes, *removals, *outside, *keep_changes(lock, state, wrong)],
        download_bytes=size,
        seconds=PER_ROLE_S + size / FETCH_RATE + room / UNPACK_RATE + PER_PACKAGE_S * len(wrong),
        variables={
            "top_level": [p.name for p in closure if p.top_level],
            "closure": {p.name: p.version for p in closure},
            "install": [*(f"{p.name}={p.version}" for p in wrong), *headers],
            "remove": gone,
            "room_bytes": room,
            "keep": keep_variables(lock, state, wrong, closure),
            # Nothing is fetched: the lists are not read, so the repository may be gone.
            "from_kept": not fetched and not headers,
        },
    )


def _why_outside(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"; the distribution adds what they need ({', '.join(names[:5])}{more})"


def _summary(changes: list[Change], locked: int, headers: list[str], gone: list[str]) -> str:
    new = sum(1 for c in changes if c.before is None)
    words = [f"install {new}"] if new else []
    if new < len(changes):
        words.append(f"change {len(changes) - new}")
    said = [f"{' and '.join(words)} of the lock's {locked} packages"] if words else []
    if headers:
        said.append(f"install {', '.join(headers)}")
    if gone:
        said.append(f"remove {len(gone)} of another driver")
    return f"{'; '.join(said)}, in one transaction"


def _why_around(headers: list[str], gone: list[str]) -> str:
    why = ["the driver's module cannot be built without the kernel's headers"] if headers else []
    if gone:
        shown = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        why.append(f"{shown} cannot stay beside the lock's driver")
    return "; ".join(why)


def _why_packages(lock: StackLock, changes: list[Change]) -> str:
    upgrades = [c for c in changes if c.before is not None]
    if not upgrades:
        parts = [f"{name} {version}" for name, version in sorted(lock.resolved.items())]
        return f"the lock wants {', '.join(parts)}"
    first = upgrades[0]
    more = f" and {len(upgrades) - 1} more" if len(upgrades) > 1 else ""
    return f"{first.name} is {first.before}, the lock says {first.after}{more}"


def host_compiler_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """nvcc drives the host's C++ compiler; the nvcc wheels do not bring one."""
    if not compiler_missing(lock, state):
        return None
    return PlanStep(
        id="packages.host_compiler",
        role="packages",
        summary="install g++ from the distribution",
        reason="nvcc compiles the host side of a program with it",
        changes=distribution_changes(lock, state),
        seconds=30.0,
        variables={
            "top_level": [],
            "closure": {},
            "install": ["g++"],
            "room_bytes": 0,
            "from_kept": False,
        },
    )


def unmendable(lock: StackLock, state: HostState) -> list[BrokenPackage]:
    """Return the broken packages that are none of ours: a person has to say what becomes of them.

    Ours are the lock's own, all that the transaction of an interrupted run touched, and triggers of
    others that its packages pulled (libc-bin's, say, when a library was unpacked).
    """
    ours = {p.name for p in locked_debs(lock)} | set(state.records.brought)
    run = state.records.interrupted
    if run is not None:
        ours.update(run.packages)

    def is_ours(broken: BrokenPackage) -> bool:
        pulled = run is not None and broken.status.split()[-1].startswith("triggers-")
        return pulled or broken.name.partition(":")[0] in ours

    return [b for b in state.broken if not is_ours(b)]


def mend_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that finishes what dpkg was stopped in, where that was our own doing."""
    if not (state.broken or state.dpkg_interrupted) or unmendable(lock, state):
        return None
    if not state.broken and state.records.interrupted is None:
        return None
    kept = kept_files(lock, state)
    files = {p.name: deb_file(p) for p in locked_debs(lock)}
    names = [b.name.partition(":")[0] for b in state.broken]
    run = state.records.interrupted
    changes = [
        Change(kind="package", name=b.name, before=b.status.split()[-1], after="installed")
        for b in state.broken
    ]
    if not changes:
        status = "/var/lib/dpkg/status"
        changes = [Change(kind="file", name=status, before="interrupted", after="settled")]
    return PlanStep(
        id="packages.mend",
        role="packages",
        summary="finish what dpkg was stopped in: " + (", ".join(names[:5]) or "its own records"),
        reason=f"run {run.run_id} did not come to its end" if run else "an earlier run was stopped",
        changes=changes,
        seconds=PER_ROLE_S + PER_PACKAGE_S * len(names),
        variables={
            "top_level": [],
            "closure": {},
            "install": [],
            "room_bytes": 0,
            "from_kept": True,
            "mend": [
                f"{kept_folder(lock.short_hash)}/{files[name]}"
                for name in names
                if files.get(name) in kept
            ],
        },
    )
