#!/usr/bin/python3
"""See that kernels have the driver's module, built by DKMS where it is; a failure is a failure."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_dkms
short_description: Require the NVIDIA module of one version for each kernel
description:
  - With I(build), lets DKMS build what is missing. Packages' scripts hide a build that failed; this
    does not, and shows the end of the compiler's log.
  - Then reads the version of the module file that modprobe would take.
options:
  version:
    description: Driver version.
    type: str
    required: true
  flavour:
    description: open or proprietary, by the module's licence.
    type: str
  kernels:
    description: Kernel releases.
    type: list
    elements: str
    required: true
  build:
    description: Build with DKMS; otherwise the files must have come with packages.
    type: bool
    required: true
author: cudactl
"""
EXAMPLES = r"""
- name: Require the module
  cudactl_dkms:
    version: 580.95.05
    kernels: [6.8.0-101-generic]
    build: true
"""
RETURN = r"""
built:
  description: Kernels for which a module was built.
  type: list
  elements: str
  returned: always
"""

import glob
import os

from ansible.module_utils.basic import AnsibleModule

PLACES = (
    *("updates/dkms", "updates", "extra", "kernel/drivers/video", "kernel/nvidia*", "nvidia*"),
    *("kernel/nvidia*/bits", "weak-updates"),
)
NAMES = ("nvidia.ko*", "nvidia-current.ko*", "nvidia-current-open.ko*", "nvidia-tesla*.ko*")
SIBLINGS = ("-uvm.", "-drm.", "-modeset.", "-peermem.")
LOG_LINES = 12


def module_files(kernel):
    """Return the driver's module files for a kernel."""
    found = []
    for place in PLACES:
        for name in NAMES:
            found += glob.glob("/lib/modules/%s/%s/%s" % (kernel, place, name))
    return [path for path in sorted(set(found)) if not any(s in path for s in SIBLINGS)]


def fits(module, kernel, version, flavour):
    """Return why a kernel's module is not the wanted one; None where it is."""
    files = module_files(kernel)
    if not files:
        return "there is no NVIDIA module for kernel %s" % kernel
    seen = []
    for path in files:
        _, has, _ = module.run_command(["modinfo", "-F", "version", path])
        _, licence, _ = module.run_command(["modinfo", "-F", "license", path])
        is_open = licence.strip() == "Dual MIT/GPL"
        if has.strip() == version and (not flavour or is_open == (flavour == "open")):
            return None
        seen.append("%s is %s %s" % (path, has.strip(), "open" if is_open else "proprietary"))
    return "for kernel %s %s" % (kernel, ", ".join(seen))


def log_of(kernel):
    """Return the path and the last lines of the newest build log of a kernel."""
    logs = glob.glob("/var/lib/dkms/nvidia*/*/build/make.log")
    logs += glob.glob("/var/lib/dkms/nvidia*/*/%s/*/log/make.log" % kernel)
    if not logs:
        return None, ""
    path = max(logs, key=os.path.getmtime)
    with open(path, errors="replace") as stream:
        lines = [line.rstrip() for line in stream if line.strip()]
    # The first error is what tells; what follows it are its consequences.
    telling = [line for line in lines if " error:" in line or "Error " in line or "***" in line]
    return path, " / ".join((telling or lines)[:LOG_LINES])


def build(module, kernel):
    """Let DKMS build and install everything for one kernel; fail with its log."""
    headers = "/lib/modules/%s/build" % kernel
    if not os.path.exists(headers):
        module.fail_json(
            msg="DKMS-NO-HEADERS: kernel %s has no headers (%s), so no module can be built for it. "
            "Install linux-headers-%s, or boot another kernel" % (kernel, headers, kernel)
        )
    code, out, err = module.run_command(
        ["dkms", "autoinstall", "-k", kernel], environ_update={"LC_ALL": "C"}
    )
    return code, " ".join((err + " " + out).split())[-400:]


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "flavour": {"type": "str"},
            "kernels": {"type": "list", "elements": "str", "required": True},
            "build": {"type": "bool", "required": True},
        },
        supports_check_mode=True,
    )
    version, flavour = module.params["version"], module.params["flavour"]
    wrong = {k: fits(module, k, version, flavour) for k in module.params["kernels"]}
    lacking = [kernel for kernel, why in wrong.items() if why]
    if module.check_mode:
        module.exit_json(changed=bool(lacking), built=lacking)
    for kernel in lacking:
        if not module.params["build"]:
            module.fail_json(
                msg="MODULE-ABSENT: %s; the lock wants %s from the archive's prebuilt modules. "
                "Install the modules package for that kernel, or lock again"
                % (wrong[kernel], version)
            )
        code, said = build(module, kernel)
        why = fits(module, kernel, version, flavour)
        if why is None:
            continue
        path, log = log_of(kernel)
        _, status, _ = module.run_command(["dkms", "status"])
        if "nvidia" not in status:
            module.fail_json(
                msg="DKMS-UNKNOWN: %s, and DKMS knows of none that it could build. Its package "
                "adds it when it is installed: on the host, apt-get install --reinstall it, or "
                "dkms add -m nvidia -v %s, then run again" % (why, version)
            )
        module.fail_json(
            msg="DKMS-FAILED: %s (dkms ended with %d: %s). %s: %s. What to do: read that log; a "
            "newer driver of the branch, the other flavour or another kernel may build"
            % (why, code, said or "no message", path or "no make.log", log or "nothing"),
            status=status.splitlines(),
        )
    module.exit_json(changed=bool(lacking), built=lacking)


if __name__ == "__main__":
    main()
