"""What of apt's configuration on a host stands in the lock's way, and may it be moved aside?

Pure. `preflight/sources.py` refuses or tells what stays; `repository.py` moves aside what the
caller of a run takes over.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cudactl.contracts.lock import StackLock
from cudactl.contracts.state import AptSource, HostState

OFFICIAL = "developer.download.nvidia.com"
# NVIDIA's folders: …/cuda/repos/<distribution>/<architecture>/.
FOLDER = re.compile(r"/(?P<distribution>(?:ubuntu|debian|wsl)[a-z0-9.-]*)/(?P<arch>[a-z0-9_]+)/*$")
ARCHITECTURES = ("x86_64", "sbsa", "arm64", "aarch64", "amd64", "ppc64el", "ppc64le")
# Repositories that NVIDIA has merged into the CUDA one and no longer fills.
ENDED = ("/machine-learning/repos/",)


@dataclass(frozen=True)
class Obstacle:
    """One thing in the way, or that should be known."""

    code: str
    found: str
    expected: str
    remedy: str
    path: str
    sha256: str | None
    refuses: bool = True
    """False: the lock's pins win over it."""
    movable: bool = True
    """The whole file may go: it holds nothing but this."""


def key_path(name: str) -> str:
    """Return where a source's public key lies on a host."""
    return f"/usr/share/keyrings/cudactl-{name}.asc"


def apt_obstacles(lock: StackLock, state: HostState) -> list[Obstacle]:
    """Return what stands in the way, the worst of each file first."""
    if not placed_sources(lock):
        return []
    found = [*_sources(lock, state), *_pins(lock, state), *_keys(state)]
    return sorted(found, key=lambda o: not o.refuses)


def placed_sources(lock: StackLock) -> dict[str, str]:
    """Return address → key path of the sources that are placed; the distribution's are there."""
    return {
        source.url.rstrip("/"): key_path(source.name)
        for source in lock.sources
        if source.kind == "apt" and not source.distribution
    }


def _sources(lock: StackLock, state: HostState) -> Iterator[Obstacle]:
    wanted = placed_sources(lock)
    theirs = [source for source in state.apt_sources if not source.ours]
    for source in theirs:
        for uri in source.uris:
            plain = uri.rstrip("/")
            if plain in wanted:
                if source.signed_by != wanted[plain]:
                    yield _conflict(source, uri, wanted[plain])
                continue
            wrong = _wrong_folder(lock, uri)
            other = _two_keys(source, plain, theirs)
            if other is not None:
                yield other
            elif wrong is not None:
                found, expected = wrong
                yield _of(source, "PREFLIGHT-SOURCE-FOLDER", f"{uri}, {found}", expected)
            elif any(part in uri for part in ENDED):
                yield _of(
                    source,
                    "PREFLIGHT-SOURCE-ENDED",
                    f"{uri}, which NVIDIA no longer fills",
                    "no source of that address",
                )
            elif OFFICIAL in uri or FOLDER.search(uri):
                yield _of(
                    source,
                    "PREFLIGHT-OTHER-SOURCE",
                    f"{uri}, which also offers NVIDIA packages; the lock's versions win by their "
                    "pins",
                    "",
                    refuses=False,
                )
            else:
                yield _of(
                    source,
                    "PREFLIGHT-OTHER-ORIGIN",
                    f"{uri}, another origin of NVIDIA's packages; the lock's versions win by "
                    "their pins",
                    "",
                    refuses=False,
                    movable=False,
                )


def _conflict(source: AptSource, uri: str, key: str) -> Obstacle:
    signed = "a key written into it" if "BEGIN PGP" in (source.signed_by or "") else None
    signed = signed or source.signed_by or "nothing"
    return _of(
        source,
        "PREFLIGHT-SOURCE-CONFLICT",
        f"{uri} with Signed-By {signed}",
        f"one entry for that address, with Signed-By {key}: two different ones stop all of apt",
    )


