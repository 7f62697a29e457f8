"""A distribution's own archive: where it is, which suites and components, whose keys.

The addresses are the ones that the distributions' installers write; a spec's `archive` names
others. Trust comes from the distribution's keyring on this machine, as apt's own does, or from the
key file that the spec names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import LockSource
from cudactl.contracts.spec import ArchiveSpec, StackSpec
from cudactl.stack.facts.rows import Distribution
from cudactl.stack.index.key_files import read_key_file
from cudactl.stack.index.openpgp import PublicKey, read_keys
from cudactl.stack.index.suites import SuiteSource

KEYRINGS = Path("/usr/share/keyrings")
"""Where the distributions' keyring packages put their keys."""


@dataclass(frozen=True)
class _Family:
    """What the archives of one distribution family have in common."""

    title: str
    url: str
    """Base address."""
    security: str
    """Base address of the security suite."""
    ports: str
    """Base address of both for 64-bit Arm, where that is another one."""
    components: tuple[str, ...]
    """Components that hold drivers, or what drivers need."""
    own_security: bool
    """True where a mirror of the archive has no security suite: that lies beside it."""


# deb.debian.org and archive.ubuntu.com are what debian-installer and subiquity write into
# /etc/apt; ports.ubuntu.com is Ubuntu's address for every architecture but amd64 and i386.
_FAMILIES = {
    "debian": _Family(
        title="Debian",
        url="http://deb.debian.org/debian/",
        security="http://deb.debian.org/debian-security/",
        ports="",
        components=("main", "contrib", "non-free", "non-free-firmware"),
        own_security=True,
    ),
    "ubuntu": _Family(
        title="Ubuntu",
        url="http://archive.ubuntu.com/ubuntu/",
        security="http://security.ubuntu.com/ubuntu/",
        ports="http://ports.ubuntu.com/ubuntu-ports/",
        components=("main", "restricted", "multiverse"),
        own_security=False,
    ),
}


def archive_title(distribution: Distribution) -> str:
    """Return what a distribution's archive is called in sentences: "Ubuntu 24.04's archive"."""
    release = distribution.name.partition("-")[2]
    return f"{_FAMILIES[distribution.family].title} {release}'s archive"


def archive_sources(
    spec: StackSpec, distribution: Distribution, arch: str, folder: Path
) -> list[SuiteSource]:
    """Return where the packages of a distribution's archive come from.

    Args:
        spec: The wish; its `archive` may name other addresses and keys.
        distribution: The target's distribution.
        arch: Debian architecture of the target.
        folder: What a relative key path in the spec is relative to.

    Raises:
        UsageError: ARCHIVE-KEY-MISSING, ARCHIVE-KEY-UNREADABLE, ARCHIVE-KEY-WRONG.
    """
    family = _FAMILIES[distribution.family]
    wish = spec.archive or ArchiveSpec()
    keys, trusted_by = _keys(wish, distribution, folder)
    ports = family.ports if arch != "amd64" else ""
    base = wish.url or ports or family.url
    inside = wish.url if not family.own_security else None
    security = wish.security or inside or ports or family.security
    code = distribution.codename
    suites = {_folder(base): [code, f"{code}-updates"]}
    suites.setdefault(_folder(security), []).append(f"{code}-security")
    named = {_folder(base): distribution.family}
    return [
        SuiteSource(
            name=named.get(url, f"{distribution.family}-security"),
            url=url,
            suites=tuple(names),
            components=family.components,
            arch=arch,
            vendor=url in (family.url, family.security, family.ports),
            keys=keys,
            trusted_by=trusted_by,
        )
        for url, names in suites.items()
    ]


def locked_source(source: LockSource, arch: str) -> SuiteSource:
    """Return the suites that a lock was made from, trusted by the keys in the lock."""
    return SuiteSource(
        name=source.name,
        url=source.url,
        suites=tuple(source.suites),
        components=tuple(source.components),
        arch=arch,
        vendor=source.vendor,
        keys=tuple(read_keys((source.signing_key or "").encode())),
        trusted_by="the keys in the lock",
    )


def _keys(
    wish: ArchiveSpec, distribution: Distribution, folder: Path
) -> tuple[tuple[PublicKey, ...], str]:
    """Return the keys that are trusted for the archive, and where they come from."""
    if wish.key is not None:
        path = folder / Path(wish.key).expanduser()
        return tuple(read_key_file(path, "archive.key")), str(path)
    package = f"{distribution.family}-archive-keyring"
    path = KEYRINGS / f"{package}.gpg"
    if not path.is_file():
        raise UsageError(
            "ARCHIVE-KEY-MISSING",
            f"this machine has no {path}, and the spec names no key for "
            f"{archive_title(distribution)}",
            expected="the keys that sign the archive, so that its index can be trusted",
            remedy=f"apt-get install {_keyring_package(distribution.family)}, or name a key file "
            "in the spec: archive: {key: FILE}",
        )
    return tuple(read_key_file(path, "archive.key")), str(path)


def _keyring_package(family: str) -> str:
    # Ubuntu's keyring is called so on Debian; on Ubuntu itself it is ubuntu-keyring.
    return (
        "ubuntu-keyring (on Debian: ubuntu-archive-keyring)"
        if family == "ubuntu"
        else ("debian-archive-keyring")
    )


def _folder(url: str) -> str:
    return url.rstrip("/") + "/"
