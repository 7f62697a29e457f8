#!/usr/bin/python3
"""Fetch a lock's packages, verify each against the lock, and keep them on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_keep
short_description: Fetch, verify and keep a lock's Debian packages
description:
  - Fetches what is missing with C(apt-get --download-only), verifies every file's sha256 against
    the lock, and keeps it in the lock's folder, from where it is installed. Nothing is installed.
  - Files that an earlier lock's folder holds already are linked, not fetched.
options:
  folder:
    description: The lock's folder of kept packages.
    type: path
    required: true
  packages:
    description: Name, version, file and sha256 of what is going to be installed.
    type: list
    elements: dict
    required: true
  link:
    description: File and sha256 of the lock's other packages; kept where they are at hand.
    type: list
    elements: dict
    default: []
  without:
    description: Packages that go in the transaction which these are fetched for.
    type: list
    elements: str
    default: []
  remove:
    description: Folders of locks that nobody would return to.
    type: list
    elements: path
    default: []
  lock_timeout:
    description: How long another process may hold dpkg's lock, in seconds.
    type: int
    default: 600
author: cudactl
"""
EXAMPLES = r"""
- name: Fetch, verify and keep the packages
  cudactl_keep:
    folder: /var/lib/cudactl/packages/0123456789ab
    packages: [{name: libfoo, version: 1.0-1, file: libfoo_1.0-1_amd64.deb, sha256: "…"}]
"""
RETURN = r"""
fetched:
  description: Number of files fetched.
  type: int
  returned: always
"""

import hashlib
import os
import shutil

from ansible.module_utils.basic import AnsibleModule

INCOMING = "incoming"
APT = [
    "apt-get",
    "--yes",
    "--quiet",
    "--download-only",
    "--fix-broken",
    "--no-install-recommends",
    "--allow-downgrades",
    "--allow-change-held-packages",
    "--option=Acquire::Retries=2",
]


def sha256_of(path):
    """Return the sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def settle(path):
    """Bring a file or folder to the disk."""
    number = os.open(path, os.O_RDONLY)
    os.fsync(number)
    os.close(number)


def at_hand(folder, item, deep):
    """Put a file of another lock's folder into ours; return whether it is there, and is right."""
    path = os.path.join(folder, item["file"])
    if os.path.exists(path):
        if not deep or sha256_of(path) == item["sha256"]:
            return True
        os.unlink(path)
    base = os.path.dirname(folder)
    for other in sorted(os.listdir(base)):
        there = os.path.join(base, other, item["file"])
        if other == INCOMING or not os.path.exists(there):
            continue
        if sha256_of(there) == item["sha256"]:
            os.link(there, path)
            return True
    return False


def fetch(module, folder, packages, missing):
    """Fetch what is missing and move it, verified, into the folder."""
    incoming = os.path.join(os.path.dirname(folder), INCOMING)
    os.makedirs(incoming, mode=0o755, exist_ok=True)
    absent = {p["name"] for p in missing}
    wanted = [
        "%s=%s" % (p["name"], p["version"])
        if p["name"] in absent
        else os.path.join(folder, p["file"])
        for p in packages
    ]
    # apt solves a transaction to know what to fetch: it must be the one that is going to be.
    wanted += [name + "-" for name in module.params["without"]]
    options = ["--option=Dir::Cache::archives=" + incoming]
    options += ["--option=DPkg::Lock::Timeout=%d" % module.params["lock_timeout"]]
    code, out, err = module.run_command(
        [*APT, *options, "install", *wanted],
        environ_update={"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    # What arrived whole is kept also when something else did not: it is not fetched twice.
    wrong = []
    for package in missing:
        path = os.path.join(incoming, package["file"])
        found = sha256_of(path) if os.path.exists(path) else "no file"
        if found != package["sha256"]:
            wrong.append((package, found))
            continue
        settle(path)
        os.chmod(path, 0o644)
        shutil.move(path, os.path.join(folder, package["file"]))
    if code != 0 or wrong:
        shutil.rmtree(incoming, ignore_errors=True)
    if code != 0:
        said = [x for x in (err + "\n" + out).splitlines() if x.startswith(("E: ", "Err:"))]
        module.fail_json(
            msg="APT-FETCH: %s" % (" ".join(said[:6]) or "apt-get ended with %d" % code)
        )
    for package, found in wrong:
        module.fail_json(
            msg="KEEP-HASH: %s arrived as %s, the lock says %s; nothing was installed"
            % (package["file"], found, package["sha256"])
        )


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "packages": {"type": "list", "elements": "dict", "required": True},
            "link": {"type": "list", "elements": "dict", "default": []},
            "without": {"type": "list", "elements": "str", "default": []},
            "remove": {"type": "list", "elements": "path", "default": []},
            "lock_timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    folder, packages = module.params["folder"], module.params["packages"]
    if module.check_mode:
        new = [p["file"] for p in packages if not os.path.exists(os.path.join(folder, p["file"]))]
        module.exit_json(
            changed=bool(new),
            fetched=len(new),
            diff={
                "before": "",
                "after": "".join("%s\n" % name for name in new),
                "after_header": folder,
            },
        )
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        missing = [p for p in packages if not at_hand(folder, p, True)]
        if missing:
            fetch(module, folder, packages, missing)
        for item in module.params["link"]:
            at_hand(folder, item, False)
        settle(folder)
        gone = [path for path in module.params["remove"] if os.path.isdir(path)]
        for path in gone:
            shutil.rmtree(path)
    except OSError as error:
        module.fail_json(msg="KEEP-PACKAGES: %s" % error)
    module.exit_json(changed=bool(missing or gone), fetched=len(missing))


if __name__ == "__main__":
    main()
