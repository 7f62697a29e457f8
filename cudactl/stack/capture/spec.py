"""From what is on a machine to the wish that says it: exact versions, and remarks on the rest.

The reverse of the usual way: state → spec. Pure. What is there and no spec can say (a second CUDA,
files of no package, half-installed packages, versions that do not belong together) becomes a
remark; nothing is left out in silence. `capture_lock.py` goes on from here to a lock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cudactl.contracts.capture import CaptureRemark
from cudactl.contracts.spec import DRIVER_BRANCH, MirrorSpec, StackSpec
from cudactl.contracts.state import HostState
from cudactl.stack.capture.packages import (
    DRIVER_NAMES,
    TOOLKIT_NAMES,
    component_of,
    cuda_of,
    first_match,
    from_distribution,
    module_flavour,
)
from cudactl.stack.capture.remarks import (
    CaptureRefused,
    beside,
    listed,
    mixed,
    not_sayable,
    nothing,
)
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Distribution
from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.index.packages import upstream
from cudactl.stack.refusals import StackRefused
from cudactl.stack.versions import admits, numbers

ARCH_OF_MACHINE = {"x86_64": "x86_64", "aarch64": "sbsa"}
PLAIN = re.compile(r"[0-9]+(\.[0-9]+)*")

LIBRARIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tensorrt", (r"libnvinfer[0-9]+", r"tensorrt", r"tensorrt-libs")),
    ("nccl", (r"libnccl2",)),
    ("dcgm", (r"datacenter-gpu-manager-4-core",)),
    ("container_toolkit", (r"nvidia-container-toolkit", r"libnvidia-container1")),
)
"""Key of the spec → the packages whose version is the component's, the most telling first."""


@dataclass(frozen=True)
class CapturedSpec:
    """The wish that says what is there."""

    spec: StackSpec
    packages: dict[str, str]
    """Installed packages that the wish is about: name → version."""
    remarks: list[CaptureRemark]


def target_of(state: HostState, name: str, catalogue: Catalogue) -> tuple[Distribution, str]:
    """Return distribution and architecture of a machine.

    Raises:
        CaptureRefused: CAPTURE-UNSUPPORTED-OS, CAPTURE-UNSUPPORTED-ARCH.
    """
    known = {row.name: row for row in catalogue.distributions}
    distribution = known.get(state.os.name)  # type: ignore[call-overload]
    if distribution is None:
        raise CaptureRefused(
            "CAPTURE-UNSUPPORTED-OS",
            f"{name} runs {state.os.pretty} ({state.os.name})",
            expected=f"one of {', '.join(sorted(known))}",
            remedy="cudactl reads Debian packages of these distributions only",
        )
    arch = ARCH_OF_MACHINE.get(state.machine)
    if arch is None:
        raise CaptureRefused(
            "CAPTURE-UNSUPPORTED-ARCH",
            f"the processor of {name} is {state.machine}",
            expected="x86_64, or aarch64 (sbsa)",
            remedy="NVIDIA publishes server stacks for these two",
        )
    return distribution, arch


def capture_spec(
    state: HostState, name: str, catalogue: Catalogue, mirror: MirrorSpec | None = None
) -> CapturedSpec:
    """Return the spec of what is on a machine.

    Args:
        state: The machine.
        name: What people call it.
        catalogue: Facts.
        mirror: Repository that it takes its packages from, where that is not the vendor's.

    Raises:
        CaptureRefused: CAPTURE-UNSUPPORTED-OS, CAPTURE-UNSUPPORTED-ARCH, CAPTURE-NOTHING.
    """
    distribution, arch = target_of(state, name, catalogue)
    remarks: list[CaptureRemark] = []
    broken = {one.name for one in state.broken}
    found = {
        package: version
        for package, version in state.packages.items()
        if component_of(package) is not None and package not in broken
    }
    if not found:
        raise nothing(state, name)
    own = {package: version for package, version in found.items() if ":" not in package}
    minor = _active_minor(own, state, remarks)
    mine = _within(own, minor, remarks)
    values: dict[str, Any] = {"os": distribution.name, "arch": arch}
    values["gpus"] = _gpus(state, catalogue, remarks)
    values["driver"] = _driver(mine, state, remarks)
    if minor is not None:
        values["cuda"] = _toolkit(mine, minor, catalogue, remarks)
    cudnn = _cudnn(mine)
    for key, patterns in (("cudnn", cudnn), *LIBRARIES):
        version = _version(key, mine, patterns, remarks)
        if version is not None:
            values[key] = version
    if mirror is not None:
        values["mirror"] = mirror
    remarks += beside(state, found)
    spec = StackSpec.model_validate({k: v for k, v in values.items() if v not in (None, [])})
    return CapturedSpec(spec, mine, remarks)


