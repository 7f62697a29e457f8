"""A lock of the packages that are installed, from the signed index that they came from.

dpkg keeps no hash of the file that a package came from, so hashes and sizes are the index's for the
same name, version and architecture; what the index does not have is remarked on, not locked. The
captured spec is then locked in the usual way: where that gives the same packages it is the lock,
with all its reasons; otherwise the lock holds what is installed, and the difference is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from cudactl.contracts.capture import CaptureRemark
from cudactl.contracts.lock import (
    Allowance,
    Component,
    ExternalDependency,
    LockedPackage,
    LockSource,
    LockTarget,
    StackLock,
)
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.state import HostState
from cudactl.stack.capture.packages import component_of, from_distribution
from cudactl.stack.capture.remarks import listed
from cudactl.stack.capture.spec import CapturedSpec
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Flavour
from cudactl.stack.index.apt import AptIndex
from cudactl.stack.index.fetching import without_password
from cudactl.stack.index.packages import Package, Relation
from cudactl.stack.lock.locking import SOURCE, lock_apt
from cudactl.stack.refusals import StackRefused
from cudactl.stack.refusals import listed as shortened
from cudactl.stack.solver.constraints import ALLOWABLE
from cudactl.stack.spec.file import spec_hash

REASON = "captured: this is what is installed"
MOST_OVERRIDES = 10
COMPONENT_KEYS: tuple[Component, ...] = (
    *("cuda", "cudnn", "tensorrt", "tensorrt_rtx", "nccl", "dcgm", "container_toolkit"),
)

Taken = dict[str, tuple[Package, Component]]


def capture_lock(
    captured: CapturedSpec, state: HostState, index: AptIndex, catalogue: Catalogue
) -> tuple[StackLock | None, list[CaptureRemark]]:
    """Return the lock of what is installed, and what it does not hold; None for nothing lockable.

    Raises:
        IndexRefused: INDEX-MALFORMED, for a stanza without hash, size or file name.
    """
    taken = _taken(captured.packages, state, index)
    remarks = _left_out(captured.packages, taken, state, index)
    if not taken:
        return None, remarks
    anew, allowed, refused = _anew(captured.spec, index, catalogue)
    lock = _lock(captured.spec, taken, index, catalogue, allowed)
    if refused is not None:
        remarks.append(refused)
    elif anew is not None and anew.hash == lock.hash:
        lock = anew
    elif anew is not None:
        remarks.append(_otherwise(lock, anew))
    unheld = {p.name: p.version for p in lock.packages if p.name not in state.holds}
    if unheld:
        remarks.append(
            CaptureRemark(
                code="CAPTURE-NOT-HELD",
                text=f"{len(unheld)} of the {len(lock.packages)} locked packages are not on hold: "
                "the next upgrade may move them",
                items=listed(unheld),
                remedy="cudactl provision host holds exactly the lock's packages",
            )
        )
    return lock, remarks


def _taken(mine: dict[str, str], state: HostState, index: AptIndex) -> Taken:
    """Return the packages that can be locked: the components', and what only those need."""
    taken: Taken = {}
    for name, version in mine.items():
        package = _in_index(index, name, version)
        component = component_of(name)
        if package is not None and component is not None:
            taken[name] = (package, component)
    queue = sorted(taken)
    broken = {one.name for one in state.broken}
    while queue:
        package, component = taken[queue.pop(0)]
        for relation in (one for group in package.depends for one in group):
            name = relation.name
            there = state.packages.get(name)
            if name in taken or there is None or name in broken:
                continue
            needed = _in_index(index, name, there)
            if needed is not None and component_of(name) is None and relation.admits(there):
                taken[name] = (needed, component)
                queue.append(name)
    return taken


def _in_index(index: AptIndex, name: str, version: str) -> Package | None:
    return next((p for p in index.versions(name) if p.version == version), None)


def _left_out(
    mine: dict[str, str], taken: Taken, state: HostState, index: AptIndex
) -> list[CaptureRemark]:
    """Say which of the stack's packages cannot be locked, and which of the index are none of it."""
    elsewhere, gone = {}, []
    for name, version in sorted(mine.items()):
        if name in taken:
            continue
        there = index.versions(name)
        if not there or from_distribution(version):
            elsewhere[name] = version
        else:
            gone.append(f"{name} {version} (it has {shortened((p.version for p in there), 3)})")
    spare = {
        name: version
        for name, version in state.packages.items()
        if name not in taken
        and component_of(name) is None
        and _in_index(index, name, version) is not None
    }
    title = index.source.title
    found = (
        (
            "CAPTURE-OTHER-ORIGIN",
            f"these are not from {title}: the distribution's archive or another one; they are "
            "not locked",
            listed(elsewhere),
            "take them from NVIDIA's repository, or keep them out of the spec",
        ),
        (
            "CAPTURE-NOT-IN-INDEX",
            f"{title} has these packages and not these versions: they are of another origin, or "
            "were withdrawn; they are not locked",
            gone,
            "move them to versions that can be had again, then capture again",
        ),
        (
            "CAPTURE-NO-COMPONENT",
            f"these came from {title} and belong to no component; they are not locked",
            listed(spare),
            "",
        ),
    )
    return [
        CaptureRemark(code=code, text=text, items=items, remedy=remedy)
        for code, text, items, remedy in found
        if items
    ]


