#!/usr/bin/python3
"""Place several files of cudactl's, and remove those that it placed before, in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_files
short_description: Place and remove files that are cudactl's own
description:
  - Writes each file whole or not at all, with the folders that it needs, owned by root.
  - One call for many files, where M(ansible.builtin.copy) needs a connection for each.
options:
  files:
    description: Files to place, each with path, content and mode (octal).
    type: list
    elements: dict
    required: true
  remove:
    description: Files that go.
    type: list
    elements: path
    default: []
author: cudactl
"""
EXAMPLES = r"""
- name: Place the profile
  cudactl_files:
    files:
      - {path: /etc/profile.d/cudactl-cuda.sh, content: "export CUDA_HOME=/usr/local/cuda\n",
         mode: "0644"}
"""
RETURN = r"""
paths:
  description: What was written or removed.
  type: list
  elements: str
  returned: always
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule


def text_of(path):
    """Return a file's text; None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def place(path, content, mode):
    """Write a file whole: it has its old content or its new one at every instant."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".cudactl-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True},
            "remove": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    diff, paths = [], []
    os.umask(0o022)
    for one in module.params["files"]:
        path, content, mode = one["path"], one["content"], int(one.get("mode", "0644"), 8)
        before = text_of(path)
        if before == content and os.stat(path).st_mode & 0o7777 == mode:
            continue
        paths.append(path)
        diff.append({"before_header": path, "after_header": path})
        diff[-1].update({"before": before or "", "after": content})
        if not module.check_mode:
            place(path, content, mode)
    for path in module.params["remove"]:
        before = text_of(path)
        if before is None:
            continue
        paths.append(path)
        diff.append({"before_header": path, "after_header": path, "before": before, "after": ""})
        if not module.check_mode:
            os.unlink(path)
    module.exit_json(changed=bool(paths), paths=paths, diff=diff)


if __name__ == "__main__":
    main()
