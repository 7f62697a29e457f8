"""Ask the catalogue, the calendar and the index whether a lock is still good."""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.contracts.lock import Component, LockSource, StackLock
from cudactl.contracts.outdated import Outdated, StaleFinding
from cudactl.contracts.spec import ArchiveSpec, MirrorSpec, StackSpec
from cudactl.stack.facts.catalogue import Catalogue, load_catalogue
from cudactl.stack.index.apt import AptIndex, IndexSource, fetch_index
from cudactl.stack.index.archive import locked_source
from cudactl.stack.index.suites import SuiteIndex, fetch_suites
from cudactl.stack.lock.file import read_lock
from cudactl.stack.lock.locking import DEBIAN_ARCH, lock_stack
from cudactl.stack.lock.outdated import judge_by_catalogue, worst_first
from cudactl.stack.lock.outdated_index import (
    judge_apt,
    judge_newer,
    judge_wheels,
    newer_in_apt,
    newer_in_wheels,
    wheel_listing,
)
from cudactl.workflow.places import cache_folder


def outdated(lock_path: Path, *, offline: bool, today: date | None = None) -> Outdated:
    """Return what about a lock is no longer good.

    Args:
        lock_path: The lock.
        offline: Judge by the catalogue alone.
        today: Day to judge by; None: today.

    Raises:
        UsageError: LOCK-….
        IndexRefused: INDEX-…, an index that cannot be trusted.
    """
    lock, catalogue = read_lock(lock_path), load_catalogue()
    day = today or date.today()
    findings = judge_by_catalogue(lock, catalogue, day)
    asked = False
    if not offline:
        with tempfile.TemporaryDirectory(prefix="cudactl-keys-") as folder:
            try:
                findings += _ask(lock, catalogue, Path(folder))
                asked = True
            except UnreachableError as error:
                findings.append(_unreachable(error))
    return Outdated(
        lock=lock.hash,
        day=day.isoformat(),
        catalogue=catalogue.hash,
        index_asked=asked,
        findings=worst_first(findings),
    )


def _ask(lock: StackLock, catalogue: Catalogue, keys: Path) -> list[StaleFinding]:
    """Return what the lock's own sources say, and what the same wish gives today."""
    findings: list[StaleFinding] = []
    newest: dict[Component, str] = {}
    for source in lock.sources:
        if source.kind == "apt":
            index = _index(lock, source, catalogue, keys)
            findings += judge_apt(lock, source, index)
            newest |= newer_in_apt(lock, source, index)
        else:
            listing = wheel_listing(source, lock)
            findings += judge_wheels(lock, source, listing)
            newest |= newer_in_wheels(lock, listing)
    again, refusal = _again(lock, catalogue, keys)
    if refusal is not None:
        findings.append(refusal)
    return [*findings, *judge_newer(lock, again, newest)]


def _index(
    lock: StackLock, source: LockSource, catalogue: Catalogue, keys: Path
) -> AptIndex | SuiteIndex:
    """Fetch a source's index; who must have signed it is what the lock says."""
    distribution = catalogue.distribution(lock.target.os)
    try:
        if source.distribution:
            place = locked_source(source, DEBIAN_ARCH[lock.target.arch])
            return fetch_suites(source.url, [place], cache_folder())
        return fetch_index(
            IndexSource(
                url=source.url,
                arch=DEBIAN_ARCH[lock.target.arch],
                architecture=lock.target.arch,
                vendor=source.vendor,
                key_name=distribution.key_file,
                fingerprint=source.fingerprint or distribution.fingerprint,
                key_file=_key(source, keys),
            ),
            cache_folder(),
        )
    except CudactlError as error:
        if error.code != "INDEX-WRONG-KEY":
            raise
        raise type(error)(
            error.code,
            error.found,
            expected=f"a signature by {source.fingerprint}, the key that the lock was made with",
            remedy="if the repository changed its key, compare the new one with what its owner "
            "publishes, then lock again",
        ) from None


def _again(
    lock: StackLock, catalogue: Catalogue, keys: Path
) -> tuple[StackLock | None, StaleFinding | None]:
    """Lock the same wish again, from the same sources and by the same keys."""
    try:
        again, _ = lock_stack(
            _same_sources(lock, catalogue, keys), allowed=lock.allowed, cache=cache_folder()
        )
    except UnreachableError:
        raise
    except CudactlError as error:
        return None, StaleFinding(
            code="OUTDATED-NO-LONGER-LOCKS",
            level="soft",
            subject="spec",
            found=f"the same wish gives no lock today: {error.code}: {error.found}",
            expected=error.expected,
            remedy=error.remedy,
        )
    return again, None


def _same_sources(lock: StackLock, catalogue: Catalogue, keys: Path) -> StackSpec:
    """Return the lock's wish with its own sources as mirror and archive; paths are absolute.

    A lock knows its keys, and not where the spec lay that named the keys' files.
    """
    again = lock.spec.model_copy(update=_same_archive(lock, keys))
    for source in lock.sources:
        if source.kind != lock.target.packages or source.distribution:
            continue
        if source.vendor and lock.spec.mirror is None:
            continue
        url = source.url
        if source.kind == "apt":
            repository = catalogue.distribution(lock.target.os).repository
            url = url.removesuffix(f"{repository}/{lock.target.arch}/")
        key = _key(source, keys)
        mirror = MirrorSpec(url=url, key=str(key) if key is not None else None)
        return again.model_copy(update={"mirror": mirror})
    return again


def _same_archive(lock: StackLock, keys: Path) -> dict[str, ArchiveSpec]:
    """Return the archive that a lock's driver came from, as a spec says it; empty: from none."""
    sources = [source for source in lock.sources if source.distribution]
    if not sources:
        return {}
    path = keys / "archive.asc"
    path.write_text("".join(source.signing_key or "" for source in sources))
    archive = ArchiveSpec(url=sources[0].url, security=sources[-1].url, key=str(path))
    return {"archive": archive}


def _key(source: LockSource, keys: Path) -> Path | None:
    if source.signing_key is None:
        return None
    path = keys / f"{source.name}.asc"
    path.write_text(source.signing_key)
    return path


def _unreachable(error: UnreachableError) -> StaleFinding:
    return StaleFinding(
        code="OUTDATED-INDEX-UNREACHABLE",
        level="unmeasured",
        subject="index",
        found=error.found,
        expected=error.expected,
        remedy=f"{error.remedy}; or judge by the catalogue alone: --offline",
    )
