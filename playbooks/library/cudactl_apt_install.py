#!/usr/bin/python3
"""One apt transaction: exactly what was asked for, and nothing removed that was not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_apt_install
short_description: Install and remove exact packages in one apt transaction
description:
  - Simulates the transaction first and fails, before anything changes, when apt would remove a
    package that nobody asked to remove. Files that were kept are installed from there.
  - With I(mend), what dpkg was stopped in is finished first.
options:
  install:
    description: name=version, or name, of what is installed.
    type: list
    elements: str
    default: []
  kept:
    description: Name, version and file of packages that are installed from I(folder).
    type: list
    elements: dict
    default: []
  folder:
    description: Folder of kept packages.
    type: path
  remove:
    description: Packages that go.
    type: list
    elements: str
    default: []
  purge:
    description: Whether the configuration files of what goes, go too.
    type: bool
    default: false
  mend:
    description: Finish what dpkg was stopped in; kept files of what it was stopped in.
    type: list
    elements: path
  lock_timeout:
    description: How long another process may hold dpkg's lock, in seconds.
    type: int
    default: 600
author: cudactl
"""
EXAMPLES = r"""
- name: Install
  cudactl_apt_install:
    install: [libfoo=1.0-1]
"""
RETURN = r"""
transaction:
  description: What apt did, a line each.
  type: list
  elements: str
  returned: always
"""

import fcntl
import json
import os
import re
import shutil
import time

from ansible.module_utils.basic import AnsibleModule

INCOMING = "/var/lib/cudactl/packages/incoming"
LOCK = "/var/lib/dpkg/lock-frontend"
JOURNAL = "/var/lib/cudactl/run.json"
INSTALL = re.compile(r"^Inst (\S+)(?: \[([^\]]*)\])? \((\S+) ")
REMOVE = re.compile(r"^(?:Remv|Purg) (\S+)(?: \[([^\]]*)\])?")
ENVIRONMENT = {
    "LC_ALL": "C",
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
}
OLD_FILES = ["--force-confdef", "--force-confold"]
APT = [
    "apt-get",
    "--yes",
    "--quiet",
    "--no-install-recommends",
    "--allow-downgrades",
    "--allow-change-held-packages",
    "--option=Dir::Cache::archives=" + INCOMING,
    *("--option=DPkg::Options::=" + option for option in OLD_FILES),
]


MAKE_LOG = re.compile(r"Consult (/var/lib/dkms/\S+/make\.log)")


def build_log(said):
    """Return the errors of a DKMS build that a package's script gave up on; "" without one."""
    found = MAKE_LOG.findall(said)
    if not found:
        return ""
    try:
        with open(found[-1], errors="replace") as stream:
            lines = [line.strip() for line in stream if line.strip()]
    except OSError:
        return ""
    telling = [x for x in lines if " error:" in x or "Error " in x or "***" in x] or lines[-8:]
    return "%s: %s" % (found[-1], " / ".join(telling[:8]))


def told(out, err):
    """Return the lines of apt and dpkg that say what went wrong."""
    log = build_log(out + err)
    if log:
        return "the driver's module did not build. " + log
    lines = (err + "\n" + out).splitlines()
    telling = [x.strip() for x in lines if x.startswith(("E: ", "dpkg: ", "Err:", " but it is"))]
    return " ".join(telling[:8]) or " ".join((err or out).split())[-600:]


class Apt:
    """apt-get with our options, waiting for dpkg's lock."""

    def __init__(self, module):
        self._module = module
        timeout = module.params["lock_timeout"]
        self._options = ["--option=DPkg::Lock::Timeout=%d" % timeout]
        self._until = time.monotonic() + timeout
        os.makedirs(INCOMING, mode=0o755, exist_ok=True)

    def run(self, *arguments):
        """Run apt-get and return (status, out, err)."""
        return self._module.run_command(
            [*APT, *self._options, *arguments], environ_update=ENVIRONMENT
        )

    def would(self, wanted, remove):
        """Return what a transaction would do; fail where it removes what nobody named."""
        code, out, err = self.run("--simulate", "--fix-broken", *wanted)
        if code != 0:
            self._module.fail_json(msg="APT-CANNOT: apt finds no solution: %s" % told(out, err))
        lines = out.splitlines()
        gone = [m.group(1) for m in map(REMOVE.match, lines) if m]
        extra = [n for n in gone if n not in remove and n.partition(":")[0] not in remove]
        if extra:
            self._module.fail_json(
                msg="APT-REMOVES: apt would remove %s, which nobody asked for; nothing was changed"
                % ", ".join(extra)
            )
        return {
            **{m.group(1): (m.group(2), m.group(3)) for m in map(INSTALL.match, lines) if m},
            **{m.group(1): (m.group(2), None) for m in map(REMOVE.match, lines) if m},
        }

    def held(self):
        """Return the packages on hold."""
        return self._module.run_command(["apt-mark", "showhold"])[1].split()

    def hold(self, names):
        """Put packages on hold."""
        if names:
            self._module.run_command(["apt-mark", "hold", *names], check_rc=True)

    def wait(self):
        """Wait until nobody works with dpkg; an earlier run's apt may still be at it."""
        with open(LOCK, "a") as stream:
            while True:
                try:
                    fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    fcntl.lockf(stream, fcntl.LOCK_UN)
                    return
                except OSError:
                    if time.monotonic() > self._until:
                        self._module.fail_json(
                            msg="DPKG-LOCKED: another process has held dpkg's lock for too long"
                        )
                    time.sleep(0.5)

    def mend(self, files):
        """Finish what dpkg was stopped in."""
        self.wait()
        self._module.run_command(
            ["dpkg", *OLD_FILES, "--configure", "-a"], environ_update=ENVIRONMENT
        )
        if not self.unsettled():
            return
        # What is half unpacked cannot be configured: its file is unpacked again, others follow.
        there = [path for path in files if os.path.exists(path)]
        wanted = ["install", *there]
        self.would(wanted, ())
        code, out, err = self.run("--fix-broken", *wanted)
        left = self.unsettled()
        if code != 0 or left:
            self._module.fail_json(
                msg="PACKAGES-MEND: what dpkg was stopped in cannot be finished (%s): %s"
                % (", ".join(left[:5]), told(out, err))
            )

    def unsettled(self):
        """Return the packages that are in the middle of something."""
        form = "${Package} ${Status}\n"
        _, out, _ = self._module.run_command(["dpkg-query", "-W", "-f", form])
        rows = [line.split() for line in out.splitlines()]
        settled = ("installed", "config-files", "not-installed")
        return [r[0] for r in rows if len(r) == 4 and (r[2] != "ok" or r[3] not in settled)]


