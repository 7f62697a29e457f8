"""From a wish to a lock: the catalogue's verdict, one verified index, the solver, the closure.

The catalogue is asked first, since it needs no network; then the same question is put to what the
index has. The same spec, catalogue and index give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cudactl.contracts.lock import Allowance, Component, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecFinding
from cudactl.stack.facts.catalogue import Catalogue, load_catalogue
from cudactl.stack.facts.rows import Distribution, Flavour
from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.index.apt import AptIndex, IndexSource, fetch_index
from cudactl.stack.index.archive import archive_sources, archive_title
from cudactl.stack.index.fetching import default_cache
from cudactl.stack.index.suites import SuiteIndex, fetch_suites
from cudactl.stack.lock.assembly import SOURCE, LockedPart, archive_part, assemble, vendor_part
from cudactl.stack.lock.availability import FROM_INDEX, index_dimensions
from cudactl.stack.lock.choices_apt import AptChoices, choose_beside, choose_libraries
from cudactl.stack.lock.choices_archive import close_archive_driver
from cudactl.stack.lock.choices_driver import choose_driver
from cudactl.stack.lock.closure import close
from cudactl.stack.refusals import StackRefused, check_allowances
from cudactl.stack.solver.constraints import ALLOWABLE
from cudactl.stack.solver.instance import Instance
from cudactl.stack.solver.solving import Question
from cudactl.stack.solver.wishes import brings_driver, wishes_of
from cudactl.stack.spec.check import all_flags, answer_all, catalogue_question

__all__ = ["SOURCE", "apt_source", "lock_apt", "lock_stack"]

VENDOR = "https://developer.download.nvidia.com/compute/cuda/repos/"
DEBIAN_ARCH = {"x86_64": "amd64", "sbsa": "arm64"}
INDEX_KNOWS_MORE = ("STACK-UNKNOWN-VERSION",)
"""Refusals of the catalogue alone that an index may overrule: it can have newer versions."""
ARCHIVE_KNOWS_MORE = (
    *(*INDEX_KNOWS_MORE, "STACK-DRIVER-SOURCE", "STACK-DRIVER-TRANSITIONAL"),
    "STACK-NO-FABRIC-MANAGER",
)
"""The same where the distribution's archive is asked for its drivers: those change monthly."""


def lock_stack(
    spec: StackSpec,
    *,
    allowed: Sequence[Allowance] = (),
    folder: Path = Path(),
    cache: Path | None = None,
) -> tuple[StackLock, list[str]]:
    """Return the lock that answers a wish, and notes for the reader.

    Args:
        spec: The wish.
        allowed: Refusals that may be overridden.
        folder: What relative paths in the spec are relative to.
        cache: Where verified indexes are kept.

    Raises:
        StackRefused: STACK-…
        IndexRefused: INDEX-…
        UnreachableError: INDEX-UNREACHABLE.
        UsageError: MIRROR-KEY-…, STACK-NOT-ALLOWABLE.
    """
    check_allowances(allowed, ALLOWABLE)
    _supported(spec)
    catalogue = load_catalogue()
    question = catalogue_question(spec, catalogue, allowed, alone=True)
    findings, solution, beside = answer_all(question)
    unheard = ARCHIVE_KNOWS_MORE if from_archive(spec) else INDEX_KNOWS_MORE
    if solution is None and (
        spec.packages == "wheels" or any(f.code not in unheard for f in findings)
    ):
        raise StackRefused.because(findings)
    if spec.packages == "wheels":
        from cudactl.stack.lock.choices_wheels import lock_wheels

        assert solution is not None
        said = all_flags(question, solution, beside, allowed)
        lock = lock_wheels(
            spec, solution, catalogue, _used(said, allowed), cache or default_cache()
        )
    else:
        distribution = catalogue.distribution(spec.os)
        index, archive = _indexes(spec, distribution, folder, cache or default_cache())
        lock, said = lock_apt(spec, index, distribution, catalogue, allowed, archive)
    return _with_minimum(lock, catalogue), _notes(said, lock, allowed, catalogue)


def _with_minimum(lock: StackLock, catalogue: Catalogue) -> StackLock:
    """Return the lock with the least driver that it needs of a host which brings its own."""
    if lock.resolved.get("driver") != "preinstalled" or "cuda" not in lock.resolved:
        return lock
    toolkit = next(t for t in catalogue.toolkits if t.version == lock.resolved["cuda"])
    return lock.model_copy(update={"driver_minimum": toolkit.driver_minor})


def _used(said: Sequence[SpecFinding], allowed: Sequence[Allowance]) -> list[Allowance]:
    """Return the overrides that were needed, by code."""
    codes = {finding.code for finding in said if finding.allowed is not None}
    return sorted((one for one in allowed if one.code in codes), key=lambda one: one.code)


