"""Driver rules: branch and flavour, toolkit and driver, whose archive, which kernel."""

from __future__ import annotations

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import ArchiveDriver, DriverBranch, Toolkit
from cudactl.stack.solver.constraints.rule import Rule, Said, fact
from cudactl.stack.solver.dimensions import Choice, archive_os, is_server
from cudactl.stack.versions import numbers


def runs(driver: str, toolkit: Toolkit) -> bool:
    """Return True when a driver (branch or version) has what a toolkit needs at least."""
    return at_least(driver, toolkit.driver_minor)


def fully_runs(driver: str, toolkit: Toolkit) -> bool | None:
    """Return whether a driver serves all features of a toolkit; None where that is not known."""
    if toolkit.driver_full is None:
        return None
    return at_least(driver, toolkit.driver_full)


def at_least(driver: str, need: str) -> bool:
    """Compare; a branch alone ("580") stands for its newest version."""
    have, least = numbers(driver), numbers(need)
    return have >= least if len(have) > 1 else have >= least[:1]


def complete(driver: Choice, cuda: Choice) -> bool | None:
    """Return whether a driver serves all features of a toolkit, also by what older ones need."""
    known = fully_runs(driver.version, cuda.row)
    if known is None and cuda.full_from and not at_least(driver.version, cuda.full_from):
        return False
    return known


def newest_cuda(driver: str, catalogue: Catalogue) -> str | None:
    """Return the newest CUDA minor that a driver serves fully, as far as the catalogue knows."""
    served = [row.minor for row in catalogue.toolkits if fully_runs(driver, row)]
    return max(served, key=numbers, default=None)


def _too_old(cuda: Choice, driver: Choice) -> bool:
    return not runs(driver.version, cuda.row)


