"""A signed Release file: who signed it, what it says of itself, which files it lists.

Both layouts of apt begin here: a flat repository, and the suites of a distribution's archive.
Nothing is returned that was not signed by an expected key.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from cudactl.stack.index.fetching import IndexRefused, fetch, unreachable
from cudactl.stack.index.openpgp import PublicKey
from cudactl.stack.index.signature import BEGIN, check

LARGEST_RELEASE = 1 << 20
"""Largest InRelease, bytes."""


@dataclass(frozen=True)
class Release:
    """A Release file whose signature is good."""

    title: str
    """The repository, for people."""
    key: PublicKey
    """Key that signed it."""
    fields: dict[str, str]
    """Its fields; a field's continuation lines are kept in its value."""

    @property
    def day(self) -> str:
        """Day that it gives itself, ISO 8601; empty: it gives none."""
        try:
            return parsedate_to_datetime(self.fields.get("Date", "")).date().isoformat()
        except (ValueError, TypeError, OverflowError):
            return ""

    def files(self) -> dict[str, tuple[str, int]]:
        """Return file name → sha256 and size, as the signed text lists them."""
        files: dict[str, tuple[str, int]] = {}
        for line in self.fields.get("SHA256", "").split("\n"):
            fields = line.split()
            if len(fields) == 3 and _is_sha256(fields[0]) and fields[1].isdecimal():
                files[fields[2].removeprefix("./")] = (fields[0], int(fields[1][:18]))
        return files

    def check_valid(self) -> None:
        """Refuse a Release whose time is over.

        Raises:
            IndexRefused: INDEX-EXPIRED, INDEX-MALFORMED.
        """
        until = self.fields.get("Valid-Until")
        if not until:
            return
        try:
            ends = parsedate_to_datetime(until).timestamp()
        except (ValueError, TypeError, OverflowError):
            raise malformed(self.title, f"Valid-Until is {until!r}") from None
        if ends < time.time():
            raise IndexRefused(
                "INDEX-EXPIRED",
                f"{self.title} was valid until {until}",
                expected="an index that is still valid",
                remedy="synchronise the mirror again (or set this machine's clock)",
            )

    def check_architecture(self, *names: str) -> None:
        """Refuse a repository that is for none of these architectures.

        Raises:
            IndexRefused: INDEX-WRONG-ARCH.
        """
        said = (self.fields.get("Architectures") or self.fields.get("Architecture") or "").split()
        if said and not {*names, "all"} & set(said):
            raise IndexRefused(
                "INDEX-WRONG-ARCH",
                f"{self.title} is for {' '.join(said)}",
                expected=f"{names[-1]} ({names[0]})",
                remedy="correct `arch` in the spec, or the mirror's folders",
            )


def fetch_inrelease(url: str, title: str) -> bytes:
    """Return the signed Release file of a folder.

    Raises:
        UnreachableError: INDEX-UNREACHABLE.
        IndexRefused: INDEX-UNSIGNED, INDEX-TOO-LARGE.
    """
    signed = fetch(url + "InRelease", LARGEST_RELEASE)
    if signed is None:
        if fetch(url + "Release", LARGEST_RELEASE) is None:
            raise unreachable(url, "there is no package repository")
        raise unsigned(title, "it has a Release file and no InRelease")
    if BEGIN not in signed:
        raise unsigned(title, "its InRelease carries no signature")
    return signed


def verified(
    title: str, signed: bytes, keys: Sequence[PublicKey], *, owner: str, remedy: str
) -> Release:
    """Return the Release file that one of the keys has signed.

    Args:
        title: The repository, for people.
        signed: What `fetch_inrelease` returned.
        keys: Keys of which one must have signed.
        owner: Whose keys these are, for people.
        remedy: What to do when another key signed.

    Raises:
        IndexRefused: INDEX-BAD-SIGNATURE, INDEX-WRONG-KEY, INDEX-MALFORMED.
    """
    checked = check(signed, keys)
    fingerprints = ", ".join(key.fingerprint for key in keys)
    if checked.key is not None:
        return Release(title, checked.key, _fields(title, checked.text))
    if checked.outcome == "bad":
        raise IndexRefused(
            "INDEX-BAD-SIGNATURE",
            f"{title}: InRelease carries {checked.detail}",
            expected=f"a good signature by {fingerprints}",
            remedy="do not use this repository; synchronise the mirror again, or take the vendor's",
        )
    raise IndexRefused(
        "INDEX-WRONG-KEY",
        f"{title}: InRelease carries {checked.detail}",
        expected=f"a signature by {fingerprints} ({owner})",
        remedy=remedy,
    )


def _fields(title: str, text: bytes) -> dict[str, str]:
    fields: dict[str, list[str]] = {}
    value: list[str] | None = None
    for line in text.decode(errors="replace").splitlines():
        if line[:1] in (" ", "\t"):
            if value is None:
                raise malformed(title, "InRelease begins with a continuation line")
            value.append(line.strip())
        elif line.strip():
            name, colon, rest = line.partition(":")
            if not colon:
                raise malformed(title, f"InRelease has a line without a field: {line[:60]!r}")
            value = fields[name] = [rest.strip()]
    return {name: "\n".join(lines) for name, lines in fields.items()}


def _is_sha256(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def unsigned(title: str, found: str) -> IndexRefused:
    """Return the refusal of an index that nobody signed."""
    return IndexRefused(
        "INDEX-UNSIGNED",
        f"{title} is not signed: {found}",
        expected="a signed index (InRelease)",
        remedy="use a signed repository; a mirror must copy InRelease too",
    )


def malformed(title: str, found: str) -> IndexRefused:
    """Return the refusal of what is no apt index."""
    return IndexRefused(
        "INDEX-MALFORMED",
        f"{title}: {found}",
        expected="an apt index",
        remedy="synchronise the mirror again",
    )


def too_large(title: str, found: str, limit: int) -> IndexRefused:
    """Return the refusal of an index that is larger than any."""
    return IndexRefused(
        "INDEX-TOO-LARGE",
        f"{title}: {found}",
        expected=f"at most {limit} bytes, and no more than announced",
        remedy="check the address; if it is a mirror, synchronise it again",
    )


def tampered(title: str, name: str, expected: str, found: str) -> IndexRefused:
    """Return the refusal of a file that is not the one that was signed."""
    return IndexRefused(
        "INDEX-TAMPERED",
        f"{title}: {name} has sha256 {found[:12]}…",
        expected=f"sha256 {expected[:12]}…, as the signed InRelease says",
        remedy="the repository was altered or is being synchronised: try again in a minute; if it "
        "stays so, do not use it",
    )


def not_there(title: str, name: str) -> IndexRefused:
    """Return the refusal of a repository without a file that it lists."""
    return IndexRefused(
        "INDEX-TAMPERED",
        f"{title} lists {name} and does not have it",
        expected="every file that its InRelease lists",
        remedy="the repository is being changed or is damaged: try again, or synchronise it",
    )
