"""From a solved stack to package names and exact versions in one apt index.

The solver chose the versions; here every package of a component's family is pinned to them:
NVIDIA's packages ask for each other with `>=`, so whatever is left open floats to the newest. The
names are the ones of NVIDIA's repositories for Ubuntu and Debian.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cudactl.contracts.lock import Component
from cudactl.contracts.spec import StackSpec
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Toolkit
from cudactl.stack.index.apt import AptIndex
from cudactl.stack.index.packages import Package, upstream
from cudactl.stack.lock.availability import (
    BUILD,
    CONTAINER_TOOLKIT,
    DCGM,
    cudnn_package,
    toolkit_package,
)
from cudactl.stack.lock.closure import AptWish, Pin, Pins, not_in_index
from cudactl.stack.solver.constraints.driver import newest_cuda
from cudactl.stack.solver.constraints.libraries import serves
from cudactl.stack.solver.dimensions import Choice
from cudactl.stack.solver.solving import Solution
from cudactl.stack.versions import numbers

_TENSORRT = re.compile(r"(tensorrt|libnvinfer|libnvonnxparsers|libnvparsers|python3-libnvinfer)")
_CUDNN = re.compile(r"(libcudnn|cudnn)[0-9]")
_DCGM = re.compile(r"datacenter-gpu-manager-4-")
_CONTAINER_TOOLKIT = (
    CONTAINER_TOOLKIT,
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)


@dataclass
class AptChoices:
    """Which packages are asked for by name, and what is pinned."""

    index: AptIndex
    wishes: list[AptWish] = field(default_factory=list)
    exact: dict[str, Pin] = field(default_factory=dict)
    resolved: dict[Component, str] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)

    @property
    def pins(self) -> Pins:
        """The pins, for the closure."""
        return Pins(self.exact, tuple(self.released))

    def wish(self, component: Component, names: Iterable[str], why: str) -> None:
        """Ask for packages by name."""
        self.wishes += [AptWish(name, component, why) for name in names]

    def pin_family(
        self, named: Callable[[str], object], member: Callable[[Package], bool], why: str
    ) -> None:
        """Pin packages of some names to the newest version for which `member` is true.

        An index has thousands of names, so they are looked at first.
        """
        for name in self.index.paragraphs:
            members = [p for p in self.index.versions(name) if member(p)] if named(name) else []
            if members:
                self.exact[name] = Pin(max(members).version, why)


def choose_libraries(
    choices: AptChoices, spec: StackSpec, solution: Solution, catalogue: Catalogue
) -> None:
    """Ask for everything of a solved stack but its driver, and pin it."""
    cuda = solution.get("cuda")
    if cuda is not None:
        _toolkit(choices, f"cuda {spec.cuda}", cuda, catalogue)
        choices.resolved["cuda"] = cuda.version
        for dim, ask in (("cudnn", _cudnn), ("tensorrt", _tensorrt), ("nccl", _nccl)):
            if dim in solution:
                ask(choices, spec, solution[dim], cuda.row)
    if "container_toolkit" in solution:
        _container_toolkit(choices, spec, solution["container_toolkit"])
    if "dcgm" in solution:
        _dcgm(choices, spec, solution, catalogue)


def choose_beside(choices: AptChoices, wish: str, solution: Solution, catalogue: Catalogue) -> None:
    """Ask for a toolkit beside the active one."""
    _toolkit(choices, f"cuda_also {wish}", solution["cuda"], catalogue)


def _toolkit(choices: AptChoices, asked: str, cuda: Choice, catalogue: Catalogue) -> None:
    """Ask for a toolkit release, and pin its parts to what it was released with."""
    toolkit: Toolkit = cuda.row
    name, dashed = toolkit_package(cuda), toolkit.minor.replace(".", "-")
    versions = choices.index.versions(name)
    version = next(p.version for p in versions if upstream(p.version) == toolkit.version)
    released = f"what CUDA {toolkit.version} was released with"
    choices.released.append(toolkit.version)
    choices.exact[name] = Pin(version, f"{asked} means {toolkit.version} here")
    for part in catalogue.components_of(toolkit.version):
        if not part.apt:
            continue
        choices.exact[part.apt] = Pin(part.apt_version, released)
        for other in _companions(part.apt, dashed):
            # Named by pattern and not by the catalogue, so pinned only where the index agrees.
            if any(p.version == part.apt_version for p in choices.index.versions(other)):
                choices.exact[other] = Pin(part.apt_version, released)
    choices.wish("cuda", [name], f"the spec asks for {asked}")


def _companions(package: str, dashed: str) -> list[str]:
    """Return the packages that carry the same version as a part of the toolkit."""
    if package == f"cuda-cudart-{dashed}":
        return [
            f"cuda-cudart-dev-{dashed}",
            f"cuda-driver-dev-{dashed}",
            f"cuda-toolkit-{dashed}-config-common",
        ]
    return [package.removesuffix(f"-{dashed}") + f"-dev-{dashed}"]


def _cudnn(choices: AptChoices, spec: StackSpec, cudnn: Choice, toolkit: Toolkit) -> None:
    """Ask for cuDNN: 9 has the CUDA major in its names, 8 in its versions."""
    version = cudnn.version
    nine = numbers(version)[0] >= 9
    if nine:
        name = cudnn_package(toolkit.major)
        names = [name, *(name.replace("9-", f"9-{part}-", 1) for part in ("dev", "headers"))]
    else:
        names = ["libcudnn8", "libcudnn8-dev"]
    best = next(
        p
        for p in choices.index.versions(names[0])
        if upstream(p.version) == version and (nine or _same_major(p, toolkit))
    )

    def member(package: Package) -> bool:
        # cuDNN 9's metapackages have other version texts, so only 9 is compared by upstream.
        return package.version == best.version or (nine and upstream(package.version) == version)

    choices.pin_family(_CUDNN.match, member, f"the whole of cuDNN at {version}")
    choices.wish("cudnn", names, f"the spec asks for cudnn {spec.cudnn}")
    choices.resolved["cudnn"] = version


def _tensorrt(choices: AptChoices, spec: StackSpec, tensorrt: Choice, toolkit: Toolkit) -> None:
    """Ask for TensorRT: one version and one CUDA build for everything with a shared name."""
    best = _build(choices, "tensorrt", tensorrt, toolkit)
    choices.pin_family(
        _TENSORRT.match,
        lambda p: p.version == best.version,
        f"the whole of TensorRT at {best.version}",
    )
    choices.wish("tensorrt", ["tensorrt"], f"the spec asks for tensorrt {spec.tensorrt}")
    choices.resolved["tensorrt"] = tensorrt.version


def _nccl(choices: AptChoices, spec: StackSpec, nccl: Choice, toolkit: Toolkit) -> None:
    """Ask for NCCL: library and headers at one version and one CUDA build."""
    best = _build(choices, "libnccl2", nccl, toolkit)
    names = ("libnccl2", "libnccl-dev")
    choices.pin_family(
        names.__contains__,
        lambda p: p.version == best.version,
        f"NCCL's packages at {best.version}",
    )
    choices.wish("nccl", names, f"the spec asks for nccl {spec.nccl}")
    choices.resolved["nccl"] = nccl.version


def _container_toolkit(choices: AptChoices, spec: StackSpec, toolkit: Choice) -> None:
    """Ask for the container toolkit: four packages joined by `=`."""
    choices.pin_family(
        _CONTAINER_TOOLKIT.__contains__,
        lambda p: upstream(p.version) == toolkit.version,
        f"the container toolkit's four packages at {toolkit.version}",
    )
    why = f"the spec asks for container_toolkit {spec.container_toolkit}"
    choices.wish("container_toolkit", _CONTAINER_TOOLKIT[:1], why)
    choices.resolved["container_toolkit"] = toolkit.version


def _dcgm(choices: AptChoices, spec: StackSpec, solution: Solution, catalogue: Catalogue) -> None:
    """Ask for DCGM and its part for the CUDA major that the driver knows."""
    dcgm = solution["dcgm"]
    driver, cuda = solution.get("driver"), solution.get("cuda")
    known = newest_cuda(driver.version, catalogue) if driver is not None else None
    major = (known or (cuda.version if cuda is not None else "13")).split(".")[0]
    names = [DCGM, f"datacenter-gpu-manager-4-cuda{major}"]
    choices.pin_family(
        _DCGM.match,
        lambda p: upstream(p.version) == dcgm.version,
        f"DCGM's packages at {dcgm.version}",
    )
    for name in names:
        if name not in choices.exact:
            raise not_in_index(
                choices.index, f"{name} {dcgm.version}", choices.index.versions(name)
            )
    choices.wish("dcgm", names, f"the spec asks for dcgm {spec.dcgm}")
    choices.resolved["dcgm"] = dcgm.version


def _build(choices: AptChoices, name: str, library: Choice, toolkit: Toolkit) -> Package:
    """Return the package of a library's version with the build for the newest CUDA that fits."""
    versions = [p for p in choices.index.versions(name) if upstream(p.version) == library.version]
    built = [(p, BUILD.search(p.version)) for p in versions]
    fitting = [p for p, build in built if build is not None and serves(build.group(1), toolkit)]
    # Where the solver was told to look away (--allow), any build has to do.
    return (fitting or versions)[0]


def _same_major(package: Package, toolkit: Toolkit) -> bool:
    build = BUILD.search(package.version)
    return build is not None and build.group(1).split(".")[0] == toolkit.major
