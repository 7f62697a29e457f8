"""From a wish to a lock: the catalogue's rules, one verified index, choices, closure.

The same spec, catalogue and index give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cudactl.contracts.lock import (
    Allowance,
    LockedPackage,
    LockSource,
    LockTarget,
    StackLock,
)
from cudactl.contracts.spec import StackSpec
from cudactl.stack.catalogue import Catalogue, load_catalogue
from cudactl.stack.choices_apt import (
    AptChoices,
    choose_container_toolkit,
    choose_cuda,
    choose_cudnn,
    choose_nccl,
    choose_tensorrt,
)
from cudactl.stack.choices_driver import choose_driver
from cudactl.stack.closure import Closure, close
from cudactl.stack.facts import Distribution, Flavour
from cudactl.stack.fetching import default_cache, without_password
from cudactl.stack.index_apt import AptIndex, IndexSource, fetch_index
from cudactl.stack.refusals import Ruling, StackRefused
from cudactl.stack.rules import Prospects, prospects
from cudactl.stack.specfile import spec_hash

VENDOR = "https://developer.download.nvidia.com/compute/cuda/repos/"
DEBIAN_ARCH = {"x86_64": "amd64", "sbsa": "arm64"}
SOURCE = "nvidia"


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
    catalogue = load_catalogue()
    ruling = Ruling(allowed)
    open_questions = prospects(spec, catalogue, ruling)
    if spec.packages == "wheels":
        from cudactl.stack.choices_wheels import lock_wheels

        lock = lock_wheels(spec, open_questions, catalogue, ruling, cache or default_cache())
    else:
        source = apt_source(spec, open_questions.distribution, folder)
        index = fetch_index(source, cache or default_cache())
        lock = lock_apt(spec, index, open_questions, catalogue, ruling)
    for code in ruling.unused():
        ruling.note(f"--allow {code} was not needed and is not written into the lock")
    return lock, ruling.notes


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
    open_questions: Prospects,
    catalogue: Catalogue,
    ruling: Ruling,
) -> StackLock:
    """Return the lock of apt packages. Pure: everything it needs is in its arguments."""
    choices = AptChoices(index)
    toolkit = None
    if spec.cuda is not None:
        toolkit = choose_cuda(choices, spec, open_questions, catalogue, ruling)
        if spec.cudnn is not None:
            choose_cudnn(choices, spec, toolkit)
        if spec.tensorrt is not None:
            choose_tensorrt(choices, spec, toolkit, ruling)
        if spec.nccl is not None:
            choose_nccl(choices, spec, toolkit)
    if spec.container_toolkit is not None:
        choose_container_toolkit(choices, spec)
    flavour = choose_driver(choices, spec, open_questions, catalogue, toolkit, ruling)
    if not choices.wishes:
        raise StackRefused(
            "STACK-EMPTY",
            "the spec asks for no package at all",
            expected="cuda, a driver, or another component",
            remedy='add a line such as: cuda: "13.0"',
        )
    closure = close(index, choices.wishes, choices.pins)
    return _lock(spec, index, choices, closure, flavour, catalogue, ruling)


def _lock(
    spec: StackSpec,
    index: AptIndex,
    choices: AptChoices,
    closure: Closure,
    flavour: Flavour | None,
    catalogue: Catalogue,
    ruling: Ruling,
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
        spec=spec,
        spec_hash=spec_hash(spec),
        catalogue_hash=catalogue.hash,
        target=LockTarget(os=spec.os, arch=spec.arch, packages="apt"),
        resolved=dict(sorted(choices.resolved.items())),
        driver_flavour=flavour,
        sources=[source],
        packages=packages,
        external=list(closure.external),
        allowed=ruling.used,
    )
