"""The driver's packages from the distribution's own archive: names, pins, and what was really got.

A server's installation without a display, as with NVIDIA's own packages. Ubuntu's signed modules
are preferred where the spec names a kernel that the archive has them for: they need no compiler on
the host and no enrolled key. What comes out is read back, since an archive's names do not say which
branch they install.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecFinding
from cudactl.stack.facts.rows import ArchiveDriver, Distribution, Flavour, Gpu
from cudactl.stack.index.packages import Package, Relation, upstream
from cudactl.stack.index.suites import SuiteIndex
from cudactl.stack.lock.archive_drivers import ArchiveNames, DriverPackages, archive_names
from cudactl.stack.lock.closure import AptWish, Closure, Pin, Pins, close
from cudactl.stack.refusals import StackRefused
from cudactl.stack.solver.constraints.driver import archive_variant
from cudactl.stack.solver.constraints.rule import fact
from cudactl.stack.solver.solving import Solution

NO_SIGNED_MODULE = "STACK-NO-SIGNED-MODULE"
USUAL_KERNEL = "generic"
_DRIVER_LIBRARY = re.compile(r"libcuda1$|libnvidia-compute-|libnvidia-tesla-.*cuda1$")


def close_archive_driver(
    index: SuiteIndex,
    spec: StackSpec,
    solution: Solution,
    distribution: Distribution,
    gpus: Sequence[Gpu],
) -> tuple[Closure, Flavour, list[SpecFinding]]:
    """Return the driver's closure in the archive, its flavour, and what is to be said of it.

    Raises:
        StackRefused: STACK-PACKAGE-NOT-IN-INDEX, STACK-VERSION-NOT-IN-INDEX, STACK-CLOSURE,
            STACK-DRIVER-TRANSITIONAL, STACK-NO-FABRIC-MANAGER.
    """
    chosen = solution["driver"]
    head = archive_variant(chosen, solution["flavour"])
    assert head is not None
    flavour: Flavour = "open" if solution["flavour"].version == "open" else "proprietary"
    version = upstream(head.version)
    names = archive_names(head, distribution.family, spec.kernel)
    packages = DriverPackages(index)
    pins = _pins(index, version)
    said: list[SpecFinding] = []
    if _serves(packages, names, pins):
        module, how = names.prebuilt, f"its signed module for kernel {spec.kernel}"
    else:
        module, how = names.kernel, f"the {flavour} kernel module, built on the host"
        if names.prebuilt:
            said.append(_no_signed_module(index, head, str(spec.kernel)))
        elif _serves(packages, archive_names(head, distribution.family, USUAL_KERNEL), pins):
            said.append(_kernel_not_named(index, head))
    wanted = [*module, *names.libraries, *_fabric(index, spec, head, names, gpus)]
    missing = [name for name in wanted if not packages.versions(name)]
    if missing:
        raise StackRefused(
            "STACK-PACKAGE-NOT-IN-INDEX",
            f"{index.title} has driver {version} without {', '.join(missing)}",
            expected="every package of a server's installation",
            remedy="choose another branch, or driver.source: nvidia",
        )
    why = f"{_asked(spec, head)}, from {index.title}, with {how}"
    wishes = [AptWish(name, "driver", why) for name in wanted]
    closure = close(packages, wishes, Pins(pins))
    _read_back(index, closure, names, version)
    return closure, flavour, said


def _asked(spec: StackSpec, head: ArchiveDriver) -> str:
    named = spec.driver.branch if spec.driver is not None else None
    if named is not None:
        return f"the spec asks for driver {named}"
    return f"branch {head.branch} is the newest long-term or production branch that fits"


def _pins(index: SuiteIndex, version: str) -> dict[str, Pin]:
    """Pin everything that carries the driver's version, in the newest revision of it."""
    pins = {}
    for name in index.at_version(version):
        members = [p for p in DriverPackages(index).versions(name) if _is(p, version)]
        if members:
            pins[name] = Pin(members[0].version, f"every package of the driver at {version}")
    return pins


