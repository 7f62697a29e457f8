#!/usr/bin/python3
"""Read the package lists and say why where that fails; a broken source of others stops nobody."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_apt_update
short_description: Read apt's package lists and tell the reason of a failure
description:
  - Runs C(apt-get update), waiting while another process has the lists locked.
  - Fails with apt's own reason when a source of cudactl's cannot be read. A source that is not
    cudactl's and cannot be read is a warning; whether the lock can be reached without it is
    M(cudactl_apt_simulate)'s question.
options:
  lock_timeout:
    description: How long another process may hold the lists, in seconds.
    type: int
    default: 600
author: cudactl
"""
EXAMPLES = r"""
- name: Read the package lists
  cudactl_apt_update:
    lock_timeout: 600
"""
RETURN = r"""
others:
  description: What apt said of sources that are not cudactl's.
  type: list
  elements: str
  returned: always
"""

import glob
import re
import time

from ansible.module_utils.basic import AnsibleModule

OURS = "/etc/apt/sources.list.d/cudactl-*.sources"
LOCKED = re.compile(r"Could not get lock|Unable to lock directory")
PAUSE_S = 2.0
COMMAND = [
    "apt-get",
    "--quiet",
    "--option=APT::Update::Error-Mode=any",
    "--option=Acquire::Retries=1",
    "--option=Acquire::http::Timeout=30",
    "--option=Acquire::https::Timeout=30",
    "update",
]


def own_addresses():
    """Return the addresses of cudactl's sources on this host."""
    found = []
    for path in glob.glob(OURS):
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith("URIs:"):
                    found += line.split()[1:]
    return found


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"lock_timeout": {"type": "int", "default": 600}}, supports_check_mode=True
    )
    until = time.monotonic() + module.params["lock_timeout"]
    while True:
        code, out, err = module.run_command(COMMAND, environ_update={"LC_ALL": "C"})
        said = [x for x in (err + "\n" + out).splitlines() if x.startswith(("E: ", "W: ", "Err:"))]
        if code == 0 or not LOCKED.search(err) or time.monotonic() > until:
            break
        time.sleep(PAUSE_S)
    if code == 0:
        module.exit_json(changed=False, others=[])
    text = "\n".join(said)
    ours = [address for address in own_addresses() if address.rstrip("/") in text]
    general = [x for x in said if x.startswith("E: ") and "://" not in x]
    telling = [x for x in said if x.startswith("E: ") and "Some index files" not in x] or said
    # apt tells a wrong signature, a full disk or a lock without an address: then nothing was read.
    if ours or not said or any("Some index files" not in x for x in general):
        module.fail_json(
            msg="APT-LISTS: the package lists cannot be read: %s"
            % (" ".join(" ".join(telling).split())[:800] or "apt-get update ended with %d" % code)
        )
    for line in telling:
        module.warn(line)
    module.exit_json(changed=False, others=telling)


if __name__ == "__main__":
    main()