def _notes(
    said: Sequence[SpecFinding],
    lock: StackLock,
    allowed: Sequence[Allowance],
    catalogue: Catalogue,
) -> list[str]:
    """Return what the reader should know, one sentence each."""
    notes = []
    for one in said:
        why = f" (allowed: {one.allowed})" if one.allowed is not None else ""
        notes.append(f"{one.code}{why}: {one.text}")
    used = [one.code for one in lock.allowed]
    for code in (allowance.code for allowance in allowed):
        if code not in used:
            notes.append(f"--allow {code} was not needed and is not written into the lock")
    driver = lock.resolved.get("driver")
    if driver in (None, "preinstalled") and "cuda" in lock.resolved:
        toolkit = next(t for t in catalogue.toolkits if t.version == lock.resolved["cuda"])
        begun = (
            "the driver is preinstalled and not checked here"
            if driver
            else "the lock brings no driver"
        )
        notes.append(
            f"{begun}: to run, CUDA {toolkit.version} needs {toolkit.driver_minor} or later on "
            "the host"
        )
    return notes


def _supported(spec: StackSpec) -> None:
    """Refuse what is asked for and cannot be locked yet."""
    if spec.frameworks:
        raise StackRefused(
            "STACK-NOT-SUPPORTED-YET",
            "the spec asks for frameworks, which this version can judge (stack check) and not lock",
            expected="driver, cuda, cudnn, tensorrt, nccl, dcgm, container_toolkit (apt); cuda, "
            "cudnn, nccl, tensorrt, tensorrt_rtx (wheels)",
            remedy="remove frameworks from the spec for now",
        )


def from_archive(spec: StackSpec) -> bool:
    """Return True where a lock takes its driver from the distribution's archive."""
    distro = spec.driver is not None and spec.driver.source == "distro"
    return distro and spec.packages == "apt" and brings_driver(spec)


def _indexes(
    spec: StackSpec, distribution: Distribution, folder: Path, cache: Path
) -> tuple[AptIndex | None, SuiteIndex | None]:
    """Return NVIDIA's index and the archive's, each where the wish asks something of it."""
    archive = None
    if from_archive(spec):
        places = archive_sources(spec, distribution, DEBIAN_ARCH[spec.arch], folder)
        archive = fetch_suites(archive_title(distribution), places, cache)
    vendor = set(FROM_INDEX) - ({"driver"} if archive is not None else set())
    if archive is not None and not any(wish.dim in vendor for wish in wishes_of(spec)):
        return None, archive
    return fetch_index(apt_source(spec, distribution, folder), cache), archive


def apt_source(spec: StackSpec, distribution: Distribution, folder: Path) -> IndexSource:
    """Return where the wish's apt packages come from, and who must have signed them."""
    base = spec.mirror.url.rstrip("/") + "/" if spec.mirror is not None else VENDOR
    key = Path(spec.mirror.key).expanduser() if spec.mirror and spec.mirror.key else None
    return IndexSource(
        url=f"{base}{distribution.repository}/{spec.arch}/",
        arch=DEBIAN_ARCH[spec.arch],
        architecture=spec.arch,
        vendor=spec.mirror is None,
        key_name=distribution.key_file,
        fingerprint=distribution.fingerprint,
        key_file=folder / key if key is not None else None,
    )


def lock_apt(
    spec: StackSpec,
    index: AptIndex | None,
    distribution: Distribution,
    catalogue: Catalogue,
    allowed: Sequence[Allowance],
    archive: SuiteIndex | None = None,
) -> tuple[StackLock, list[SpecFinding]]:
    """Return the lock of apt packages and what is to be said of it. Pure.

    Args:
        spec: The wish.
        index: NVIDIA's index; None where nothing is asked of it.
        distribution: The target's distribution.
        catalogue: Facts.
        allowed: Refusals that may be overridden.
        archive: The distribution's own index, where the driver comes from it.
    """
    wishes = wishes_of(spec)
    asked = {wish.dim for wish in wishes}
    titles = [one.title for one in (index, archive) if one is not None]
    question = Question(
        spec,
        catalogue,
        wishes,
        Instance(index_dimensions(catalogue, index, distribution, asked, archive)),
        tuple(allowance.code for allowance in allowed),
        " and ".join(titles),
    )
    findings, solution, beside = answer_all(question)
    if solution is None:
        raise StackRefused.because(findings)
    said = all_flags(question, solution, beside, allowed)
    gpus = [gpu for name in spec.gpus for gpu in find_gpus(catalogue, name)]
    parts: list[LockedPart] = []
    flavour: Flavour | None = None
    resolved: dict[Component, str] = {}
    if index is not None:
        choices = AptChoices(index)
        choose_libraries(choices, spec, solution, catalogue)
        for one in beside:
            choose_beside(choices, one.wish, one.solution, catalogue)
        if archive is None:
            flavour = choose_driver(choices, spec, solution, distribution, gpus)
        parts.append(vendor_part(index, close(index, choices.wishes, choices.pins)))
        resolved |= choices.resolved
    if archive is not None:
        closure, flavour, more = close_archive_driver(archive, spec, solution, distribution, gpus)
        parts.append(archive_part(archive, closure))
        resolved["driver"] = solution["driver"].version
        said += more
    lock = assemble(spec, parts, resolved, flavour, catalogue, _used(said, allowed))
    return lock, said
