"""From a wish to NVIDIA's Python wheels: which projects, at which versions, and their lock."""

from __future__ import annotations

from pathlib import Path

from cudactl.contracts.lock import Allowance, LockSource, LockTarget, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Toolkit
from cudactl.stack.index.fetching import without_password
from cudactl.stack.index.wheel_source import DEFAULT_INDEX, NAME, index_url
from cudactl.stack.index.wheels import WheelTarget, WheelWish, wheel_closure
from cudactl.stack.refusals import StackRefused
from cudactl.stack.solver.solving import Solution
from cudactl.stack.spec.file import spec_hash, without_secrets
from cudactl.stack.versions import admits, numbers

MACHINE = {"x86_64": "x86_64", "sbsa": "aarch64"}

# What compiling and linking needs: compiler, its parts, runtime, headers, NVRTC and cuBLAS. CUDA 12
# has fewer projects (its nvcc brings crt and nvvm), so only those of the release are taken.
TOOLKIT_PROJECTS = (
    *("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-runtime"),
    *("nvidia-cuda-cccl", "nvidia-cuda-nvrtc", "nvidia-cublas"),
)


def lock_wheels(
    spec: StackSpec,
    solution: Solution,
    catalogue: Catalogue,
    allowed: list[Allowance],
    cache: Path,
) -> StackLock:
    """Return the lock of a wheel stack.

    Raises:
        StackRefused: STACK-EMPTY.
        WheelIndexError: WHEEL-…
        UnreachableError: INDEX-UNREACHABLE.
    """
    if "cuda" not in solution:
        raise StackRefused(
            "STACK-EMPTY",
            "the spec names nothing that comes as wheels",
            expected="cuda, and what goes with it",
            remedy='add a line such as: cuda: "13.0"',
        )
    distribution = catalogue.distribution(spec.os)
    toolkit: Toolkit = solution["cuda"].row
    glibc = distribution.glibc.split(".")
    target = WheelTarget(distribution.python, (int(glibc[0]), int(glibc[1])), MACHINE[spec.arch])
    url = index_url(spec)
    packages = wheel_closure(_wishes(spec, toolkit, solution, catalogue), target, url, cache)
    of = {package.name: package.version for package in packages}
    resolved = {"cuda": toolkit.version}
    for component, project in _projects(spec, toolkit).items():
        resolved[component] = of[project[0]]
    if spec.driver is not None and spec.driver.branch == "preinstalled":
        resolved["driver"] = "preinstalled"
    return StackLock.model_validate(
        {
            "spec": without_secrets(spec),
            "spec_hash": spec_hash(spec),
            "catalogue_hash": catalogue.hash,
            "target": LockTarget(
                os=distribution.name, arch=spec.arch, packages="wheels", python=distribution.python
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
            "allowed": allowed,
        }
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


def _wishes(
    spec: StackSpec, toolkit: Toolkit, solution: Solution, catalogue: Catalogue
) -> list[WheelWish]:
    wishes = []
    for part in catalogue.components_of(toolkit.version):
        if part.wheel.removesuffix(f"-cu{toolkit.major}") in TOOLKIT_PROJECTS:
            why = (
                f"the spec asks for cuda {spec.cuda}; {part.version}: what CUDA "
                f"{toolkit.version} was released with"
            )
            wishes.append(WheelWish(part.wheel, part.version, "cuda", why))
    for component, projects in _projects(spec, toolkit).items():
        prefix, fits = str(getattr(spec, component)), "the newest that fits"
        chosen = solution[component].version
        if chosen != _newest_known(catalogue, component, prefix):
            # Facts rule newer ones out; where they do not, the index may have newer still.
            prefix, fits = chosen, f"{chosen} is the newest that stands with the rest"
        why = f"the spec asks for {component} {getattr(spec, component)}; {fits}"
        wishes += [
            WheelWish(project, prefix, component, why)  # type: ignore[arg-type]
            for project in projects
        ]
    return wishes


def _newest_known(catalogue: Catalogue, component: str, prefix: str) -> str:
    versions = (row.version for row in getattr(catalogue, component))
    newest: str = max((v for v in versions if admits(prefix, v)), key=numbers)
    return newest
