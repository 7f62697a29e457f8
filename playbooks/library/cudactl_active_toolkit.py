#!/usr/bin/python3
"""Make one toolkit (or wheel stack) the active one, and see that the loader agrees."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_active_toolkit
short_description: Make one CUDA toolkit the active one
description:
  - Sets the alternative C(cuda), which /usr/local/cuda leads through, and has ldconfig read the
    libraries again. Fails when the loader then answers with another toolkit's runtime library.
  - Any other link (that of wheel stacks) is set in one step; the loader is not asked.
options:
  link:
    description: The link that decides.
    type: path
    required: true
  target:
    description: Folder that it should lead to.
    type: path
    required: true
author: cudactl
"""
EXAMPLES = r"""
- name: Make CUDA 13.0 the active one
  cudactl_active_toolkit:
    link: /usr/local/cuda
    target: /usr/local/cuda-13.0
"""
RETURN = r"""
loaded:
  description: Runtime library that the loader answers with, where there is one.
  type: str
  returned: always
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule

TOOLKIT = "/usr/local/cuda"
ALTERNATIVE = "/etc/alternatives/cuda"
ENTRY = re.compile(r"^\s*(libcudart\.so\.\d+) \(.*\) => (\S+)$")


def first_runtime(listing, target):
    """Return what the loader takes for the runtime library of the toolkit in `target`.

    Args:
        listing: What `ldconfig -p` prints; of several entries for a name the first one counts.
        target: The toolkit's folder.
    """
    own = set()
    for folder, _, files in os.walk(os.path.join(target, "targets")):
        own.update(name for name in files if re.match(r"^libcudart\.so\.\d+$", name))
        if folder.count("/") - target.count("/") > 4:
            break
    for line in listing.splitlines():
        entry = ENTRY.match(line)
        if entry and entry.group(1) in own:
            return entry.group(2)
    return ""


def chosen(module):
    """Return whether the alternative was set by somebody, and not by the newest package."""
    _, out, _ = module.run_command(["update-alternatives", "--query", "cuda"])
    return "\nStatus: manual\n" in out


def set_alternative(module, target):
    """Set the alternative; it is manual from then on, so a newer package does not take it."""
    command = ["update-alternatives", "--set", "cuda", target]
    code, out, err = module.run_command(command, environ_update={"LC_ALL": "C"})
    if code != 0:
        module.fail_json(
            msg="ENVIRONMENT-ALTERNATIVE: %s cannot become the alternative cuda: %s"
            % (target, " ".join((err or out).split()))
        )
    if os.path.realpath(TOOLKIT) != os.path.realpath(target):
        module.fail_json(
            msg="ENVIRONMENT-ALTERNATIVE: the alternative cuda is set to %s, and %s still leads to "
            "%s: it is not the alternative's link; move it away"
            % (target, TOOLKIT, os.path.realpath(TOOLKIT))
        )


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "link": {"type": "path", "required": True},
            "target": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    link, target = module.params["link"], module.params["target"]
    toolkit = link == TOOLKIT
    right = os.path.islink(link) and os.path.realpath(link) == os.path.realpath(target)
    if toolkit and right:
        right = os.path.realpath(ALTERNATIVE) == os.path.realpath(target) and chosen(module)
    if module.check_mode:
        module.exit_json(changed=not right, loaded="")
    if not right and toolkit:
        set_alternative(module, target)
    elif not right:
        aside = link + ".new"
        if os.path.lexists(aside):
            os.unlink(aside)
        os.symlink(target, aside)
        os.rename(aside, link)
    loaded = ""
    if toolkit:
        code, out, err = module.run_command(["ldconfig"])
        if code != 0:
            module.fail_json(msg="ENVIRONMENT-LDCONFIG: ldconfig failed: %s" % (err or out).strip())
        _, listing, _ = module.run_command(["ldconfig", "-p"])
        loaded = first_runtime(listing, target)
        inside = os.path.realpath(loaded).startswith(os.path.realpath(target) + "/")
        if loaded and not inside:
            module.fail_json(
                msg="ENVIRONMENT-SHADOWED: the loader takes %s, which is not of %s: a file in "
                "/etc/ld.so.conf.d that sorts before 000_cuda.conf names its folder, and is not "
                "cudactl's; remove it" % (loaded, target)
            )
    module.exit_json(changed=not right, loaded=loaded)


if __name__ == "__main__":
    main()
