#!/usr/bin/python3
"""Make kernels' initramfs again, and look whether nouveau could still be loaded from it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_initramfs
short_description: Update initramfs images and verify that nouveau is kept out
options:
  kernels:
    description: Kernel releases whose initramfs is made again.
    type: list
    elements: str
    required: true
  holds:
    description: Files that an image which has nouveau must have as well, so that it is not loaded.
    type: list
    elements: path
    default: []
author: cudactl
"""
EXAMPLES = r"""
- name: Update the initramfs
  cudactl_initramfs:
    kernels: [6.8.0-101-generic]
    holds: [/etc/modprobe.d/cudactl-nouveau.conf]
"""
RETURN = r"""
images:
  description: The images that were made again.
  type: list
  elements: str
  returned: always
"""

import os

from ansible.module_utils.basic import AnsibleModule


def image_of(kernel):
    """Return a kernel's initramfs: Debian's name, or dracut's."""
    for path in ("/boot/initrd.img-" + kernel, "/boot/initramfs-%s.img" % kernel):
        if os.path.exists(path):
            return path
    return "/boot/initrd.img-" + kernel


def make(module, kernel, image):
    """Make one image again."""
    if module.get_bin_path("update-initramfs"):
        command = ["update-initramfs", "-u", "-k", kernel]
    else:
        command = [module.get_bin_path("dracut", required=True), "--force", image, kernel]
    code, out, err = module.run_command(command, environ_update={"LC_ALL": "C"})
    if code != 0:
        module.fail_json(
            msg="INITRAMFS-FAILED: %s ended with %d: %s. Is there room on /boot?"
            % (" ".join(command), code, " ".join((err or out).split())[-400:])
        )


def names_in(module, image):
    """Return the file names in an image."""
    lister = module.get_bin_path("lsinitramfs") or module.get_bin_path("lsinitrd", required=True)
    code, out, err = module.run_command([lister, image], environ_update={"LC_ALL": "C"})
    if code != 0:
        module.fail_json(
            msg="INITRAMFS-UNREADABLE: %s cannot be read: %s"
            % (image, " ".join(err.split())[-300:])
        )
    return [line.split()[-1].lstrip("./") for line in out.splitlines() if line.strip()]


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kernels": {"type": "list", "elements": "str", "required": True},
            "holds": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    images = [image_of(kernel) for kernel in module.params["kernels"]]
    if module.check_mode:
        module.exit_json(changed=bool(images), images=images)
    for kernel in module.params["kernels"]:
        image = image_of(kernel)
        make(module, kernel, image)
        names = names_in(module, image)
        if not any(os.path.basename(n).split(".")[0] == "nouveau" and ".ko" in n for n in names):
            continue
        missing = [h for h in module.params["holds"] if h.lstrip("/") not in names]
        if missing:
            module.fail_json(
                msg="NOUVEAU-IN-INITRAMFS: %s has nouveau and not %s, so nouveau would take the "
                "GPUs before the driver" % (image, ", ".join(missing))
            )
    module.exit_json(changed=bool(images), images=images)


if __name__ == "__main__":
    main()