def _too_old_says(catalogue: Catalogue, cuda: Choice, driver: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    need = toolkit.driver_minor
    return Said(
        f"CUDA {toolkit.version} does not run on driver {driver.version}: CUDA {toolkit.major}.x "
        f"needs {need} or later",
        (
            fact(
                f"minor-version compatibility of CUDA {toolkit.major}.x begins at driver {need}",
                toolkit,
            ),
        ),
        "choose a newer driver branch or an older CUDA; forward compatibility (cuda-compat) "
        "exists for data-centre GPUs only, not for GeForce",
    )


def _no_flavour(driver: Choice, flavour: Choice) -> bool:
    if driver.archive:
        return archive_variant(driver, flavour) is None
    return flavour.version not in driver.branch.flavours


def _no_flavour_says(catalogue: Catalogue, driver: Choice, flavour: Choice) -> Said:
    branch = driver.branch
    offered = " or ".join(branch.flavours)
    if driver.archive and flavour.version in branch.flavours:
        offered = " or ".join(sorted({v.replace("server-", "") for v in driver.archive}))
    return Said(
        f"driver {branch.branch} has no {flavour.version} kernel module, only {offered}",
        (fact(f"branch {branch.branch} offers: {offered}", branch),),
        "write flavour: auto, or choose another branch",
    )


def archive_variant(driver: Choice, flavour: Choice) -> ArchiveDriver | None:
    """Return the archive's package for a flavour: the server's series, or else the desktop's."""
    for name in (f"server-{flavour.version}", flavour.version):
        if name in driver.archive:
            return driver.archive[name]
    return None


def _transitional(driver: Choice, flavour: Choice) -> bool:
    variant = archive_variant(driver, flavour) if driver.archive else None
    return variant is not None and variant.becomes is not None


def _transitional_says(catalogue: Catalogue, driver: Choice, flavour: Choice) -> Said:
    variant = archive_variant(driver, flavour)
    assert variant is not None
    return Said(
        f"{variant.package} of {variant.os}'s archive is transitional: it installs "
        f"{variant.becomes}",
        (fact(f"{variant.package} {variant.version} only depends on {variant.becomes}", variant),),
        f"name what you would get: {variant.becomes}",
    )


def _elsewhere(driver: Choice, os: Choice, source: Choice) -> bool:
    if driver.source != source.version:
        return True
    return bool(driver.archive) and archive_os(driver) != os.version


def _elsewhere_says(catalogue: Catalogue, driver: Choice, os: Choice, source: Choice) -> Said:
    if source.version == "nvidia":
        return Said(
            f"driver {driver.version} is one of a distribution's archive, not NVIDIA's",
            (fact("driver.source says whose packages are taken", "the spec"),),
            "write driver.source: distro",
        )
    there = [row for row in catalogue.archive_drivers if row.os == os.version]
    same = [row for row in there if row.branch == driver.branch.branch]
    if same and not driver.archive:
        kept = same[0].version
        return Said(
            f"{os.version}'s archive keeps one version of a branch: {driver.branch.branch} is "
            f"{kept} there, and {driver.version} is gone",
            (fact(f"{same[0].package} is {kept}", same[0]),),
            f'write driver: {{branch: "{driver.branch.branch}"}}, or driver.source: nvidia',
        )
    real = sorted({row.branch for row in there if not row.becomes}, key=int)
    if not there:
        text = f"the catalogue knows no driver packages of {os.version}'s own archive"
        return Said(
            text,
            (fact(text, catalogue.archive_drivers[0]),),
            "write driver.source: nvidia",
        )
    return Said(
        f"{os.version}'s archive has no driver {driver.branch.branch}; it has {', '.join(real)}",
        (fact(f"branches in the archive of {os.version}: {', '.join(real)}", there[-1]),),
        "choose one of these, or driver.source: nvidia",
    )


def _kernel(kernel: Choice, os: Choice, driver: Choice) -> bool:
    series = kernel_series(kernel.version)
    row = kernel.row
    rows = [one for one in row or () if one.os == os.version and one.series == series]
    return bool(rows) and not any(driver.branch.branch in one.branches for one in rows)


def _kernel_says(catalogue: Catalogue, kernel: Choice, os: Choice, driver: Choice) -> Said:
    series = kernel_series(kernel.version)
    rows = [r for r in catalogue.kernels if r.os == os.version and r.series == series]
    branches = sorted({name for row in rows for name in row.branches}, key=int)
    return Said(
        f"{os.version} publishes no signed module of driver {driver.branch.branch} for kernel "
        f"{series}, only of {', '.join(branches)}; it would be built on the host (DKMS)",
        (fact(f"modules for kernel {series}: {', '.join(branches)}", rows[0]),),
        "choose one of these branches, or see that the module builds before rolling out",
    )


def kernel_series(release: str) -> str:
    """Return a kernel's series: "6.8.0-31-generic" → "6.8"; "" for a flavour."""
    return ".".join(map(str, numbers(release)[:2]))


# --- flags --------------------------------------------------------------------------------------


def _partial(cuda: Choice, driver: Choice) -> bool:
    return complete(driver, cuda) is False and runs(driver.version, cuda.row)


def _partial_says(catalogue: Catalogue, cuda: Choice, driver: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    full = toolkit.driver_full or cuda.full_from
    newest = newest_cuda(driver.version, catalogue)
    own = f" (it knows CUDA {newest})" if newest else ""
    return Said(
        f"driver {driver.version}{own} runs CUDA {toolkit.version} by minor-version compatibility "
        f"only: PTX from this toolkit's compiler is refused by it (unsupported PTX version), and "
        f"containers that require the toolkit's own driver do not start; all features need "
        f"{full}",
        (fact(f"CUDA {toolkit.version} is complete from driver {full} on", toolkit),),
        f"choose a driver from {full} on, or compile for the GPU itself (no PTX)",
    )


def _unknown_full(cuda: Choice, driver: Choice) -> bool:
    return complete(driver, cuda) is None


def _unknown_full_says(catalogue: Catalogue, cuda: Choice, driver: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    return Said(
        f"which driver all features of CUDA {toolkit.version} need is not known (at least "
        f"{toolkit.driver_minor})",
        (fact(f"no driver for all features of CUDA {toolkit.version} was found", toolkit),),
        "compile for the GPU itself where PTX matters, or choose a CUDA whose driver is known",
    )


def _contested_full(cuda: Choice, driver: Choice) -> bool:
    bundled = cuda.row.driver_bundled
    return (
        bundled is not None
        and fully_runs(driver.version, cuda.row) is True
        and not at_least(driver.version, bundled)
    )


def _contested_full_says(catalogue: Catalogue, cuda: Choice, driver: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    return Said(
        f"which driver CUDA {toolkit.version} needs for all features is contested: the release "
        f"notes say {toolkit.driver_full}, its own installer brings {toolkit.driver_bundled}, and "
        f"{driver.version} lies between",
        (fact(f"{toolkit.driver_full} by the table, {toolkit.driver_bundled} bundled", toolkit),),
        f"choose {toolkit.driver_bundled} or later",
    )


def _eol(driver: Choice, catalogue_day: Choice) -> bool:
    eol = driver.branch.eol
    return eol is not None and eol < catalogue_day.version


def _eol_says(catalogue: Catalogue, driver: Choice, _: Choice) -> Said:
    branch = driver.branch
    return Said(
        f"driver branch {branch.branch} reached its end of life on {branch.eol}: no security fixes",
        (fact(f"end of life of {branch.branch}: {branch.eol}", branch),),
        f"choose a supported branch: {', '.join(supported_branches(catalogue))}",
    )


def supported_branches(catalogue: Catalogue) -> list[str]:
    """Return the long-term and production branches that are not past their end of life."""
    return [
        row.branch
        for row in catalogue.drivers
        if row.kind in ("LTS", "PB") and (row.eol is None or row.eol >= catalogue.day)
    ]


def _insecure(driver: Choice) -> bool:
    floor = driver.branch.security_floor
    return (
        floor is not None
        and len(numbers(driver.version)) > 1
        and (numbers(driver.version) < numbers(floor))
    )


def _insecure_says(catalogue: Catalogue, driver: Choice) -> Said:
    branch: DriverBranch = driver.branch
    return Said(
        f"driver {driver.version} has published vulnerabilities; {branch.security_floor} is the "
        f"first of branch {branch.branch} without them",
        (fact(f"security floor of {branch.branch}: {branch.security_floor}", branch),),
        f"choose {branch.security_floor} or later",
    )


def _kind_unknown(driver: Choice) -> bool:
    return not driver.branch.kind


def _kind_unknown_says(catalogue: Catalogue, driver: Choice) -> Said:
    branch = driver.branch
    return Said(
        f"what kind of branch {branch.branch} is, and until when it is supported, is not known",
        (fact("kind and end of life not known", branch),),
        f"prefer a branch whose support is known: {', '.join(supported_branches(catalogue))}",
    )


def _release_unknown(driver: Choice) -> bool:
    return not driver.known


def _release_unknown_says(catalogue: Catalogue, driver: Choice) -> Said:
    return Said(
        f"driver {driver.version} is no release that the catalogue of {catalogue.day} knows",
        (fact(f"branch {driver.branch.branch} is known, this version is not", driver.branch),),
        "see that the repository has it: cudactl stack lock",
    )


def _no_fabric(driver: Choice, gpu: Choice) -> bool:
    series = bool(driver.archive) and not any(map(is_server, driver.archive.values()))
    return series and any(one.nvswitch == "yes" for one in gpu.gpus)


def _no_fabric_says(catalogue: Catalogue, driver: Choice, gpu: Choice) -> Said:
    row = next(iter(driver.archive.values()))
    return Said(
        f"{gpu.version} needs the fabric manager, and {row.os}'s archive has none that goes with "
        f"{row.package}",
        (
            fact(
                "only Ubuntu's -server series has a fabric manager: nvidia-fabricmanager depends "
                "on nvidia-kernel-common-…-server, which conflicts with the other series",
                row,
            ),
        ),
        "write driver.source: nvidia for NVIDIA's own fabric manager",
    )


def _server(driver: Choice, flavour: Choice, gpu: Choice) -> bool:
    variant = archive_variant(driver, flavour) if driver.archive else None
    nvswitch = any(one.nvswitch == "yes" for one in gpu.gpus)
    return variant is not None and is_server(variant) and nvswitch


def _server_says(catalogue: Catalogue, driver: Choice, flavour: Choice, gpu: Choice) -> Said:
    row = archive_variant(driver, flavour)
    assert row is not None
    return Said(
        f"{gpu.version} needs the fabric manager, and the archive's goes with the -server packages "
        f"only: they are taken, and nvidia-driver-{driver.branch.branch} cannot be installed "
        "beside them",
        (
            fact(
                "nvidia-fabricmanager depends on nvidia-kernel-common-…-server, which conflicts "
                "with the other series",
                row,
            ),
        ),
        "write driver.source: nvidia for NVIDIA's own fabric manager",
    )


RULES = (
    Rule("STACK-DRIVER-TOO-OLD", ("cuda", "driver"), _too_old, _too_old_says, allowable=True),
    Rule("STACK-FLAVOUR", ("driver", "flavour"), _no_flavour, _no_flavour_says),
    Rule("STACK-DRIVER-TRANSITIONAL", ("driver", "flavour"), _transitional, _transitional_says),
    Rule("STACK-NO-FABRIC-MANAGER", ("driver", "gpu"), _no_fabric, _no_fabric_says),
    Rule(
        "STACK-DRIVER-SOURCE",
        ("driver", "os", "source"),
        _elsewhere,
        _elsewhere_says,
        background=True,
    ),
    Rule("STACK-MINOR-COMPATIBILITY", ("cuda", "driver"), _partial, _partial_says, "flagged"),
    Rule("STACK-FULL-UNKNOWN", ("cuda", "driver"), _unknown_full, _unknown_full_says, "note"),
    Rule("STACK-CONTESTED", ("cuda", "driver"), _contested_full, _contested_full_says, "flagged"),
    Rule("STACK-DRIVER-EOL", ("driver", "day"), _eol, _eol_says, "flagged"),
    Rule("STACK-DRIVER-INSECURE", ("driver",), _insecure, _insecure_says, "flagged"),
    Rule("STACK-SUPPORT-UNKNOWN", ("driver",), _kind_unknown, _kind_unknown_says, "flagged"),
    Rule(
        "STACK-RELEASE-UNKNOWN",
        ("driver",),
        _release_unknown,
        _release_unknown_says,
        "flagged",
    ),
    Rule("STACK-SERVER-SERIES", ("driver", "flavour", "gpu"), _server, _server_says, "flagged"),
    Rule("STACK-KERNEL-DRIVER", ("kernel", "os", "driver"), _kernel, _kernel_says, "flagged"),
)
