#!/usr/bin/python3
"""Keep what a reboot would take away: the kernel's log, what runs, what dpkg just did."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_evidence
short_description: Write down a host's condition before it is rebooted
options:
  folder:
    description: Folder to write to, made with the permissions of root alone.
    type: path
    required: true
  keep:
    description: How many folders beside this one stay; the oldest ones go.
    type: int
    default: 5
author: cudactl
"""
EXAMPLES = r"""
- name: Keep the evidence
  cudactl_evidence:
    folder: /var/lib/cudactl/before-reboot/20261124T120000Z
"""
RETURN = r"""
files:
  description: What was written.
  type: list
  elements: str
  returned: always
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule

COMMANDS = {
    "dmesg.txt": ["dmesg"],
    "modules.txt": ["lsmod"],
    "processes.txt": ["ps", "-eo", "pid,user,etimes,comm"],
    "services.txt": ["systemctl", "list-units", "--type=service", "--no-pager", "--plain"],
    "dkms.txt": ["dkms", "status"],
}
TAILS = {
    "dpkg.log": "/var/log/dpkg.log",
    "apt-history.log": "/var/log/apt/history.log",
    "nvidia-version.txt": "/proc/driver/nvidia/version",
    "cmdline.txt": "/proc/cmdline",
}
TAIL_BYTES = 64 * 1024


def tail(path):
    """Return the end of a file, or None."""
    try:
        with open(path, "rb") as stream:
            try:
                stream.seek(-TAIL_BYTES, os.SEEK_END)
            except OSError:
                pass  # shorter than that, or of /proc
            return stream.read(TAIL_BYTES)
    except OSError:
        return None


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "keep": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    folder = module.params["folder"]
    if module.check_mode:
        module.exit_json(changed=True, files=[])
    contents = {name: tail(path) for name, path in TAILS.items()}
    for name, command in COMMANDS.items():
        path = module.get_bin_path(command[0])
        if path:
            _, out, err = module.run_command([path, *command[1:]], encoding=None)
            contents[name] = out[-TAIL_BYTES * 4 :] or err
    written = []
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for name, content in sorted(contents.items()):
            if content is not None:
                path = os.path.join(folder, name)
                with open(path, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                written.append(path)
        base = os.path.dirname(folder)
        others = [os.path.join(base, n) for n in os.listdir(base) if n != os.path.basename(folder)]
        others.sort(key=os.path.getmtime)
        for path in others[: max(0, len(others) - module.params["keep"])]:
            shutil.rmtree(path)
    except OSError as error:
        module.fail_json(msg="EVIDENCE-KEEP: %s" % error)
    module.exit_json(changed=bool(written), files=written)


if __name__ == "__main__":
    main()
