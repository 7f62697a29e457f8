"""The driver's packages: branch, exact version, kernel module flavour, and that archive's names.

What a server wants is asked for: kernel module, CUDA's driver libraries, nvidia-smi and the
persistence daemon. That is the compute-only installation of NVIDIA's driver guide; the desktop
metapackages (`nvidia-open`, `cuda-drivers`) would bring OpenGL and an X driver. NVIDIA's pinning
packages are not used: the lock's own preferences hold every package of the closure exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from cudactl.contracts.spec import StackSpec
from cudactl.stack.facts.rows import Distribution, DriverBranch, Flavour, Gpu
from cudactl.stack.index.packages import upstream
from cudactl.stack.lock.availability import driver_suffix
from cudactl.stack.lock.choices_apt import AptChoices
from cudactl.stack.refusals import StackRefused
from cudactl.stack.solver.solving import Solution


def choose_driver(
    choices: AptChoices,
    spec: StackSpec,
    solution: Solution,
    distribution: Distribution,
    gpus: Sequence[Gpu],
) -> Flavour | None:
    """Ask for the driver and return its flavour; None where the lock brings no driver."""
    if "driver" not in solution:
        if spec.driver is not None and spec.driver.branch == "preinstalled":
            choices.resolved["driver"] = "preinstalled"
        return None
    chosen = solution["driver"]
    branch, version = chosen.branch, chosen.version
    flavour: Flavour = "open" if solution["flavour"].version == "open" else "proprietary"
    choices.pin_family(
        lambda name: (
            not name.startswith("cuda-compat-")
            and any(version in paragraph for paragraph in choices.index.paragraphs[name])
        ),
        lambda p: upstream(p.version) == version,
        f"every package of the driver at {version}",
    )
    names = [*_names(distribution, branch, flavour), *_fabric(branch, spec, gpus)]
    missing = [name for name in names if name not in choices.exact]
    if missing:
        raise StackRefused(
            "STACK-PACKAGE-NOT-IN-INDEX",
            f"{choices.index.source.title} has driver {version} without {', '.join(missing)}",
            expected="the packages of NVIDIA's compute-only installation",
            remedy="choose another version or flavour, or synchronise the mirror again",
        )
    named = spec.driver.branch if spec.driver is not None else None
    why = (
        f"the spec asks for driver {named}"
        if named is not None
        else f"branch {branch.branch} is the newest long-term or production branch that fits"
    )
    choices.wish("driver", names, f"{why}, with the {flavour} kernel module")
    choices.resolved["driver"] = version
    return flavour


def _names(distribution: Distribution, branch: DriverBranch, flavour: Flavour) -> list[str]:
    open_module = "-open" if flavour == "open" else ""
    if distribution.family == "debian":
        return ["nvidia-driver-cuda", f"nvidia-kernel{open_module}-dkms"]
    suffix = driver_suffix(branch)
    return [
        f"libnvidia-compute{suffix}",
        f"nvidia-dkms{suffix}{open_module}",
        f"nvidia-utils{suffix}",
        f"nvidia-compute-utils{suffix}",
    ]


def _fabric(branch: DriverBranch, spec: StackSpec, gpus: Sequence[Gpu]) -> list[str]:
    """Return what boards with NVSwitch, and IMEX, need: at exactly the driver's version."""
    boards = [gpu for gpu in gpus if gpu.nvswitch == "yes"]
    imex = spec.driver is not None and spec.driver.imex
    imex = imex or any(gpu.form.startswith("GB") for gpu in boards)
    suffix = f"-{branch.branch}" if branch.fabric_manager == "suffixed" else ""
    names = [f"nvidia-fabricmanager{suffix}"] if boards else []
    return [*names, *([f"nvidia-imex{suffix}"] if imex else [])]
