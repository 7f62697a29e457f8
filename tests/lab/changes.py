"""What a run really changed on a host, held against its plan: nothing more, nothing less.

A host is photographed before and after: packages, holds, files and links where configuration and
our own things lie, running services. What belongs to a package that changed is the package's; what
is left must be named by the plan.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from cudactl.lab.hosts import LabHost

SCRIPT = r"""
import hashlib, json, os, subprocess
def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE).stdout.decode()
rows = (line.split("\t") for line in run(
    "dpkg-query", "-W", "-f", "${Package}\t${Version}\t${db:Status-Abbrev}\n").splitlines())
packages = {row[0]: row[1] for row in rows if row[2][1:2] in "iWtHFU"}
files = {}
for top in ("/etc", "/opt", "/usr/local", "/usr/share/keyrings", "/var/lib/cudactl", "/boot"):
    for folder, folders, names in os.walk(top):
        if folder == "/opt/cudactl/stacks":
            files.update({os.path.join(folder, d): "folder" for d in folders})
            folders[:] = []
        for name in names + [d for d in folders if os.path.islink(os.path.join(folder, d))]:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                # Alternatives' links lead through another one: what counts is where they end.
                ours = path == "/usr/local/cuda"
                files[path] = "-> " + (os.path.realpath(path) if ours else os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    files[path] = hashlib.sha256(f.read()).hexdigest()
owned = {}
for entry in os.scandir("/var/lib/dpkg/info"):
    if entry.name.endswith(".list"):
        with open(entry.path) as f:
            owned[entry.name[:-5].split(":")[0]] = [
                x for x in f.read().split("\n") if x.startswith(("/etc", "/opt", "/usr/local",
                "/usr/share/keyrings", "/lib/systemd", "/usr/lib/systemd", "/boot"))]
services = {}
for line in run("systemctl", "list-units", "--type=service", "--state=active", "--plain",
                "--no-legend", "--no-pager").splitlines():
    unit = line.split()[0]
    since = ("show", "-p", "ActiveEnterTimestampMonotonic", "--value", unit)
    services[unit] = run("systemctl", *since).strip()
print(json.dumps(dict(packages=packages, files=files, owned=owned, services=services,
    holds=run("apt-mark", "showhold").split(),
    boot=open("/proc/sys/kernel/random/boot_id").read().strip())))
"""

# What maintainer scripts and tools make of what is planned, and why no plan names it.
MADE_BY_OTHERS = re.compile(
    r"^/etc/(ld\.so\.cache"  # ldconfig's cache, made again whenever a library comes
    r"|alternatives/.*|\.pwd\.lock|(group|passwd|shadow|gshadow)-?"  # made by maintainer scripts
    r"|machine-id|mtab|resolv\.conf|hostname|hosts|\.updated"  # the machine's own
    r"|ssl/certs/.*|ca-certificates\.conf.*"  # update-ca-certificates
    r"|systemd/system/.*\.wants/.*"  # deb-systemd-helper; our own enabling is a service change
    r")$|^/usr/local/cuda-[0-9]+$"  # alternatives' links of cuda packages, but for the one we set
    # What a run writes down of itself: its results, not part of the way there.
    r"|^/var/lib/cudactl/((certificate.*|run|brought)\.json|history\.jsonl|locks/.*"
    r"|before-reboot/.*)$"
)


@dataclass(frozen=True)
class Photograph:
    """A host at one moment."""

    packages: dict[str, str]
    files: dict[str, str]
    owned: dict[str, list[str]]
    services: dict[str, str]
    holds: list[str]
    boot: str


def photograph(host: LabHost) -> Photograph:
    """Return the host as it is now."""
    return Photograph(**json.loads(host.exec(["python3", "-c", SCRIPT])))


def _differing(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def changed(before: Photograph, after: Photograph) -> dict[str, set[str]]:
    """Return what became different, by kind of change, without what belongs to changed packages."""
    packages = _differing(before.packages, after.packages)
    theirs = {
        path for name in packages for one in (before, after) for path in one.owned.get(name, [])
    }
    files = {
        path
        for path in _differing(before.files, after.files)
        if path not in theirs and not MADE_BY_OTHERS.match(path)
    }
    units = {path.rsplit("/", 1)[-1] for path in theirs if "/systemd/system/" in path}
    services = set()
    if before.boot == after.boot:
        mine = {s for s in before.services if s.split("@")[0] not in ("user", "getty")}
        services = {s for s in mine if before.services[s] != after.services.get(s)} - units
    return {
        "package": packages,
        "file": files,
        "hold": {*before.holds} ^ {*after.holds},
        "service": {s for s in services if not s.startswith(("systemd-", "user@", "session"))},
        "boot": {"boot"} if before.boot != after.boot else set(),
    }


def planned(plan: dict[str, Any]) -> dict[str, set[str]]:
    """Return what a plan says becomes different, in the same words."""
    found: dict[str, set[str]] = {"package": set(), "file": set(), "hold": set(), "service": set()}
    found["boot"] = set()
    for step in plan["steps"]:
        for change in step["changes"]:
            kind = {"folder": "file", "link": "file", "module": "service"}.get(
                change["kind"], change["kind"]
            )
            found.setdefault(kind, set()).add("boot" if kind == "boot" else change["name"])
    return found


def unplanned(plan: dict[str, Any], real: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what changed and was not planned; a folder of the plan covers what lies in it."""
    promised = planned(plan)
    left = {}
    for kind, names in real.items():
        more = {
            name
            for name in names - promised[kind]
            if not any(kind == "file" and name.startswith(p + "/") for p in promised["file"])
        }
        if more:
            left[kind] = more
    return left


def missing(plan: dict[str, Any], real: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what was planned and did not change."""
    left = {}
    for kind in ("package", "file", "hold", "boot"):
        names = planned(plan)[kind] - real[kind]
        names = {n for n in names if not any(r.startswith(n + "/") for r in real[kind])}
        if names:
            left[kind] = names
    return left