def note(names):
    """Write down what the transaction touches, for a run that may have to mend it."""
    try:
        with open(JOURNAL) as stream:
            run = json.load(stream)
    except (OSError, ValueError):
        return
    run["packages"] = sorted(set(run.get("packages") or []) | {n.partition(":")[0] for n in names})
    with open(JOURNAL + ".new", "w") as stream:
        json.dump(run, stream, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(JOURNAL + ".new", JOURNAL)


def difference(changes):
    """Return what --diff shows."""
    rows = sorted(changes.items())
    return {
        "before": "".join("%s %s\n" % (n, old) for n, (old, _) in rows if old),
        "after": "".join("%s %s\n" % (n, new) for n, (_, new) in rows if new),
        "before_header": "packages",
        "after_header": "packages",
    }


def asked_for(apt, install, kept, more):
    """Return what apt is asked for: the kept files, or their names with the files at its hand.

    A file's package is not seen as a way to mend what is on hold and depends on it: then by name.
    """
    wanted = [kept.get(entry, entry) for entry in install] + more
    if not kept or apt.run("--simulate", "--fix-broken", "install", *wanted)[0] == 0:
        return wanted
    for path in kept.values():
        there = os.path.join(INCOMING, os.path.basename(path))
        if os.path.exists(path) and not os.path.exists(there):
            os.link(path, there)
    return [*install, *more]


def planned(module):
    """Return what the plan says, for a host whose source is not in place yet."""
    changes = {}
    for entry in module.params["install"]:
        name, _, version = entry.partition("=")
        changes[name] = (None, version or "the distribution's")
    form = "${Package}\t${Version}\t${db:Status-Abbrev}\n"
    names = [*changes, *module.params["remove"]]
    _, out, _ = module.run_command(["dpkg-query", "-W", "-f", form, *names])
    rows = [line.split("\t") for line in out.splitlines()]
    have = {r[0]: r[1] for r in rows if len(r) == 3 and r[2].strip().endswith("i")}
    changes = {name: (have.get(name), new) for name, (_, new) in changes.items()}
    changes.update({name: (have[name], None) for name in module.params["remove"] if name in have})
    return {name: pair for name, pair in changes.items() if pair[0] != pair[1]}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "install": {"type": "list", "elements": "str", "default": []},
            "kept": {"type": "list", "elements": "dict", "default": []},
            "folder": {"type": "path"},
            "remove": {"type": "list", "elements": "str", "default": []},
            "purge": {"type": "bool", "default": False},
            "mend": {"type": "list", "elements": "path"},
            "lock_timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        changes = planned(module)
        module.exit_json(changed=bool(changes), transaction=[], diff=difference(changes))
    try:
        apt = Apt(module)
        if module.params["mend"] is not None:
            apt.mend(module.params["mend"])
        folder = module.params["folder"]
        kept = {
            "%s=%s" % (p["name"], p["version"]): os.path.join(folder, p["file"])
            for p in module.params["kept"]
        }
        remove = module.params["remove"]
        more = [name + "-" for name in remove]
        more += ["--purge"] if module.params["purge"] else []
        wanted = asked_for(apt, module.params["install"], kept, more)
        changes = {}
        if wanted:
            changes = apt.would(["install", *wanted], remove)
            note(changes)
            held = apt.held()
            code, out, err = apt.run("--fix-broken", "install", *wanted) if changes else (0, "", "")
            if code != 0:
                module.fail_json(msg="APT-INSTALL: %s" % told(out, err))
            # apt lets go of what it changes; what was held before is held again.
            apt.hold([name for name in held if changes.get(name, ("", None))[1] is not None])
        shutil.rmtree(INCOMING, ignore_errors=True)
    except OSError as error:
        module.fail_json(msg="APT-INSTALL: %s" % error)
    module.exit_json(
        changed=bool(changes) or module.params["mend"] is not None,
        transaction=["%s %s -> %s" % (n, o, v) for n, (o, v) in sorted(changes.items())],
        diff=difference(changes),
    )


if __name__ == "__main__":
    main()
