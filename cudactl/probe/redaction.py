"""What must not leave a machine with its evidence: names of people, addresses, secrets.

The same name or address becomes the same word everywhere in one bundle, so that lines can still be
held against each other. Versions look like addresses (9.13.0.50): those that dpkg knows, and those
that stand inside a file's or package's name, stay.
"""

from __future__ import annotations

import re
from typing import Dict, List, Set

from .files import Root

WHAT = (
    "user names of accounts from uid 1000 on, and in /home/NAME",
    "the host's name (unless host names were to be kept)",
    "IPv4, IPv6 and MAC addresses",
    "e-mail addresses",
    "tokens, passwords, keys: by their names (token=, password:, Authorization …) and shapes "
    "(ghp_…, hf_…, AKIA…, JWT, private keys, user:password@ in addresses)",
    "environment variables: only those that change which CUDA a program gets are kept at all",
)
KEPT = (
    "PCI addresses, GPU UUIDs and serial numbers: a return or a ticket needs them",
    "package names, versions, paths outside of /home",
)
# Names that are words of our field: replaced only where they are surely a person's.
WORDS = {
    *("nvidia", "cuda", "ubuntu", "debian", "docker", "root", "user", "admin", "gpu", "test"),
    *("slurm", "kernel", "driver", "lab", "dev", "data", "linux", "python", "conda", "torch"),
}
NAMED_SECRET = re.compile(
    r"(?i)((?:token|passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key|credential)[\w.-]*"
    r"[\"']?\s*[=:]\s*)(\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s\"',;]+)"
)
AUTHORIZATION = re.compile(
    r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?)((?:bearer|basic)?\s*[^\s\"',]+)"
)
SHAPES = re.compile(
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|hf_\w{20,}|AKIA[0-9A-Z]{16}|nvapi-[\w-]{20,}"
    r"|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}|sk-[\w-]{20,})"
)
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
)
IN_ADDRESS = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s:@\"']+(?::[^/\s@\"']*)?@")
EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
MAC = re.compile(r"(?i)(?<![0-9a-f:])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![0-9a-f:])")
IPV4 = re.compile(r"(?<![\w.=~+-])(?:\d{1,3}\.){3}\d{1,3}(?![\w~+-]|\.\d)")
IPV6 = re.compile(
    r"(?i)(?<![0-9a-z:.])(?:(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"
    r"|(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6}|(?:[0-9a-f]{1,4}:){2,7}:)(?![0-9a-z:.])"
)
HOME = re.compile(r"/home/([^/\s:\"']+)")
HARMLESS = ("127.0.0.1", "0.0.0.0", "255.255.255.255", "::1")  # noqa: S104 - nothing is bound
GONE = "[removed]"


class Redaction:
    """What one bundle replaces by what."""

    def __init__(self, root: Root, hostname: str, keep_host_name: bool = False) -> None:
        self._seen: Dict[str, str] = {}
        self._versions = _versions(root)
        names = _users(root)
        self._plain = sorted(names - WORDS, key=len, reverse=True)
        self._host = [] if keep_host_name else _host_names(hostname)

    def apply(self, text: str) -> str:
        """Return `text` without what must not leave the machine."""
        text = PRIVATE_KEY.sub(GONE, text)
        text = IN_ADDRESS.sub(r"\1" + GONE + "@", text)
        text = AUTHORIZATION.sub(r"\1" + GONE, text)
        text = NAMED_SECRET.sub(_without_value, text)
        text = SHAPES.sub(GONE, text)
        text = EMAIL.sub(lambda m: self._as("MAIL", m.group(0)), text)
        text = MAC.sub(lambda m: self._as("MAC", m.group(0).lower()), text)
        text = IPV4.sub(lambda m: self._address(m.group(0)), text)
        text = IPV6.sub(lambda m: self._address(m.group(0)), text)
        text = HOME.sub(lambda m: "/home/" + self._as("USER", m.group(1)), text)
        for name in self._plain:
            word = self._as("USER", name)
            text = re.sub(r"(?<![\w.-])%s(?![\w-])" % re.escape(name), word, text)
        for name in self._host:
            text = re.sub(r"(?i)(?<![\w-])%s(?![\w-])" % re.escape(name), "HOST", text)
        return text

    def _as(self, kind: str, value: str) -> str:
        if value not in self._seen:
            number = sum(1 for word in self._seen.values() if word.startswith(kind + "-")) + 1
            self._seen[value] = "%s-%d" % (kind, number)
        return self._seen[value]

    def _address(self, value: str) -> str:
        if value in HARMLESS or value in self._versions:
            return value
        if "::" in value and not any(char.isdigit() for char in value):
            return value  # C++ writes so, too
        if "." in value and any(int(part) > 255 for part in value.split(".")):
            return value
        return self._as("ADDRESS", value)


def _without_value(match: "re.Match[str]") -> str:
    """Return a name with its value removed; the quotes stay, or JSON would be none."""
    quote = match.group(2)[0] if match.group(2)[0] in "\"'" else ""
    return match.group(1) + quote + GONE + quote


def _users(root: Root) -> Set[str]:
    names = set(root.list("/home"))
    for line in (root.text("/etc/passwd") or "").splitlines():
        parts = line.split(":")
        if len(parts) > 2 and parts[2].isdigit() and 1000 <= int(parts[2]) < 65000:
            names.add(parts[0])
    return {name for name in names if len(name) > 2}


def _host_names(hostname: str) -> List[str]:
    short = hostname.split(".")[0]
    return [n for n in (hostname, short) if len(n) > 1 and n not in ("localhost", "fixture")]


def _versions(root: Root) -> Set[str]:
    """Return what looks like an address and is a version: dpkg's, with and without a revision."""
    text = root.text("/var/lib/dpkg/status") or ""
    found: Set[str] = set()
    for version in re.findall(r"(?m)^Version: (?:\d+:)?([0-9.]+)", text):
        found.add(version)
    for name in root.list("/var/lib/dkms/nvidia"):
        found.add(name)
    return found