def _anew(
    spec: StackSpec, index: AptIndex, catalogue: Catalogue
) -> tuple[StackLock | None, list[Allowance], CaptureRemark | None]:
    """Lock the spec in the usual way; what is refused and can be overridden is, since it is there.

    Returns:
        The lock, the overrides that it took, and the remark when there is none.
    """
    if spec.driver is not None and spec.driver.source == "distro":
        return (
            None,
            [],
            _not_again(
                "the driver is from the distribution's archive, which capture does not ask "
                "(cudactl stack lock does)"
            ),
        )
    distribution = catalogue.distribution(spec.os)
    allowed: list[Allowance] = []
    for _ in range(MOST_OVERRIDES):
        try:
            lock, _ = lock_apt(spec, index, distribution, catalogue, allowed)
        except StackRefused as refused:
            if refused.code not in ALLOWABLE or refused.code in (one.code for one in allowed):
                return None, allowed, _not_again(f"{refused.code}: {refused.found}")
            allowed.append(Allowance(code=refused.code, reason=REASON))
            continue
        return lock, lock.allowed, None
    return None, allowed, _not_again("too many refusals")


def _not_again(why: str) -> CaptureRemark:
    return CaptureRemark(
        code="CAPTURE-NOT-AGAIN",
        text=f"the lock holds what is installed, but its spec cannot be locked anew: {why}",
        remedy="change the spec, see: cudactl stack check",
    )


def _otherwise(lock: StackLock, anew: StackLock) -> CaptureRemark:
    here = {p.name: p.version for p in lock.packages}
    there = {p.name: p.version for p in anew.packages}
    items = [f"+ {name} {there[name]}" for name in sorted(there.keys() - here.keys())]
    items += [
        f"~ {name} {here[name]} → {there[name]}"
        for name in sorted(here.keys() & there.keys())
        if here[name] != there[name]
    ]
    items += [f"- {name} {here[name]}" for name in sorted(here.keys() - there.keys())]
    return CaptureRemark(
        code="CAPTURE-OTHERWISE",
        text=f"the lock holds what is installed; locking the spec anew would differ in "
        f"{len(items)} packages",
        items=items,
        remedy="to get there: cudactl stack upgrade, then provision",
    )


def _lock(
    spec: StackSpec,
    taken: Taken,
    index: AptIndex,
    catalogue: Catalogue,
    allowed: list[Allowance],
) -> StackLock:
    requires: dict[str, set[str]] = {name: set() for name in taken}
    external: dict[str, set[str]] = {}
    for name, (package, _) in taken.items():
        for group in package.depends:
            satisfied = next(_satisfying(group, taken), None)
            if satisfied is None:
                external.setdefault(group[0].name, set()).add(name)
            elif satisfied != name:
                requires[name].add(satisfied)
    needed_by: dict[str, list[str]] = {name: [] for name in taken}
    for name, needs in sorted(requires.items()):
        for need in needs:
            needed_by[need].append(name)
    top = _top_level(requires, needed_by)
    locked = [
        LockedPackage(
            name=name,
            version=package.version,
            arch=package.arch,
            sha256=package.sha256,
            size=package.size,
            source=SOURCE,
            component=component,
            filename=package.filename,
            top_level=name in top,
            why=f"installed at this version when the lock was captured{_by(needed_by[name])}",
            requires=sorted(requires[name]),
            installed_bytes=package.installed_bytes,
        )
        for name, (package, component) in sorted(taken.items())
    ]
    return StackLock(
        spec=spec,
        spec_hash=spec_hash(spec),
        catalogue_hash=catalogue.hash,
        target=LockTarget(os=catalogue.distribution(spec.os).name, arch=spec.arch, packages="apt"),
        resolved=_resolved(spec),
        driver_flavour=_flavour(spec),
        sources=[
            LockSource(
                name=SOURCE,
                kind="apt",
                url=without_password(index.source.url),
                vendor=index.source.vendor,
                fingerprint=index.key.fingerprint,
                signing_key=index.key.armoured,
                index_sha256=index.sha256,
            )
        ],
        packages=locked,
        external=[
            ExternalDependency(name=name, needed_by=sorted(by))
            for name, by in sorted(external.items())
        ],
        allowed=sorted(allowed, key=lambda one: one.code),
    )


def _satisfying(group: tuple[Relation, ...], taken: Taken) -> Iterator[str]:
    """Yield the locked packages that satisfy one of the alternatives, real names first."""
    for relation in group:
        if relation.name in taken and relation.admits(taken[relation.name][0].version):
            yield relation.name
    for relation in group:
        for name, (package, _) in sorted(taken.items()):
            for provided in package.provides:
                if provided.name == relation.name and (
                    not relation.operator
                    or (provided.version and relation.admits(provided.version))
                ):
                    yield name


def _top_level(requires: dict[str, set[str]], needed_by: dict[str, list[str]]) -> set[str]:
    """Return what nothing else needs; of packages that only need each other, the first."""
    top: set[str] = set()
    reached: set[str] = set()
    for name in [*(n for n in requires if not needed_by[n]), *sorted(requires)]:
        if name in reached:
            continue
        top.add(name)
        queue = [name]
        while queue:
            one = queue.pop()
            if one not in reached:
                reached.add(one)
                queue += requires[one]
    return top


def _by(names: list[str]) -> str:
    return f"; needed by {shortened(names, 4)}" if names else ""


def _resolved(spec: StackSpec) -> dict[Component, str]:
    found: dict[Component, str] = {}
    branch = spec.driver.branch if spec.driver is not None else None
    if branch is not None and branch != "none":
        found["driver"] = branch
    for key in COMPONENT_KEYS:
        version = getattr(spec, key)
        if version is not None:
            found[key] = version
    return dict(sorted(found.items()))


def _flavour(spec: StackSpec) -> Flavour | None:
    if spec.driver is None or spec.driver.flavour == "auto":
        return None
    return spec.driver.flavour
