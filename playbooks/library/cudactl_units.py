#!/usr/bin/python3
"""Enable, disable and start systemd units, and wait until they are ready."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_units
short_description: Units enabled, disabled, started, and ready
description:
  - Enabling does not make systemd read its units again, under which running containers may lose
    their GPUs; I(start) does, and is for units that no GPU work runs without.
  - A unit that fails or does not get ready is shown with the end of its journal.
options:
  enable:
    description: Units that start at boot.
    type: list
    elements: str
    default: []
  disable:
    description: Units that do not.
    type: list
    elements: str
    default: []
  start:
    description: Units that are started now and waited for.
    type: list
    elements: str
    default: []
  wait:
    description: Units that somebody else starts (the boot) and that are waited for.
    type: list
    elements: str
    default: []
  ready_s:
    description: Seconds that they may take together.
    type: int
    default: 900
author: cudactl
"""
EXAMPLES = r"""
- name: Start the fabric manager
  cudactl_units:
    enable: [nvidia-fabricmanager.service]
    start: [nvidia-fabricmanager.service]
"""
RETURN = r"""
units:
  description: Units that were changed.
  type: list
  elements: str
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule

JOURNAL_LINES = 15


def systemctl(module, *arguments):
    """Run systemctl and return (status, out)."""
    code, out, err = module.run_command(["systemctl", *arguments], environ_update={"LC_ALL": "C"})
    return code, (out.strip() or err.strip())


def enabled(module, unit):
    """Return systemd's word for how a unit is enabled; "" where there is no such unit."""
    _, word = systemctl(module, "is-enabled", unit)
    word = word.splitlines()[0] if word else ""
    return "" if "No such file" in word or word == "not-found" else word


def active(module, unit):
    """Return systemd's word for what a unit does now."""
    return systemctl(module, "is-active", unit)[1]


def fail(module, code, unit, what):
    """Fail with the end of the unit's journal."""
    _, out, _ = module.run_command(
        ["journalctl", "--unit", unit, "--lines", str(JOURNAL_LINES), "--no-pager", "-o", "cat"]
    )
    said = " / ".join(line.strip() for line in out.splitlines() if line.strip())
    module.fail_json(msg="%s: %s %s. Its journal: %s" % (code, unit, what, said or "empty"))


def enable(module, unit):
    """Make a unit start at boot; return whether that was a change."""
    word = enabled(module, unit)
    if word == "":
        module.fail_json(msg="UNIT-ABSENT: %s is not installed; its package has to bring it" % unit)
    if word in ("enabled", "static", "indirect", "alias", "generated"):
        return False
    if not module.check_mode:
        for verb in (("unmask",) if word.startswith("masked") else ()) + ("enable",):
            code, said = systemctl(module, "--no-reload", verb, unit)
            if code != 0:
                module.fail_json(msg="UNIT-ENABLE: %s: %s" % (unit, said))
    return True


def disable(module, unit):
    """Keep a unit from starting, also where udev would start it; return whether it changed."""
    word = enabled(module, unit)
    if word in ("", "disabled", "masked"):
        return False
    if not module.check_mode:
        systemctl(module, "--no-reload", "disable", unit)
        systemctl(module, "stop", unit)
        if enabled(module, unit) == "static":
            systemctl(module, "--no-reload", "mask", unit)
    return True


def wait(module, unit, until):
    """Wait until a unit runs."""
    while True:
        word = active(module, unit)
        if word == "active":
            return
        if word == "failed":
            fail(module, "UNIT-FAILED", unit, "failed")
        if time.monotonic() > until:
            fail(module, "UNIT-NOT-READY", unit, "is %s and did not get ready in time" % word)
        time.sleep(1)


def main():
    """Run the module."""
    lists = ("enable", "disable", "start", "wait")
    module = AnsibleModule(
        argument_spec={
            **{name: {"type": "list", "elements": "str", "default": []} for name in lists},
            "ready_s": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    changed = [u for u in module.params["enable"] if enable(module, u)]
    changed += [u for u in module.params["disable"] if disable(module, u)]
    starts = [u for u in module.params["start"] if active(module, u) != "active"]
    if not module.check_mode:
        until = time.monotonic() + module.params["ready_s"]
        if starts:
            systemctl(module, "daemon-reload")
        for unit in starts:
            systemctl(module, "reset-failed", unit)
            systemctl(module, "--no-block", "start", unit)
        for unit in (*starts, *module.params["wait"]):
            wait(module, unit, until)
    changed = sorted({*changed, *starts})
    module.exit_json(changed=bool(changed), units=changed)


if __name__ == "__main__":
    main()
