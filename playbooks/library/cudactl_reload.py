#!/usr/bin/python3
"""Exchange the loaded NVIDIA module for the one on disk, without a reboot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_reload
short_description: Stop NVIDIA's services, unload the module, load the new one, start them again
description:
  - Where something holds the module, nothing is unloaded half: the services run again and the
    holders are named.
options:
  version:
    description: Version that must be loaded afterwards.
    type: str
    required: true
  stop:
    description: Services that are stopped before.
    type: list
    elements: str
    default: []
  start:
    description: Services that run afterwards, where they are installed.
    type: list
    elements: str
    default: []
author: cudactl
"""
EXAMPLES = r"""
- name: Reload the driver
  cudactl_reload:
    version: 580.95.05
    stop: [nvidia-persistenced.service]
    start: [nvidia-persistenced.service]
"""
RETURN = r"""
loaded:
  description: Version that is loaded now.
  type: str
  returned: always
"""

import os
import re
import time

from ansible.module_utils.basic import AnsibleModule

# In the order of unloading: who uses others first.
MODULES = (
    *("gdrdrv", "nvidia_fs", "nvidia_peermem", "nvidia_drm", "nvidia_modeset", "nvidia_uvm"),
    "nvidia",
)
VERSION = re.compile(r"NVRM version:.*?\s(\d{3}\.\d+(?:\.\d+)*)\s")
TRIES = 10


def text_of(path):
    """Return a file's text, or nothing."""
    try:
        with open(path) as stream:
            return stream.read()
    except OSError:
        return ""


def loaded():
    """Return the version of the loaded module, or None."""
    found = VERSION.search(text_of("/proc/driver/nvidia/version"))
    return found.group(1) if found else None


def modules():
    """Return which of our modules are loaded, in the order of unloading."""
    # What is built into a kernel has a folder there as well, and no users that are counted.
    return [name for name in MODULES if os.path.exists("/sys/module/%s/refcnt" % name)]


def unload(module, name):
    """Unload one module, giving what was just stopped a moment to let go; return what was said."""
    said = ""
    for _ in range(TRIES):
        code, out, err = module.run_command(["rmmod", name])
        if code == 0:
            return None
        said = " ".join((err or out).split())
        time.sleep(0.5)
    return said


def load(module, before):
    """Load the driver and what was loaded of its companions."""
    for name in ("nvidia", *(n for n in reversed(before) if n != "nvidia")):
        code, out, err = module.run_command(["modprobe", name])
        if code != 0 and name == "nvidia":
            _, log, _ = module.run_command(["dmesg"])
            told = [x for x in log.splitlines() if "NVRM" in x or "nvidia" in x][-5:]
            return "%s / %s" % (" ".join((err or out).split()), " / ".join(told))
    return None


def main():
    """Run the module."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "stop": names,
            "start": names,
        },
        supports_check_mode=True,
    )
    wanted, before = module.params["version"], modules()
    if module.check_mode:
        module.exit_json(changed=True, loaded=loaded() or "")

    def services(verb, units):
        for unit in units:
            module.run_command(["systemctl", verb, unit])

    module.run_command(["systemctl", "daemon-reload"])
    services("stop", module.params["stop"])
    held = None
    for name in before:
        held = unload(module, name)
        if held is not None:
            break
    if held is not None:
        load(module, before)
        services("start", module.params["stop"])
        _, holders, _ = module.run_command("fuser -v /dev/nvidia* 2>&1", use_unsafe_shell=True)
        module.fail_json(
            msg="RELOAD-HELD: the module could not be unloaded: %s. %s What to do: end what uses "
            "the GPUs and run again, or --reboot always" % (held, " ".join(holders.split())[:300])
        )
    failed = load(module, before)
    if failed is not None:
        module.fail_json(
            msg="RELOAD-FAILED: the new module does not load: %s. What to do: reboot the host, or "
            "look for a flavour that these GPUs accept" % failed
        )
    services("start", module.params["start"])
    now = loaded()
    if now != wanted:
        module.fail_json(
            msg="RELOAD-OTHER: after loading, driver %s runs, not %s; another module is found "
            "first: modinfo nvidia" % (now, wanted)
        )
    module.exit_json(changed=True, loaded=now)


if __name__ == "__main__":
    main()
