"""From a wish to NVIDIA's Python wheels: which projects, at which versions, and their lock."""

from __future__ import annotations

from pathlib import Path

from cudactl.contracts.lock import LockSource, LockTarget, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.stack.catalogue import Catalogue
from cudactl.stack.facts import Toolkit
from cudactl.stack.fetching import without_password
from cudactl.stack.index_wheels import WheelTarget, WheelWish, wheel_closure
from cudactl.stack.refusals import Ruling, StackRefused, listed
from cudactl.stack.rules import Prospects
from cudactl.stack.specfile import spec_hash
from cudactl.stack.wheel_source import DEFAULT_INDEX, NAME, index_url

MACHINE = {"x86_64": "x86_64", "sbsa": "aarch64"}

# What compiling and linking needs: compiler, its parts, runtime, headers, NVRTC and cuBLAS. CUDA 12
# has fewer projects (its nvcc brings crt and nvvm), so only those of the release are taken.
TOOLKIT_PROJECTS = (
    *("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-runtime"),
    *("nvidia-cuda-cccl", "nvidia-cuda-nvrtc", "nvidia-cublas"),
)


def lock_wheels(
    spec: StackSpec,
    open_questions: Prospects,
    catalogue: Catalogue,
    ruling: Ruling,
    cache: Path,
) -> StackLock:
    """Return the lock of a wheel stack.

    Raises:
        StackRefused: STACK-NO-WHEELS.
        WheelIndexError: WHEEL-…
        UnreachableError: INDEX-UNREACHABLE.
    """
    distribution = open_questions.distribution
    toolkit = _toolkit(open_questions.toolkits, catalogue)
    glibc = distribution.glibc.split(".")
    target = WheelTarget(distribution.python, (int(glibc[0]), int(glibc[1])), MACHINE[spec.arch])
    url = index_url(spec)
    packages = wheel_closure(_wishes(spec, toolkit, catalogue), target, url, cache)
    of = {package.name: package.version for package in packages}
    resolved = {"cuda": toolkit.version}
    for component, project in _projects(spec, toolkit).items():
        resolved[component] = of[project[0]]
    if spec.driver is not None and spec.driver.branch == "preinstalled":
        resolved["driver"] = "preinstalled"
    ruling.note(
        f"wheels bring no driver: to run, CUDA {toolkit.version} needs {toolkit.driver_minor} or "
        "later on the host"
    )
    return StackLock.model_validate(
        {
            "spec": spec,
            "spec_hash": spec_hash(spec),
            "catalogue_hash": catalogue.hash,
            "target": LockTarget(
                os=spec.os, arch=spec.arch, packages="wheels", python=distribution.python
            ),
            "resolved": dict(sorted(resolved.items())),
            "sources": [
                LockSource(
                    name=NAME,
                    kind="wheels",
                    url=without_password(url),
                    vendor=url == DEFAULT_INDEX,
                )
            ],
            "packages": packages,
            "allowed": ruling.used,
        }
    )


def _toolkit(toolkits: tuple[Toolkit, ...], catalogue: Catalogue) -> Toolkit:
    """Return the newest toolkit whose parts the catalogue knows."""
    for toolkit in toolkits:
        if catalogue.components_of(toolkit.version):
            return toolkit
    known = dict.fromkeys(row.toolkit for row in catalogue.components)
    raise StackRefused(
        "STACK-NO-WHEELS",
        f"the catalogue does not know which wheels CUDA {toolkits[0].version} consists of",
        expected=f"one of {listed(reversed(list(known)))}",
        remedy="choose one of these, or packages: apt",
    )


def _projects(spec: StackSpec, toolkit: Toolkit) -> dict[str, tuple[str, ...]]:
    """Return component → wheel projects; the first one tells the component's version."""
    cu = f"cu{toolkit.major}"
    every = {
        "cudnn": (f"nvidia-cudnn-{cu}",),
        "nccl": (f"nvidia-nccl-{cu}",),
        "tensorrt": (f"tensorrt-{cu}-libs", f"tensorrt-{cu}-bindings"),
        "tensorrt_rtx": (f"tensorrt-rtx-{cu}-libs", f"tensorrt-rtx-{cu}-bindings"),
    }
    return {key: projects for key, projects in every.items() if getattr(spec, key) is not None}


def _wishes(spec: StackSpec, toolkit: Toolkit, catalogue: Catalogue) -> list[WheelWish]:
    wishes = []
    for part in catalogue.components_of(toolkit.version):
        if part.wheel.removesuffix(f"-cu{toolkit.major}") in TOOLKIT_PROJECTS:
            why = (
                f"the spec asks for cuda {spec.cuda}; {part.version}: what CUDA "
                f"{toolkit.version} was released with"
            )
            wishes.append(WheelWish(part.wheel, part.version, "cuda", why))
    for component, projects in _projects(spec, toolkit).items():
        prefix = str(getattr(spec, component))
        why = f"the spec asks for {component} {prefix}; the newest that fits"
        wishes += [
            WheelWish(project, prefix, component, why)  # type: ignore[arg-type]
            for project in projects
        ]
    return wishes
