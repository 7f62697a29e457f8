"""Which Debian archive this machine uses, read from its apt sources; pure but for reading them.

Lab bases are made from the same archive, so they can be had wherever this machine itself can
install packages. On another distribution (Ubuntu) it is Debian's own address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
RELEASES = ("bookworm", "trixie", "bullseye", "forky", "sid", "stable", "oldstable", "testing")


@dataclass(frozen=True)
class DebianArchive:
    """Addresses of Debian's archive."""

    main: str = "http://deb.debian.org/debian"
    security: str = "http://deb.debian.org/debian-security"

    def lines(self, suite: str) -> list[str]:
        """Return a suite's entries for sources.list, updates and security included."""
        option = f"deb [signed-by={KEYRING}]"
        return [
            f"{option} {self.main} {suite} main",
            f"{option} {self.main} {suite}-updates main",
            f"{option} {self.security} {suite}-security main",
        ]


def machine_archive(apt: Path = Path("/etc/apt")) -> DebianArchive:
    """Return the archive that the apt sources under `apt` name, or Debian's own."""
    found: dict[str, str] = {}
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path.suffix == ".sources":
            entries = _deb822(text)
        elif path.suffix == ".list":
            entries = _one_line(text)
        else:
            continue
        for uri, suite in entries:
            if "debian" not in uri:  # others name their suites after Debian's
                continue
            if suite.endswith(("-security", "/updates")):
                if suite.split("-")[0].split("/")[0] in RELEASES:
                    found.setdefault("security", uri)
            elif suite in RELEASES:
                found.setdefault("main", uri)
    return DebianArchive(**found) if "main" in found else DebianArchive()


def _deb822(text: str) -> list[tuple[str, str]]:
    entries = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        fields = dict(line.split(":", 1) for line in lines if re.match(r"[A-Za-z-]+:", line))
        if (
            fields.get("Enabled", "yes").strip() == "no"
            or "deb" not in fields.get("Types", "").split()
        ):
            continue
        entries += [
            (uri.rstrip("/"), suite)
            for uri in fields.get("URIs", "").split()
            for suite in fields.get("Suites", "").split()
            if "main" in fields.get("Components", "").split()
        ]
    return entries


def _one_line(text: str) -> list[tuple[str, str]]:
    entry = r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)[ \t]+(?:\S+[ \t]+)*?main\b"
    entries = re.findall(entry, text, re.MULTILINE)
    return [(uri.rstrip("/"), suite) for uri, suite in entries]