def _active_minor(
    own: dict[str, str], state: HostState, remarks: list[CaptureRemark]
) -> str | None:
    """Return the CUDA minor that the spec names: the active one, or the newest."""
    minors: dict[str, int] = {}
    for package in own:
        carried = cuda_of(package)
        partial = package.startswith("cuda-compat-") or package.endswith("-config-common")
        if carried and carried[1] and component_of(package) == "cuda" and not partial:
            minors[carried[1]] = minors.get(carried[1], 0) + 1
    if not minors:
        return None
    active = state.vendor_files.active_toolkit if state.vendor_files is not None else None
    shown = re.search(r"cuda-([0-9]+\.[0-9]+)$", active or "")
    if shown is not None and shown[1] in minors:
        return shown[1]
    newest = max(minors, key=numbers)
    if active is not None:
        remarks.append(
            CaptureRemark(
                code="CAPTURE-ACTIVE-CUDA",
                text=f"/usr/local/cuda leads to {active}, which is no package's; the spec names "
                f"CUDA {newest}, the newest that packages brought",
                items=[active],
                remedy="remove what is not wanted, then capture again",
            )
        )
    return newest


def _within(own: dict[str, str], minor: str | None, remarks: list[CaptureRemark]) -> dict[str, str]:
    """Return the packages of the CUDA that the spec names; others are remarked on."""
    if minor is None:
        return own
    major = minor.partition(".")[0]
    mine, others = {}, {}
    for package, version in own.items():
        carried = cuda_of(package)
        # DCGM has a part for every CUDA major, and they belong together.
        same = carried is None or component_of(package) == "dcgm"
        if same or carried == (major, minor) or carried == (major, None):
            mine[package] = version
        else:
            others[package] = version
    if others:
        carried_by = [carried for package in others if (carried := cuda_of(package)) is not None]
        minors = {of[1] for of in carried_by if of[1] is not None}
        named = sorted(minors or {of[0] for of in carried_by}, key=numbers)
        remarks.append(
            CaptureRemark(
                code="CAPTURE-OTHER-CUDA",
                text=f"packages for CUDA {' and '.join(named)} are installed beside CUDA {minor}, "
                "which the spec names; a spec names one",
                items=listed(others),
                remedy="remove them, or keep a spec of its own for them",
            )
        )
    return mine


def _gpus(state: HostState, catalogue: Catalogue, remarks: list[CaptureRemark]) -> list[str]:
    names: list[str] = []
    unknown = []
    for gpu in state.gpus:
        try:
            names += [row.name for row in find_gpus(catalogue, f"10de:{gpu.device}")]
        except StackRefused:
            unknown.append(f"{gpu.address} 10de:{gpu.device}")
    if unknown:
        remarks.append(
            CaptureRemark(
                code="CAPTURE-GPU-UNKNOWN",
                text="the catalogue knows no GPU with these PCI ids; the spec does not name them",
                items=unknown,
                remedy="add the GPU to an overlay: see docs/catalogue.md",
            )
        )
    return list(dict.fromkeys(names))


