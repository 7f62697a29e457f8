#!/usr/bin/python3
"""Verify wheels on the target and unpack them side by side, all or nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_wheel_stack
short_description: Unpack verified wheels into a stack folder
description:
  - Verifies every wheel's sha256 on the target, unpacks into a folder beside the final one, writes
    the manifest last and renames. A stack that is there is complete, or it is not there.
options:
  folder:
    description: The stack's folder.
    type: path
    required: true
  lock:
    description: Full hash of the lock.
    type: str
    required: true
  incoming:
    description: Folder that holds the wheels.
    type: path
    required: true
  wheels:
    description: File name and sha256 of each wheel.
    type: list
    elements: dict
    required: true
author: cudactl
"""
EXAMPLES = r"""
- name: Unpack
  cudactl_wheel_stack:
    folder: /opt/cudactl/stacks/0123456789ab
    lock: "{{ lock_hash }}"
    incoming: /opt/cudactl/incoming/0123456789ab
    wheels: [{file: a-1-py3-none-any.whl, sha256: "…"}]
"""
RETURN = r"""
files:
  description: Number of files unpacked.
  type: int
  returned: changed
"""

import hashlib
import json
import os
import re
import shutil
import zipfile

from ansible.module_utils.basic import AnsibleModule

SHARED = re.compile(r"^(lib[A-Za-z0-9_+-]+\.so)\.[0-9]+$")
ACTIVATE = """\
# Source this to use the stack in a shell: . {folder}/activate
export CUDA_HOME="{cuda}"
export PATH="{cuda}/bin:$PATH"
export LD_LIBRARY_PATH="{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export CUDACTL_STACK="{folder}"
"""
SERVICE = """\
# For a unit: EnvironmentFile={folder}/service.env
CUDA_HOME={cuda}
LD_LIBRARY_PATH={libraries}
CUDACTL_STACK={folder}
"""
MODULEFILE = """\
#%Module1.0
# module use {folder}/modulefiles; module load cudactl
setenv CUDA_HOME {cuda}
prepend-path PATH {cuda}/bin
prepend-path LD_LIBRARY_PATH {libraries}
setenv CUDACTL_STACK {folder}
"""


def sha256_of(path):
    """Return the sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def unpack(module, path, site):
    """Unpack one wheel below `site`, never outside of it; return the number of files."""
    count = 0
    with zipfile.ZipFile(path) as wheel:
        for item in wheel.infolist():
            target = os.path.normpath(os.path.join(site, item.filename))
            if not target.startswith(site + os.sep):
                module.fail_json(
                    msg="WHEEL-UNSAFE: %s holds %r, which lies outside" % (path, item.filename)
                )
            if item.is_dir():
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with wheel.open(item) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            # As pip does: what anybody may run everybody may; some wheels name the owner only.
            os.chmod(target, 0o755 if (item.external_attr >> 16) & 0o111 else 0o644)
            count += 1
    return count


def finish(site):
    """Link what the compiler looks for and the wheels leave out, and write the activation files."""
    libraries = []
    for root, _, files in os.walk(site):
        found = [name for name in files if SHARED.match(name)]
        if found:
            libraries.append(root)
        for name in found:
            bare = os.path.join(root, SHARED.match(name).group(1))
            if not os.path.lexists(bare):
                os.symlink(name, bare)
    cuda = ""
    vendor = os.path.join(site, "nvidia")
    for name in sorted(os.listdir(vendor), reverse=True) if os.path.isdir(vendor) else []:
        home = os.path.join(vendor, name)
        if os.path.isdir(os.path.join(home, "bin")) and name.startswith("cu"):
            cuda = home
            break
    return cuda, sorted(libraries)


def write(path, text):
    """Write a small text file."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as sink:
        sink.write(text)
    os.chmod(path, 0o644)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "lock": {"type": "str", "required": True},
            "incoming": {"type": "path", "required": True},
            "wheels": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    folder, incoming = module.params["folder"], module.params["incoming"]
    wheels = {w["file"]: w["sha256"] for w in module.params["wheels"]}
    manifest = os.path.join(folder, "manifest.json")
    try:
        with open(manifest) as stream:
            there = json.load(stream)
    except (OSError, ValueError):
        there = {}
    if there.get("complete") and there.get("wheels") == wheels:
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)

    for name, digest in sorted(wheels.items()):
        path = os.path.join(incoming, name)
        found = sha256_of(path) if os.path.exists(path) else "no file"
        if found != digest:
            module.fail_json(
                msg="WHEEL-HASH: %s arrived as %s, the lock says %s; nothing was unpacked"
                % (name, found, digest)
            )
    aside = folder + ".unpacking"
    shutil.rmtree(aside, ignore_errors=True)
    site = os.path.join(aside, "site")
    os.makedirs(site, mode=0o755)
    try:
        count = sum(unpack(module, os.path.join(incoming, name), site) for name in sorted(wheels))
        cuda, libraries = finish(site)
        values = {
            "folder": folder,
            "cuda": cuda.replace(aside, folder, 1),
            "libraries": ":".join(p.replace(aside, folder, 1) for p in libraries),
        }
        write(os.path.join(aside, "activate"), ACTIVATE.format(**values))
        write(os.path.join(aside, "service.env"), SERVICE.format(**values))
        write(os.path.join(aside, "modulefiles", "cudactl"), MODULEFILE.format(**values))
        document = {"lock": module.params["lock"], "complete": True, "wheels": wheels}
        write(os.path.join(aside, "manifest.json"), json.dumps(document, indent=1, sort_keys=True))
        # Everything is on disk before the name is: a power cut leaves no half stack behind it.
        os.sync()
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(aside, folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        module.fail_json(msg="WHEEL-STACK: %s; nothing was left behind" % error)
    module.exit_json(changed=True, files=count)


if __name__ == "__main__":
    main()