def _of(
    source: AptSource,
    code: str,
    found: str,
    expected: str,
    *,
    refuses: bool = True,
    movable: bool = True,
) -> Obstacle:
    alone = source.others == 0 and source.sha256 is not None
    movable = movable and alone and source.file.startswith("/etc/apt/sources.list.d/")
    way = "--take-over moves the file aside and keeps a copy; or remove it yourself"
    if refuses and not movable:
        way = f"take the entry out of {source.file}, which holds other sources too"
    return Obstacle(
        code=code,
        found=f"{source.file} names {found}",
        expected=expected,
        remedy=way if refuses or movable else "",
        path=source.file,
        sha256=source.sha256,
        refuses=refuses,
        movable=movable,
    )


def _wrong_folder(lock: StackLock, uri: str) -> tuple[str, str] | None:
    """Return what is wrong about a folder of NVIDIA's repository, and what is expected."""
    match = FOLDER.search(uri)
    if match is None or match["arch"] not in ARCHITECTURES:
        return None
    slug = lock.target.os.replace("-", "")
    # NVIDIA writes ubuntu2404 and debian12.
    slug = slug.replace(".", "") if slug.startswith("ubuntu") else slug
    if match["distribution"] != slug:
        return f"which is for {match['distribution']}", f"{slug}/{lock.target.arch}"
    if match["arch"] != lock.target.arch:
        return f"a folder for {match['arch']}", f"{slug}/{lock.target.arch} (NVIDIA's own names)"
    return None


def _two_keys(source: AptSource, plain: str, all_: list[AptSource]) -> Obstacle | None:
    """Return the obstacle where two files disagree about one address: apt stops already."""
    for other in all_:
        same = plain in [uri.rstrip("/") for uri in other.uris]
        if same and other.signed_by != source.signed_by:
            return _of(
                source,
                "PREFLIGHT-SOURCE-CONFLICT",
                f"{plain} with Signed-By {source.signed_by or 'nothing'}, and {other.file} with "
                f"{other.signed_by or 'nothing'}",
                "one Signed-By for one address: two different ones stop all of apt",
            )
    return None


def _pins(lock: StackLock, state: HostState) -> Iterator[Obstacle]:
    names = {package.name for package in lock.packages}
    for file in state.apt_files:
        # What a package of the lock brings is the lock's own wish.
        if file.kind != "pin" or (file.package is not None and file.package in names):
            continue
        hits = [
            name
            for name in sorted(names)
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in file.names if pattern != "*")
        ]
        brought = f" (brought by {file.package})" if file.package else ""
        movable = file.path.startswith("/etc/apt/preferences.d/")
        if hits:
            yield Obstacle(
                code="PREFLIGHT-PIN-FOREIGN",
                found=f"{file.path}{brought} pins {_listed(hits)}, which the lock holds",
                expected="one pin for one package",
                remedy="--take-over moves the file aside and keeps a copy; or remove it yourself"
                if movable
                else f"take those stanzas out of {file.path}",
                path=file.path,
                sha256=file.sha256,
                movable=movable,
            )
        else:
            yield Obstacle(
                code="PREFLIGHT-PIN-OTHER",
                found=f"{file.path}{brought} ranks NVIDIA's packages; the lock's own pins win over "
                "it, and packages outside the lock still follow it",
                expected="",
                remedy="--take-over moves it aside" if movable else "",
                path=file.path,
                sha256=file.sha256,
                refuses=False,
                movable=movable,
            )


def _keys(state: HostState) -> Iterator[Obstacle]:
    for file in state.apt_files:
        if file.kind == "key":
            movable = file.path.startswith("/etc/apt/trusted.gpg.d/")
            yield Obstacle(
                code="PREFLIGHT-OLD-KEY",
                found=f"{file.path} trusts NVIDIA's key 7fa2af80 for every repository; NVIDIA gave "
                "that key up on 27 April 2022",
                expected="",
                remedy="--take-over moves it aside; or remove it yourself"
                if movable
                else "apt-key del 7fa2af80",
                path=file.path,
                sha256=file.sha256,
                refuses=False,
                movable=movable,
            )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
