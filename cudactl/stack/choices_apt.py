"""From a wish to package names and exact versions in one apt index.

Each component chooses its version here, and pins every package of its family to it: NVIDIA's
packages ask for each other with `>=`, so whatever is left open floats to the newest. The names are
the ones of NVIDIA's repositories for Ubuntu and Debian.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cudactl.contracts.lock import Component
from cudactl.contracts.spec import StackSpec
from cudactl.stack.catalogue import Catalogue
from cudactl.stack.closure import AptWish, Pin, Pins, not_in_index
from cudactl.stack.facts import Toolkit
from cudactl.stack.index_apt import AptIndex
from cudactl.stack.packages import Package, upstream
from cudactl.stack.refusals import Ruling
from cudactl.stack.rules import Prospects, serves
from cudactl.stack.versions import admits

_BUILD = re.compile(r"\+cuda([0-9]+\.[0-9]+)$")
_TENSORRT = re.compile(r"(tensorrt|libnvinfer|libnvonnxparsers|libnvparsers|python3-libnvinfer)")
_CUDNN = re.compile(r"(libcudnn|cudnn)[0-9]")
_CONTAINER_TOOLKIT = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)


@dataclass
class AptChoices:
    """What has been chosen so far."""

    index: AptIndex
    wishes: list[AptWish] = field(default_factory=list)
    exact: dict[str, Pin] = field(default_factory=dict)
    resolved: dict[Component, str] = field(default_factory=dict)
    released: str | None = None

    @property
    def pins(self) -> Pins:
        """The pins, for the closure."""
        return Pins(self.exact, self.released)

    def wish(self, component: Component, names: Iterable[str], why: str) -> None:
        """Ask for packages by name."""
        self.wishes += [AptWish(name, component, why) for name in names]

    def pin_family(self, member: Callable[[Package], bool], why: str) -> None:
        """Pin every package that has a version for which `member` is true to the newest such."""
        for name, versions in self.index.packages.items():
            members = [p for p in versions if member(p)]
            if members:
                self.exact[name] = Pin(max(members).version, why)


def choose_cuda(
    choices: AptChoices, spec: StackSpec, prospects: Prospects, catalogue: Catalogue, ruling: Ruling
) -> Toolkit:
    """Choose the newest toolkit release that the index has, and pin its parts."""
    chosen: Toolkit | None = None
    there: list[Package] = []
    for toolkit in prospects.toolkits:
        versions = choices.index.versions(f"cuda-toolkit-{_dashed(toolkit)}")
        there += versions
        if any(upstream(p.version) == toolkit.version for p in versions):
            chosen = toolkit
            break
    if chosen is None:
        raise not_in_index(choices.index, f"cuda-toolkit for CUDA {spec.cuda}", there)
    name = f"cuda-toolkit-{_dashed(chosen)}"
    released = f"what CUDA {chosen.version} was released with"
    version = next(
        p.version for p in choices.index.versions(name) if upstream(p.version) == chosen.version
    )
    newest = choices.index.versions(name)[0].version
    if not any(row.version == upstream(newest) for row in catalogue.toolkits):
        ruling.note(
            f"the index has {name} {newest}, which the catalogue of {catalogue.day} does not know"
        )
    choices.released = chosen.version
    choices.exact[name] = Pin(version, f"CUDA {spec.cuda} means {chosen.version} here")
    for part in catalogue.components_of(chosen.version):
        if not part.apt:
            continue
        choices.exact[part.apt] = Pin(part.apt_version, released)
        for other in _companions(part.apt, _dashed(chosen)):
            # Named by pattern and not by the catalogue, so pinned only where the index agrees.
            if any(p.version == part.apt_version for p in choices.index.versions(other)):
                choices.exact[other] = Pin(part.apt_version, released)
    choices.wish("cuda", [name], f"the spec asks for cuda {spec.cuda}")
    choices.resolved["cuda"] = chosen.version
    return chosen


def _companions(package: str, dashed: str) -> list[str]:
    """Return the packages that carry the same version as a part of the toolkit."""
    if package == f"cuda-cudart-{dashed}":
        return [
            f"cuda-cudart-dev-{dashed}",
            f"cuda-driver-dev-{dashed}",
            f"cuda-toolkit-{dashed}-config-common",
        ]
    return [package.removesuffix(f"-{dashed}") + f"-dev-{dashed}"]


def choose_cudnn(choices: AptChoices, spec: StackSpec, toolkit: Toolkit) -> None:
    """Choose cuDNN: 9 has the CUDA major in its names, 8 in its versions."""
    prefix = str(spec.cudnn)
    nine = f"libcudnn9-cuda-{toolkit.major}"
    candidates = [*choices.index.versions(nine), *choices.index.versions("libcudnn8")]
    fitting = [
        p
        for p in candidates
        if admits(prefix, upstream(p.version)) and (p.name == nine or _same_major(p, toolkit))
    ]
    if not fitting:
        raise not_in_index(choices.index, f"cuDNN {prefix} for CUDA {toolkit.major}", candidates)
    best = fitting[0]
    version = upstream(best.version)

    def member(package: Package) -> bool:
        if not _CUDNN.match(package.name):
            return False
        return package.version == best.version or (
            # cuDNN 9's metapackages have other version texts, so only 9 is compared by upstream.
            best.name == nine and upstream(package.version) == version
        )

    choices.pin_family(member, f"the whole of cuDNN at {version}")
    names = (
        [nine, f"libcudnn9-dev-cuda-{toolkit.major}", f"libcudnn9-headers-cuda-{toolkit.major}"]
        if best.name == nine
        else ["libcudnn8", "libcudnn8-dev"]
    )
    choices.wish("cudnn", names, f"the spec asks for cudnn {prefix}")
    choices.resolved["cudnn"] = version


def choose_tensorrt(choices: AptChoices, spec: StackSpec, toolkit: Toolkit, ruling: Ruling) -> None:
    """Choose TensorRT: one version and one CUDA build for everything with a shared name."""
    prefix = str(spec.tensorrt)
    best = _built(choices, "tensorrt", prefix, toolkit, ruling.allows("STACK-TENSORRT-CUDA"))
    choices.pin_family(
        lambda p: _TENSORRT.match(p.name) is not None and p.version == best.version,
        f"the whole of TensorRT at {best.version}",
    )
    choices.wish("tensorrt", ["tensorrt"], f"the spec asks for tensorrt {prefix}")
    choices.resolved["tensorrt"] = upstream(best.version)


def choose_nccl(choices: AptChoices, spec: StackSpec, toolkit: Toolkit) -> None:
    """Choose NCCL: library and headers at one version and one CUDA build."""
    prefix = str(spec.nccl)
    best = _built(choices, "libnccl2", prefix, toolkit, False)
    choices.pin_family(
        lambda p: p.name in ("libnccl2", "libnccl-dev") and p.version == best.version,
        f"NCCL's packages at {best.version}",
    )
    choices.wish("nccl", ["libnccl2", "libnccl-dev"], f"the spec asks for nccl {prefix}")
    choices.resolved["nccl"] = upstream(best.version)


def choose_container_toolkit(choices: AptChoices, spec: StackSpec) -> None:
    """Choose the container toolkit: four packages joined by `=`."""
    prefix = str(spec.container_toolkit)
    versions = choices.index.versions(_CONTAINER_TOOLKIT[0])
    fitting = [p for p in versions if admits(prefix, upstream(p.version))]
    if not fitting:
        raise not_in_index(choices.index, f"{_CONTAINER_TOOLKIT[0]} {prefix}", versions)
    best = fitting[0]
    choices.pin_family(
        lambda p: p.name in _CONTAINER_TOOLKIT and p.version == best.version,
        f"the container toolkit's four packages at {best.version}",
    )
    why = f"the spec asks for container_toolkit {prefix}"
    choices.wish("container_toolkit", _CONTAINER_TOOLKIT[:1], why)
    choices.resolved["container_toolkit"] = upstream(best.version)


def _built(
    choices: AptChoices, name: str, prefix: str, toolkit: Toolkit, any_build: bool
) -> Package:
    """Return the newest version of `name` with a build that works beside the toolkit.

    Of one version the build for the newest CUDA that still fits is taken.
    """
    versions = choices.index.versions(name)
    wished = [p for p in versions if admits(prefix, upstream(p.version))]
    fitting = [
        p
        for p in wished
        if (build := _BUILD.search(p.version)) is not None
        and (serves(build.group(1), toolkit) or any_build)
    ]
    if not fitting:
        raise not_in_index(
            choices.index,
            f"{name} {prefix} that is built for CUDA {toolkit.minor}",
            wished or versions,
        )
    return fitting[0]


def _same_major(package: Package, toolkit: Toolkit) -> bool:
    build = _BUILD.search(package.version)
    return build is not None and build.group(1).split(".")[0] == toolkit.major


def _dashed(toolkit: Toolkit) -> str:
    return toolkit.minor.replace(".", "-")
