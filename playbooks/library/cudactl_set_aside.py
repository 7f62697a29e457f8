#!/usr/bin/python3
"""Move files of others out of the way, keeping a copy of each."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_set_aside
short_description: Move files of others out of the way, keeping a copy
description:
  - Copies each file below the folder for copies, under its own path, and then removes it.
  - Refuses a file that is not the one that was agreed to, and changes none of them then.
  - A file that is gone already is no change.
options:
  files:
    description: Files to move, each with path and the sha256 that was planned for.
    type: list
    elements: dict
    required: true
  folder:
    description: Where the copies go.
    type: path
    default: /var/lib/cudactl/taken-over
author: cudactl
"""
EXAMPLES = r"""
- name: Move a stale list aside
  cudactl_set_aside:
    files:
      - {path: /etc/apt/sources.list.d/cuda.list, sha256: "…"}
"""
RETURN = r"""
paths:
  description: What was moved aside.
  type: list
  elements: str
  returned: always
"""

import hashlib
import os
import shutil

from ansible.module_utils.basic import AnsibleModule


def digest_of(path):
    """Return a file's sha256; None where there is none."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except FileNotFoundError:
        return None


def keep(path, folder):
    """Copy a file whole, on the disk, before it goes: it is in one place or in both."""
    copy = os.path.normpath(folder + "/" + path)
    os.makedirs(os.path.dirname(copy), mode=0o755, exist_ok=True)
    shutil.copy2(path, copy + ".new")
    with open(copy + ".new", "rb") as stream:
        os.fsync(stream.fileno())
    # An earlier copy of another content is not lost, and is not what would be put back.
    if digest_of(copy) not in (None, digest_of(path)):
        earlier = os.path.normpath("%s-earlier/%s" % (folder, path))
        os.makedirs(os.path.dirname(earlier), mode=0o755, exist_ok=True)
        os.replace(copy, "%s.%d" % (earlier, int(os.stat(copy).st_mtime)))
    os.replace(copy + ".new", copy)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True},
            "folder": {"type": "path", "default": "/var/lib/cudactl/taken-over"},
        },
        supports_check_mode=True,
    )
    there = []
    for one in module.params["files"]:
        digest = digest_of(one["path"])
        if digest is None:
            continue
        if digest != one["sha256"]:
            module.fail_json(
                msg="PLAN-STALE: %s is not the file that was agreed to; nothing was moved. Plan "
                "again." % one["path"]
            )
        there.append(one["path"])
    diff = [{"before_header": path, "after_header": "(moved aside)"} for path in there]
    if not module.check_mode:
        for path in there:
            keep(path, module.params["folder"])
            os.unlink(path)
    module.exit_json(changed=bool(there), paths=there, diff=diff)


if __name__ == "__main__":
    main()
