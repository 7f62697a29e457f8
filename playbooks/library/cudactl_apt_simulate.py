#!/usr/bin/python3
"""Ask the host's own apt where the top-level wishes lead, and compare with the lock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_apt_simulate
short_description: Compare apt's own solution of the top-level wishes with the lock
description:
  - Runs C(apt-get --simulate install) for the top-level names, without versions, under the pins
    that are in place, and fails when apt would arrive anywhere but at the lock. Changes nothing.
options:
  top_level:
    description: Names that are asked for.
    type: list
    elements: str
    required: true
  closure:
    description: Name and exact version of every locked package.
    type: dict
    required: true
  remove:
    description: Packages that may go.
    type: list
    elements: str
    default: []
author: cudactl
"""
EXAMPLES = r"""
- name: Let the host's apt confirm the lock
  cudactl_apt_simulate:
    top_level: [cuda-toolkit-13-0]
    closure: {cuda-toolkit-13-0: 13.0.2-1}
"""
RETURN = r"""
external:
  description: Packages of the distribution that come along, name to version.
  type: dict
  returned: always
"""

import re

from ansible.module_utils.basic import AnsibleModule

INSTALL = re.compile(r"^Inst (\S+)(?: \[[^\]]*\])? \((\S+) ")
REMOVE = re.compile(r"^(?:Remv|Purg) (\S+)")


def installed(module, names):
    """Return name → version of those of `names` that are installed."""
    _, out, _ = module.run_command(
        ["dpkg-query", "-W", "-f", "${Package}\t${Version}\t${db:Status-Abbrev}\n", *names]
    )
    rows = (line.split("\t") for line in out.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2].strip().endswith("i")}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "top_level": {"type": "list", "elements": "str", "required": True},
            "closure": {"type": "dict", "required": True},
            "remove": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    top_level, closure = module.params["top_level"], module.params["closure"]
    command = ["apt-get", "--simulate", "--no-install-recommends", "--allow-downgrades"]
    # Holds are set aside for the question (apt keeps a held dependency and then finds no solution);
    # what others hold must not move all the same, which is looked at below.
    command += ["--allow-change-held-packages", "--option=APT::Ignore-Hold=true"]
    # What is there in another version is named too: a newer one may satisfy every dependency, and
    # apt would see no reason to go back.
    have = installed(module, list(closure))
    other = [name for name in sorted(closure) if have.get(name, closure[name]) != closure[name]]
    command += ["install", *(name for name in top_level if name not in other)]
    command += ["%s=%s" % (name, closure[name]) for name in other]
    command += [name + "-" for name in module.params["remove"]]
    code, out, err = module.run_command(command, environ_update={"LC_ALL": "C"})
    if code != 0:
        module.fail_json(
            msg="APT-CANNOT: the host's apt finds no solution for %s: %s"
            % (" ".join(top_level), " ".join((err or out).split())[-800:])
        )
    would = dict(m.groups() for m in map(INSTALL.match, out.splitlines()) if m)
    removed = [m.group(1) for m in map(REMOVE.match, out.splitlines()) if m]
    removed = [name for name in removed if name not in module.params["remove"]]
    wrong = []
    for name, version in sorted(closure.items()):
        arrives = would.get(name, have.get(name))
        if arrives != version:
            wrong.append("%s would be %s, the lock says %s" % (name, arrives or "absent", version))
    holds = module.run_command(["apt-mark", "showhold"])[1].split()
    moved = [name for name in holds if name in would and name not in closure]
    if moved:
        wrong.append("apt would change %s, which somebody else holds" % ", ".join(moved))
    if removed:
        wrong.append("apt would remove %s" % ", ".join(removed))
    if wrong:
        module.fail_json(
            msg="APT-DISAGREES: under the lock's pins the host's apt arrives elsewhere, so nothing "
            "was changed: %s" % "; ".join(wrong[:10])
        )
    external = {name: version for name, version in would.items() if name not in closure}
    module.exit_json(changed=False, external=external)


if __name__ == "__main__":
    main()
