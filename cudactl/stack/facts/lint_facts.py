"""What the catalogue's tables say of each other: the second half of `catalogue lint`."""

from __future__ import annotations

import re
from collections.abc import Callable

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.lint import Findings, LintFinding
from cudactl.stack.facts.rows import DriverBranch, Gpu, Toolkit
from cudactl.stack.facts.tables import ARCHITECTURES
from cudactl.stack.versions import numbers


def _toolkits(catalogue: Catalogue) -> Findings:
    before: Toolkit | None = None
    for row in catalogue.toolkits:
        full = numbers(row.driver_full or "")
        said = []
        if not row.sm:
            said.append("it has no targets")
        elif list(row.sm) != sorted(set(row.sm), key=numbers):
            said.append("its targets are not ascending")
        if full and full < numbers(row.driver_minor):
            said.append("all features need an older driver than minor-version compatibility")
        if before is not None and before.major == row.major:
            if row.driver_minor != before.driver_minor:
                said.append(f"another least driver than {before.version} of the same major")
            if full and full < numbers(before.driver_full or ""):
                said.append(f"an older driver than {before.version}")
            for column in ("gcc_max", "clang_max", "glibc_max"):
                now, then = getattr(row, column), getattr(before, column)
                if now and then and numbers(now) < numbers(then):
                    said.append(f"{column} lower than of {before.version}")
        for text in said:
            yield LintFinding("CAT-TOOLKIT", "toolkits", row.version, text)
        # What is not known says nothing about the next row.
        before = row if full or before is None or before.major != row.major else before


def _components(catalogue: Catalogue) -> Findings:
    known = {row.version for row in catalogue.toolkits}
    for row in catalogue.components:
        key = f"{row.toolkit} {row.wheel}"
        if row.toolkit not in known:
            text = f"toolkit {row.toolkit} is not in the catalogue"
            yield LintFinding("CAT-UNKNOWN-TOOLKIT", "components", key, text)
        if bool(row.apt) != bool(row.apt_version):
            text = "a Debian package without its version, or the other way round"
            yield LintFinding("CAT-VERSION", "components", key, text)
        elif row.apt and not row.apt_version.startswith(f"{row.version}-"):
            text = f"Debian version {row.apt_version} of {row.version}"
            yield LintFinding("CAT-VERSION", "components", key, text)


def _distributions(catalogue: Catalogue) -> Findings:
    minors = {row.minor for row in catalogue.toolkits}
    for row in catalogue.distributions:
        if row.first_toolkit not in minors:
            text = f"its repository begins with {row.first_toolkit}, which is no toolkit"
            yield LintFinding("CAT-UNKNOWN-TOOLKIT", "distributions", row.name, text)
        fitting = re.fullmatch(
            r"[0-9A-F]{40}", row.fingerprint
        ) and row.key_file.upper().startswith(row.fingerprint[-8:])
        if not fitting:
            text = f"key file {row.key_file} and fingerprint {row.fingerprint}"
            yield LintFinding("CAT-VERSION", "distributions", row.name, text)


def _drivers(catalogue: Catalogue) -> Findings:
    branches = {row.branch: row for row in catalogue.drivers}
    for row in catalogue.drivers:
        for text in _branch(row):
            yield LintFinding("CAT-BRANCH", "drivers", row.branch, text)
    oldest = numbers(catalogue.drivers[0].branch)
    for toolkit in catalogue.toolkits:
        for least in (toolkit.driver_full, toolkit.driver_minor):
            branch = (least or "").split(".")[0]
            if branch not in branches and numbers(branch) > oldest:
                text = f"it needs driver {least}, whose branch is not in the catalogue"
                yield LintFinding("CAT-UNKNOWN-BRANCH", "toolkits", toolkit.version, text)
    releases = {row.version for row in catalogue.driver_releases}
    for row in catalogue.drivers:
        if row.newest and row.newest not in releases:
            text = f"{row.newest} is not among the driver releases"
            yield LintFinding("CAT-BRANCH", "drivers", row.branch, text)
    for one in catalogue.driver_releases:
        if one.version.split(".")[0] not in branches:
            text = "a release of a branch that is not in the catalogue"
            yield LintFinding("CAT-UNKNOWN-BRANCH", "driver_releases", one.version, text)
    for kernel in catalogue.kernels:
        for branch in kernel.branches:
            if branch not in branches:
                key = f"{kernel.os} {kernel.flavour} {kernel.series}"
                text = f"branch {branch} is not in the catalogue"
                yield LintFinding("CAT-UNKNOWN-BRANCH", "kernels", key, text)