def _is(package: Package, version: str) -> bool:
    return upstream(package.version) == version


def _serves(packages: DriverPackages, names: ArchiveNames, pins: dict[str, Pin]) -> bool:
    """Return True when the archive's signed module is the one of exactly this driver."""
    if not names.prebuilt or names.prebuilt[0] not in pins:
        return False
    checked: set[str] = set()
    queue = [names.prebuilt[1]]
    while queue:
        name = queue.pop()
        checked.add(name)
        there = packages.versions(name)
        if not there:
            return False
        for relation in (one for group in there[0].depends for one in group[:1]):
            pin = pins.get(relation.name)
            if pin is not None and not relation.admits(pin.version):
                return False
            if pin is None and _is_module(relation) and relation.name not in checked:
                queue.append(relation.name)
    return True


def _is_module(relation: Relation) -> bool:
    return relation.name.startswith("linux-modules-nvidia-")


def _no_signed_module(index: SuiteIndex, head: ArchiveDriver, kernel: str) -> SpecFinding:
    version = upstream(head.version)
    return SpecFinding(
        code=NO_SIGNED_MODULE,
        severity="flagged",
        text=f"{index.title} has no signed module of driver {version} for kernel {kernel}: it is "
        "built on each host (DKMS), which needs headers and, under Secure Boot, an enrolled key",
        facts=[fact(f"{head.package} is {head.version}", head)],
        remedy="name a kernel flavour that the archive builds modules for, such as generic, or see "
        "that the module builds before rolling out",
    )


def _kernel_not_named(index: SuiteIndex, head: ArchiveDriver) -> SpecFinding:
    return SpecFinding(
        code="STACK-KERNEL-NOT-NAMED",
        severity="note",
        text=f"the spec names no kernel, so the module is built on each host (DKMS); {index.title} "
        f"has signed modules of driver {upstream(head.version)}, for kernel {USUAL_KERNEL} among "
        "others",
        facts=[fact(f"{head.package} is {head.version}", head)],
        remedy=f"write the hosts' kernel flavour: kernel: {USUAL_KERNEL}",
    )


def _fabric(
    index: SuiteIndex,
    spec: StackSpec,
    head: ArchiveDriver,
    names: ArchiveNames,
    gpus: Sequence[Gpu],
) -> list[str]:
    """Return what boards with NVSwitch, and IMEX, need: at exactly the driver's version."""
    boards = [gpu for gpu in gpus if gpu.nvswitch == "yes"]
    imex = spec.driver is not None and spec.driver.imex
    imex = imex or any(gpu.form.startswith("GB") for gpu in boards)
    wanted = [names.fabric_manager] if boards else []
    wanted += [names.imex] if imex else []
    version = upstream(head.version)
    packages = DriverPackages(index)
    for name in wanted:
        if not any(_is(package, version) for package in packages.versions(name)):
            needs = f"{boards[0].name} needs" if boards else "the spec asks for"
            raise StackRefused(
                "STACK-NO-FABRIC-MANAGER",
                f"{needs} {name}, and {index.title} has none of version {version}",
                expected=f"{name} of exactly the driver's version",
                remedy="write driver.source: nvidia, or choose another branch",
            )
    return wanted


def _read_back(index: SuiteIndex, closure: Closure, names: ArchiveNames, version: str) -> None:
    """Refuse a closure that came to another driver than the one that was chosen."""
    got = {one.package.name: one.package.version for one in closure.chosen}
    told = got.get(names.teller)
    if told is not None and upstream(told) == version:
        return
    others = [f"{name} {got[name]}" for name in got if _DRIVER_LIBRARY.match(name)]
    raise StackRefused(
        "STACK-DRIVER-TRANSITIONAL",
        f"driver {version} of {index.title} comes to {', '.join(others) or 'no driver library'}",
        expected=f"{names.teller} {version}",
        remedy="name the branch that you would get, or choose another one",
    )
