"""Platform rules: distribution, its compiler and C library, architecture, and apt or wheels."""

from __future__ import annotations

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Distribution, Toolkit
from cudactl.stack.solver.constraints.rule import Rule, Said, fact, first_of
from cudactl.stack.solver.dimensions import Choice
from cudactl.stack.versions import numbers


def _not_in_repository(cuda: Choice, os: Choice, packages: Choice) -> bool:
    distribution: Distribution = os.row
    return packages.version == "apt" and (
        numbers(cuda.row.minor) < numbers(distribution.first_toolkit)
    )


def _not_in_repository_says(
    catalogue: Catalogue, cuda: Choice, os: Choice, packages: Choice
) -> Said:
    distribution: Distribution = os.row
    first = distribution.first_toolkit
    return Said(
        f"CUDA {cuda.version} is older than anything in NVIDIA's repository for {os.version}, "
        f"which begins with {first}",
        (fact(f"the repository {distribution.repository} begins with CUDA {first}", distribution),),
        f'write cuda: "{first}" or newer, or choose another os',
    )


def _glibc(cuda: Choice, os: Choice) -> bool:
    most = cuda.row.glibc_max
    return most is not None and numbers(os.row.glibc) > numbers(most)


def _glibc_says(catalogue: Catalogue, cuda: Choice, os: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    return Said(
        f"nvcc {toolkit.minor} cannot compile against the headers of glibc {os.row.glibc} "
        f"({os.version}), only up to {toolkit.glibc_max}",
        (
            fact(f"nvcc {toolkit.minor} accepts glibc up to {toolkit.glibc_max}", toolkit),
            fact(f"{os.version} has glibc {os.row.glibc}", os.row),
        ),
        "choose a newer CUDA, or an older distribution",
    )


def _gcc(cuda: Choice, os: Choice) -> bool:
    most = cuda.row.gcc_max
    return most is not None and numbers(os.row.gcc)[:1] > numbers(most)[:1]


def _gcc_says(catalogue: Catalogue, cuda: Choice, os: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    gcc = os.row.gcc.split(".")[0]
    return Said(
        f"nvcc {toolkit.minor} accepts gcc up to {toolkit.gcc_max}, and the compiler of "
        f"{os.version} is gcc {gcc}: it refuses to compile",
        (
            fact(f"host_config.h of {toolkit.minor} accepts gcc up to {toolkit.gcc_max}", toolkit),
            fact(f"{os.version} has gcc {os.row.gcc}", os.row),
        ),
        f"install gcc-{toolkit.gcc_max} and compile with nvcc -ccbin gcc-{toolkit.gcc_max}, or "
        "choose a newer CUDA",
    )


def _driver_wheels(packages: Choice, driver: Choice) -> bool:
    return packages.version == "wheels"


def _driver_wheels_says(catalogue: Catalogue, packages: Choice, driver: Choice) -> Said:
    return Said(
        "NVIDIA publishes no driver as Python wheels",
        (fact("wheels carry libraries only", first_of(catalogue, "drivers")),),
        "write driver: {branch: preinstalled}, or packages: apt",
    )


def _apt_only(packages: Choice, component: Choice) -> bool:
    return packages.version == "wheels"


def _apt_only_says(catalogue: Catalogue, packages: Choice, component: Choice) -> Said:
    return Said(
        f"{component.dim} does not come as Python wheels",
        (fact(f"{component.dim} is published as packages", component.row),),
        f"remove {component.dim} from this spec, or write packages: apt",
    )


def _wheels_only(packages: Choice, rtx: Choice) -> bool:
    return packages.version == "apt"


def _wheels_only_says(catalogue: Catalogue, packages: Choice, rtx: Choice) -> Said:
    return Said(
        "TensorRT for RTX is not in NVIDIA's apt repositories; it comes as Python wheels",
        (fact(f"TensorRT for RTX {rtx.version} was found on the Python package index", rtx.row),),
        "write packages: wheels, or remove tensorrt_rtx",
    )


def _no_wheels(packages: Choice, cuda: Choice) -> bool:
    return packages.version == "wheels" and not cuda.wheels


def _no_wheels_says(catalogue: Catalogue, packages: Choice, cuda: Choice) -> Said:
    first = catalogue.components[0]
    return Said(
        f"the catalogue does not know which wheels CUDA {cuda.version} consists of",
        (fact(f"the parts of toolkits are known from {first.toolkit} on", first),),
        "choose a newer CUDA, or packages: apt",
    )


# --- flags --------------------------------------------------------------------------------------


def _arch(os: Choice, arch: Choice, packages: Choice) -> bool:
    folders = os.row.architectures
    return packages.version == "apt" and bool(folders) and arch.version not in folders


def _arch_says(catalogue: Catalogue, os: Choice, arch: Choice, packages: Choice) -> Said:
    folders = " and ".join(os.row.architectures)
    return Said(
        f"whether NVIDIA has a repository for {os.version} on {arch.version} is not known; seen "
        f"are {folders}",
        (fact(f"folders seen for {os.row.repository}: {folders}", os.row),),
        "cudactl stack lock will tell",
    )


def _floats(cuda: Choice, packages: Choice, newest: Choice) -> bool:
    return packages.version == "apt" and cuda.version != newest.version


def _floats_says(catalogue: Catalogue, cuda: Choice, packages: Choice, newest: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    name = f"cuda-toolkit-{toolkit.minor.replace('.', '-')}"
    return Said(
        f"pinning {name} to {toolkit.version} alone does not freeze it: its parts are joined by "
        f">= and float to those of {newest.version}",
        (fact(f"all dependencies of {name} are >=; {newest.version} is newer", newest.row),),
        "nothing with cudactl: the lock pins every part; by hand, pin them all",
    )


RULES = (
    Rule(
        "STACK-TOOLKIT-NOT-FOR-OS",
        ("cuda", "os", "packages"),
        _not_in_repository,
        _not_in_repository_says,
        allowable=True,
    ),
    Rule("STACK-HOST-GLIBC", ("cuda", "os"), _glibc, _glibc_says, allowable=True),
    Rule("STACK-NO-DRIVER-WHEELS", ("packages", "driver"), _driver_wheels, _driver_wheels_says),
    *(
        Rule("STACK-APT-ONLY", ("packages", dim), _apt_only, _apt_only_says)
        for dim in ("container_toolkit", "dcgm")
    ),
    Rule("STACK-WHEELS-ONLY", ("packages", "tensorrt_rtx"), _wheels_only, _wheels_only_says),
    Rule("STACK-NO-WHEELS", ("packages", "cuda"), _no_wheels, _no_wheels_says),
    Rule("STACK-HOST-COMPILER", ("cuda", "os"), _gcc, _gcc_says, "flagged"),
    Rule(
        "STACK-ARCH-NOT-SEEN",
        ("os", "arch", "packages"),
        _arch,
        _arch_says,
        "flagged",
    ),
    Rule(
        "STACK-PARTS-FLOAT",
        ("cuda", "packages", "newest_patch"),
        _floats,
        _floats_says,
        "flagged",
    ),
)
