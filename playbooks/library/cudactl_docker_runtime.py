#!/usr/bin/python3
"""Tell Docker NVIDIA's runtime by merging daemon.json, and see that the engine took it up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_docker_runtime
short_description: Merge NVIDIA's runtime into Docker's configuration
description:
  - Adds the runtime C(nvidia) to daemon.json and leaves every other key, their order and the
    indentation as they are. A file that is no JSON is refused with line and column.
  - Has the engine take it up by a reload, under which containers run on, or by a restart, and asks
    it afterwards. An engine that does not take it up gets its old file back.
options:
  config:
    description: The file.
    type: path
    default: /etc/docker/daemon.json
  keep:
    description: Folder for a copy of what the file was before the first change.
    type: path
    required: true
  default:
    description: Whether the runtime becomes the default one.
    type: bool
    default: false
  cdi:
    description: Whether the engine is told to take devices by CDI.
    type: bool
    default: false
  present:
    description: C(false) takes the runtime out again, where it is NVIDIA's.
    type: bool
    default: true
  apply:
    description: How the engine takes it up.
    type: str
    choices: [none, reload, restart]
    default: reload
  socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
author: cudactl
"""
EXAMPLES = r"""
- name: Tell Docker NVIDIA's runtime
  cudactl_docker_runtime:
    keep: /var/lib/cudactl/merged
"""
RETURN = r"""
runtimes:
  description: Runtimes that the engine knows afterwards, where it was asked.
  type: list
  elements: str
  returned: always
"""

import http.client
import json
import os
import re
import shutil
import socket
import time

from ansible.module_utils.basic import AnsibleModule

PROGRAM = "nvidia-container-runtime"
PATIENCE_S = 30.0


class Unreadable(Exception):
    """The file is not what Docker would read."""


def merged(text, default, cdi, present=True):
    """Return the text of daemon.json with (or without) NVIDIA's runtime.

    Args:
        text: What the file holds; empty where there is none.
        default: Whether the runtime becomes the default one.
        cdi: Whether the engine is told to take devices by CDI.
        present: False takes the runtime out.
    """
    try:
        said = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise Unreadable(str(error)) from error
    if not isinstance(said, dict):
        raise Unreadable("it is no JSON object")
    for key in ("runtimes", "features"):
        if not isinstance(said.get(key, {}), dict):
            raise Unreadable("%r is no object" % key)
    if present:
        runtimes = said.setdefault("runtimes", {})
        runtimes.setdefault("nvidia", {"args": [], "path": PROGRAM})
        if default:
            said["default-runtime"] = "nvidia"
        if cdi:
            said.setdefault("features", {})["cdi"] = True
    else:
        there = said.get("runtimes", {}).get("nvidia")
        if isinstance(there, dict) and str(there.get("path", "")).endswith(PROGRAM):
            del said["runtimes"]["nvidia"]
            if not said["runtimes"]:
                del said["runtimes"]
            if said.get("default-runtime") == "nvidia":
                del said["default-runtime"]
    indent = re.search(r"\n([ \t]+)\S", text)
    return json.dumps(said, indent=indent.group(1) if indent else 4, ensure_ascii=False) + "\n"


class Engine(http.client.HTTPConnection):
    """The engine's interface behind its socket."""

    def __init__(self, path):
        """Remember the socket's path."""
        super().__init__("docker", timeout=10)
        self.path = path

    def connect(self):
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def information(path):
    """Return what the engine says of itself, or None while it does not answer."""
    engine = Engine(path)
    try:
        engine.request("GET", "/info")
        return json.loads(engine.getresponse().read().decode("utf-8"))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        engine.close()


def taken_up(path, default, present):
    """Wait until the engine knows the runtime; return its runtimes and whether it does."""
    until = time.monotonic() + PATIENCE_S
    runtimes = []
    while True:
        said = information(path)
        if said is not None:
            runtimes = sorted(said.get("Runtimes") or {})
            right = ("nvidia" in runtimes) == present
            if right and (not default or said.get("DefaultRuntime") == "nvidia"):
                return runtimes, True
        if time.monotonic() > until:
            return runtimes, False
        time.sleep(0.3)


def keep(path, folder):
    """Keep a copy of what a file was before cudactl's first change of it."""
    copy = folder + path
    if os.path.exists(path) and not os.path.exists(copy):
        os.makedirs(os.path.dirname(copy), mode=0o755, exist_ok=True)
        shutil.copy2(path, copy)


def write(module, path, text):
    """Write a file whole, with the owner and permissions that it had."""
    aside = path + ".cudactl-new"
    with open(aside, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    module.atomic_move(aside, path)


def check(module, path, text):
    """Let the engine read the file before it has to; versions below 23 cannot be asked."""
    program = module.get_bin_path("dockerd")
    if program is None:
        return
    aside = path + ".cudactl-check"
    with open(aside, "w", encoding="utf-8") as stream:
        stream.write(text)
    try:
        code, out, err = module.run_command([program, "--validate", "--config-file", aside])
    finally:
        os.unlink(aside)
    if code != 0 and "unknown flag" not in err:
        module.fail_json(
            msg="CONTAINERS-REFUSED: dockerd would not start with %s: %s; nothing was changed"
            % (path, " ".join((err or out).split())[-400:])
        )


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "path", "default": "/etc/docker/daemon.json"},
            "keep": {"type": "path", "required": True},
            "default": {"type": "bool", "default": False},
            "cdi": {"type": "bool", "default": False},
            "present": {"type": "bool", "default": True},
            "apply": {
                "type": "str",
                "choices": ["none", "reload", "restart"],
                "default": "reload",
            },
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    given = module.params
    path, present = given["config"], given["present"]
    before = None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            before = stream.read()
    try:
        after = merged(before or "", given["default"], given["cdi"], present)
    except Unreadable as error:
        module.fail_json(msg="CONTAINERS-UNREADABLE: %s: %s; nothing was changed" % (path, error))
    same = before is not None and json.loads(before or "{}") == json.loads(after)
    if same or module.check_mode:
        header = {"before_header": path, "after_header": path}
        diff = dict(header, before=before or "", after=before if same else after)
        module.exit_json(changed=not same, runtimes=[], diff=diff)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    check(module, path, after)
    if present:
        keep(path, given["keep"])
    write(module, path, after)
    runtimes = []
    if given["apply"] != "none":
        module.run_command(["systemctl", given["apply"], "docker.service"])
        runtimes, right = taken_up(given["socket"], given["default"] and present, present)
        if not right:
            if before is None:
                os.unlink(path)
            else:
                write(module, path, before)
            module.run_command(["systemctl", given["apply"], "docker.service"])
            module.fail_json(
                msg="CONTAINERS-REFUSED: Docker did not take up NVIDIA's runtime within %d s (it "
                "knows %s); %s is as it was. See: journalctl -u docker"
                % (PATIENCE_S, ", ".join(runtimes) or "nothing", path)
            )
    diff = {"before_header": path, "after_header": path, "before": before or "", "after": after}
    module.exit_json(changed=True, runtimes=runtimes, diff=diff)


if __name__ == "__main__":
    main()