def _driver(mine: dict[str, str], state: HostState, remarks: list[CaptureRemark]) -> dict[str, str]:
    packages = {n: v for n, v in mine.items() if component_of(n) == "driver"}
    telling = first_match(DRIVER_NAMES, packages)
    loaded = state.module.loaded
    if telling is None:
        if loaded is None:
            return {"branch": "none"}
        remarks.append(
            CaptureRemark(
                code="CAPTURE-DRIVER-FOREIGN",
                text=f"driver {loaded} is loaded and no package brings it: a runfile, or a "
                "container that sees its host's; the spec says preinstalled",
            )
        )
        return {"branch": "preinstalled"}
    version = upstream(packages[telling])
    if not DRIVER_BRANCH.match(version):
        remarks.append(not_sayable("driver", telling, packages[telling]))
        return {"branch": "none"}
    flavour = module_flavour(packages)
    if flavour is None and loaded == version:
        flavour = state.module.flavour
    told = state.module.flavour if loaded else None
    if loaded is not None and (loaded != version or (flavour and told and told != flavour)):
        remarks.append(
            CaptureRemark(
                code="CAPTURE-DRIVER-NOT-LOADED",
                text=f"driver {version} ({flavour or 'flavour not told'}) is installed, the loaded "
                f"module is {loaded} ({told or 'flavour not told'}); the spec says what is "
                "installed",
                remedy="reboot the host",
            )
        )
    kin = {n: v for n, v in packages.items() if DRIVER_BRANCH.match(upstream(v))}
    mixed("driver", version, {n: v for n, v in kin.items() if upstream(v) != version}, remarks)
    values = {"branch": version}
    if flavour is not None:
        values["flavour"] = flavour
    if from_distribution(packages[telling]):
        values["source"] = "distro"
    return values


def _toolkit(
    mine: dict[str, str], minor: str, catalogue: Catalogue, remarks: list[CaptureRemark]
) -> str:
    """Return the toolkit's release, or its minor where no release can be told."""
    dashed = minor.replace(".", "-")
    releases = [row.version for row in catalogue.toolkits if row.minor == minor]
    parts = {
        release: {p.apt: p.apt_version for p in catalogue.components_of(release) if p.apt in mine}
        for release in releases
    }
    metas = [f"{stem}-{dashed}" for stem in TOOLKIT_NAMES]
    said = [upstream(mine[name]) for name in metas if name in mine]
    release = next((version for version in said if PLAIN.fullmatch(version)), None)
    if release is None:
        # No metapackage: the release that most of the parts belong to, if it is only one.
        fitting = {
            version: sum(mine[name] == of for name, of in known.items())
            for version, known in parts.items()
        }
        most = max(fitting.values(), default=0)
        best = [version for version, count in fitting.items() if count == most]
        release = best[0] if most and len(best) == 1 else minor
    other = {n: mine[n] for n, version in parts.get(release, {}).items() if mine[n] != version}
    other |= {n: mine[n] for n in metas if n in mine and not admits(release, upstream(mine[n]))}
    mixed("cuda", release, other, remarks)
    return release


def _cudnn(mine: dict[str, str]) -> tuple[str, ...]:
    # cuDNN 9 has the CUDA major in its names; those of another major are out already.
    return (r"libcudnn9-cuda-[0-9]+", r"libcudnn[0-9]+")


def _version(
    key: str, mine: dict[str, str], patterns: tuple[str, ...], remarks: list[CaptureRemark]
) -> str | None:
    packages = {n: v for n, v in mine.items() if component_of(n) == key}
    telling = first_match(patterns, packages)
    if telling is None:
        if packages:
            name = next(iter(sorted(packages)))
            remarks.append(not_sayable(key, name, packages[name]))
        return None
    version = upstream(packages[telling])
    if not PLAIN.fullmatch(version):
        remarks.append(not_sayable(key, telling, packages[telling]))
        return None
    # A metapackage may say fewer numbers of the same version.
    other = {n: v for n, v in packages.items() if not admits(upstream(v), version)}
    mixed(key, version, other, remarks)
    return version