def _branch(row: DriverBranch) -> list[str]:
    said = []
    for column in ("newest", "security_floor"):
        version = getattr(row, column)
        if version and version.split(".")[0] != row.branch:
            said.append(f"{column} {version} is of another branch")
    if row.newest and row.security_floor and numbers(row.newest) < numbers(row.security_floor):
        said.append("no version reaches the security floor")
    if row.default_flavour not in row.flavours:
        said.append(f"default flavour {row.default_flavour}, offered: {' '.join(row.flavours)}")
    return said


def _archives(catalogue: Catalogue) -> Findings:
    there = {(row.os, row.package): row for row in catalogue.archive_drivers}
    suffix = {"open": "-open", "proprietary": ""}
    for row in catalogue.archive_drivers:
        key = f"{row.os} {row.package}"
        flavour = row.variant.removeprefix("server-")
        series = "-server" if row.variant.startswith("server-") else ""
        name = f"nvidia-driver-{row.branch}{series}{suffix[flavour]}"
        if row.os.startswith("debian-"):
            # Debian has no branch in its names, but in those of its older families.
            opened = "open-" if flavour == "open" else ""
            name = f"nvidia-(tesla-({row.branch}-)?)?{opened}kernel-dkms"
        if re.fullmatch(name, row.package) is None:
            text = f"branch and variant say {name}"
            yield LintFinding("CAT-BECOMES", "archive_drivers", key, text)
        if row.becomes is None:
            continue
        target = there.get((row.os, row.becomes))
        if target is None:
            text = f"it becomes {row.becomes}, which the archive does not have"
        elif target.becomes is not None:
            text = f"it becomes {row.becomes}, which is transitional itself"
        else:
            continue
        yield LintFinding("CAT-BECOMES", "archive_drivers", key, text)


def _libraries(catalogue: Catalogue) -> Findings:
    minors = {row.minor for row in catalogue.toolkits}
    majors = {row.major for row in catalogue.toolkits}
    # What an index has may be built for a toolkit that is younger than the catalogue.
    newest = numbers(catalogue.toolkits[-1].minor)
    for table in ("cudnn", "tensorrt", "tensorrt_rtx", "nccl", "dcgm"):
        for row in catalogue.table(table):
            built: tuple[str, ...] = getattr(row, "built_for_cuda", ())
            of: tuple[str, ...] = getattr(row, "cuda_majors", ())
            said = [
                f"CUDA {one} is no toolkit"
                for one in (*built, *of)
                if one not in minors | majors and numbers(one) <= newest[: one.count(".") + 1]
            ]
            if not {minor.split(".")[0] for minor in built} <= set(of):
                said.append(f"built for {' '.join(built)}, and majors {' '.join(of)}")
            if table in ("cudnn", "dcgm") and not of:
                said.append("it is built for no CUDA")
            least13 = getattr(row, "min_cc_cuda13", None)
            if least13 and "13" not in of:
                said.append("it has no CUDA 13 build")
            for text in said:
                yield LintFinding("CAT-LIBRARY", table, str(getattr(row, "version", "")), text)


def _torch(catalogue: Catalogue) -> Findings:
    releases = {row.version for row in catalogue.torch}
    targets: dict[str, set[str]] = {}
    for toolkit in catalogue.toolkits:
        targets.setdefault(toolkit.minor, set()).update(toolkit.sm)
    for row in catalogue.torch_variants:
        said = []
        if row.version not in releases:
            said.append(f"PyTorch {row.version} is not in the catalogue")
        if row.cuda not in targets:
            said.append(f"CUDA {row.cuda} is no toolkit")
        elif beyond := {*row.sm, *row.sm_sbsa} - targets[row.cuda]:
            said.append(f"CUDA {row.cuda} has no targets {' '.join(sorted(beyond))}")
        for text in said:
            key = f"{row.version} {row.cuda}"
            yield LintFinding("CAT-FRAMEWORK", "torch_variants", key, text)
    for default in catalogue.torch:
        pins = (("cudnn", default.cudnn), ("nccl", default.nccl))
        for text in [t for table, pin in pins if (t := _pin(catalogue, table, pin))]:
            yield LintFinding("CAT-FRAMEWORK", "torch", default.version, text)
        if default.cuda and default.cuda not in targets:
            text = f"CUDA {default.cuda} is no toolkit"
            yield LintFinding("CAT-FRAMEWORK", "torch", default.version, text)


