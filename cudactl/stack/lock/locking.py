"""From a wish to a lock: the catalogue's verdict, one verified index, the solver, the closure.

The catalogue is asked first, since it needs no network; then the same question is put to what the
index has. The same spec, catalogue and index give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cudactl.contracts.lock import Allowance, LockedPackage, LockSource, LockTarget, StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecFinding
from cudactl.stack.facts.catalogue import Catalogue, load_catalogue
from cudactl.stack.facts.rows import Distribution, Flavour
from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.index.apt import AptIndex, IndexSource, fetch_index
from cudactl.stack.index.fetching import default_cache, without_password
from cudactl.stack.lock.availability import index_dimensions
from cudactl.stack.lock.choices_apt import AptChoices, choose_libraries
from cudactl.stack.lock.choices_driver import choose_driver
from cudactl.stack.lock.closure import Closure, close
from cudactl.stack.refusals import StackRefused, check_allowances
from cudactl.stack.solver.constraints import ALLOWABLE
from cudactl.stack.solver.instance import Instance
from cudactl.stack.solver.solving import Question
from cudactl.stack.solver.wishes import wishes_of
from cudactl.stack.spec.check import answer, catalogue_question, flags
from cudactl.stack.spec.file import spec_hash, without_secrets

VENDOR = "https://developer.download.nvidia.com/compute/cuda/repos/"
DEBIAN_ARCH = {"x86_64": "amd64", "sbsa": "arm64"}
SOURCE = "nvidia"
INDEX_KNOWS_MORE = ("STACK-UNKNOWN-VERSION",)
"""Refusals of the catalogue alone that an index may overrule: it can have newer versions."""


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
    findings, solution = answer(question)
    if solution is None and (
        spec.packages == "wheels" or any(f.code not in INDEX_KNOWS_MORE for f in findings)
    ):
        raise StackRefused.because(findings)
    if spec.packages == "wheels":
        from cudactl.stack.lock.choices_wheels import lock_wheels

        assert solution is not None
        said = flags(question, solution, allowed)
        lock = lock_wheels(
            spec, solution, catalogue, _used(said, allowed), cache or default_cache()
        )
    else:
        distribution = catalogue.distribution(spec.os)
        index = fetch_index(apt_source(spec, distribution, folder), cache or default_cache())
        lock, said = lock_apt(spec, index, distribution, catalogue, allowed)
    return lock, _notes(said, lock, allowed, catalogue)


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
    asked = {
        "frameworks": bool(spec.frameworks),
        "driver.source: distro": spec.driver is not None and spec.driver.source == "distro",
    }
    for key, is_asked in asked.items():
        if is_asked:
            raise StackRefused(
                "STACK-NOT-SUPPORTED-YET",
                f"the spec asks for {key}, which this version can judge (stack check) and not lock",
                expected="driver (NVIDIA's), cuda, cudnn, tensorrt, nccl, dcgm, container_toolkit "
                "(apt); cuda, cudnn, nccl, tensorrt, tensorrt_rtx (wheels)",
                remedy=f"remove {key.split(' ')[0].rstrip(':')} from the spec for now",
            )


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
    index: AptIndex,
    distribution: Distribution,
    catalogue: Catalogue,
    allowed: Sequence[Allowance],
) -> tuple[StackLock, list[SpecFinding]]:
    """Return the lock of apt packages and what is to be said of it. Pure."""
    wishes = wishes_of(spec)
    question = Question(
        spec,
        catalogue,
        wishes,
        Instance(index_dimensions(catalogue, index, distribution, {wish.dim for wish in wishes})),
        tuple(allowance.code for allowance in allowed),
        index.source.title,
    )
    findings, solution = answer(question)
    if solution is None:
        raise StackRefused.because(findings)
    said = flags(question, solution, allowed)
    choices = AptChoices(index)
    choose_libraries(choices, spec, solution, catalogue)
    gpus = [gpu for name in spec.gpus for gpu in find_gpus(catalogue, name)]
    flavour = choose_driver(choices, spec, solution, distribution, gpus)
    closure = close(index, choices.wishes, choices.pins)
    lock = _lock(spec, index, choices, closure, flavour, catalogue, _used(said, allowed))
    return lock, said


def _lock(
    spec: StackSpec,
    index: AptIndex,
    choices: AptChoices,
    closure: Closure,
    flavour: Flavour | None,
    catalogue: Catalogue,
    used: list[Allowance],
) -> StackLock:
    packages = [
        LockedPackage(
            name=one.package.name,
            version=one.package.version,
            arch=one.package.arch,
            sha256=one.package.sha256,
            size=one.package.size,
            source=SOURCE,
            component=one.component,
            filename=one.package.filename,
            top_level=one.top_level,
            why=one.why,
            requires=list(one.requires),
            installed_bytes=one.package.installed_bytes,
        )
        for one in closure.chosen
    ]
    source = LockSource(
        name=SOURCE,
        kind="apt",
        url=without_password(index.source.url),
        vendor=index.source.vendor,
        fingerprint=index.key.fingerprint,
        signing_key=index.key.armoured,
        index_sha256=index.sha256,
    )
    return StackLock(
        spec=without_secrets(spec),
        spec_hash=spec_hash(spec),
        catalogue_hash=catalogue.hash,
        target=LockTarget(
            os=catalogue.distribution(spec.os).name,
            arch=spec.arch,
            kernel=spec.kernel,
            packages="apt",
        ),
        resolved=dict(sorted(choices.resolved.items())),
        driver_flavour=flavour,
        sources=[source],
        packages=packages,
        external=list(closure.external),
        allowed=used,
    )