def _pin(catalogue: Catalogue, table: str, version: str | None) -> str:
    """Say that a pinned version is missing, unless it is older than the table begins."""
    there = [str(getattr(row, "version", "")) for row in catalogue.table(table)]
    if version is None or version in there or numbers(version) < numbers(there[0]):
        return ""
    return f"it pins {table} {version}, which is not in the catalogue"


def _tensorflow(catalogue: Catalogue) -> Findings:
    for row in catalogue.tensorflow:
        if ("rc" in row.version) != bool(row.prerelease):
            text = "its version and `prerelease` disagree"
            yield LintFinding("CAT-FRAMEWORK", "tensorflow", row.version, text)
        if bool(row.cuda_major) != bool(row.cudnn_least):
            text = "what [and-cuda] brings is half known"
            yield LintFinding("CAT-FRAMEWORK", "tensorflow", row.version, text)


def _packages(catalogue: Catalogue) -> Findings:
    for row in catalogue.packages:
        key = f"{row.where} {row.pattern}"
        if not re.fullmatch(r"PKG(-[A-Z]+)+", row.code):
            yield LintFinding("CAT-PATTERN", "packages", key, f"code {row.code!r}")
        try:
            pattern = re.compile(row.pattern)
        except re.error as error:
            yield LintFinding("CAT-PATTERN", "packages", key, f"no regular expression: {error}")
            continue
        anything = pattern.fullmatch("") or pattern.fullmatch("some-package=1.0-1")
        if anything or re.search(r"^\^|\$$", row.pattern):
            text = "it matches anything, or anchors itself though it must match whole anyway"
            yield LintFinding("CAT-PATTERN", "packages", key, text)


def _gpus(catalogue: Catalogue) -> Findings:
    branches = {row.branch for row in catalogue.drivers}
    names = {row.name.casefold(): row for row in catalogue.gpus}
    if len(names) != len(catalogue.gpus):
        text = "two names that differ in case only"
        yield LintFinding("CAT-GPU-NAME", "gpus", "", text)
    for row in catalogue.gpus:
        aliases = [alias.casefold() for alias in row.aliases]
        for alias in row.aliases:
            if alias.casefold() in names and names[alias.casefold()] is not row:
                text = f"its alias {alias!r} is another GPU's name"
                yield LintFinding("CAT-GPU-NAME", "gpus", row.name, text)
        if len(set(aliases)) != len(aliases) or row.name.casefold() in aliases:
            text = "an alias that stands there twice, or is the name"
            yield LintFinding("CAT-GPU-NAME", "gpus", row.name, text)
        for branch in {row.last_branch, (row.first_driver or "").split(".")[0]} - {None, ""}:
            if branch not in branches and numbers(str(branch)) > numbers(
                catalogue.drivers[0].branch
            ):
                text = f"branch {branch} is not in the catalogue"
                yield LintFinding("CAT-UNKNOWN-BRANCH", "gpus", row.name, text)
        for text in _gpu(row, catalogue):
            yield LintFinding("CAT-GPU", "gpus", row.name, text)


def _gpu(row: Gpu, catalogue: Catalogue) -> list[str]:
    said = []
    if row.architecture not in ARCHITECTURES:
        said.append(f"architecture {row.architecture!r} is not known")
    if (row.open_module == "unsupported") != (numbers(row.cc) < (7, 5)):
        said.append(f"open module {row.open_module} at compute capability {row.cc}")
    serving = [t for t in catalogue.toolkits if row.cc.replace(".", "") in t.sm]
    oldest = catalogue.toolkits[0]
    if not serving:
        said.append(f"no toolkit targets compute capability {row.cc}")
    elif numbers(row.first_toolkit) < numbers(oldest.minor):
        if serving[0] is not oldest:
            said.append(f"first toolkit {row.first_toolkit}, and {oldest.version} has no target")
    elif serving[0].minor != row.first_toolkit:
        said.append(
            f"first toolkit {row.first_toolkit}, and {serving[0].minor} is the first target"
        )
    return said


FACTS: tuple[Callable[[Catalogue], Findings], ...] = (
    *(_distributions, _toolkits, _components, _drivers, _archives, _libraries),
    *(_torch, _tensorflow, _gpus, _packages),
)
"""Every check of one table against others."""
