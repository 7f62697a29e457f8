"""containers: do the engines know the GPUs, is their picture current, does a container see them.

Files are read and `nvidia-ctk --version` is asked. A container is started only when the request
names an image that is already there (nothing is pulled), and only then `systemctl daemon-reload`
is run, if the request asks for it: it is what makes containers lose their GPUs.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any, Dict, List, Optional, Tuple

from ..files import Root
from ..hardware import module
from ..signs import containers, device
from . import Emit, Values

VERSION = re.compile(r"version (\d+\.\d+\.\d+)")
UUID = re.compile(r"UUID: (GPU-[0-9a-fA-F-]{36})")
START_S, ASK_S = 60.0, 30.0
NAME = "cudactl-leg-containers"


def measure(request: Values, emit: Emit) -> None:
    """Measure containers.toolkit, .runtime, .cdi, .reload; .gpus where an image is named.

    Args:
        request: "root": a recorded tree instead of the machine; "image": an image with nvidia-smi;
            "engine": docker or podman; "daemon_reload": reload systemd while it runs.
        emit: Takes each result.
    """
    root = Root(str(request.get("root") or "/"))
    seen = containers.engines(root)
    nodes = device.nodes(root)
    ctk = root.at(containers.CTK)
    emit("containers.toolkit", *_toolkit(ctk))
    docker, containerd = seen["docker"] or {}, seen["containerd"] or {}
    emit(
        "containers.runtime",
        {
            "engines": seen["engines"],
            "docker_runtimes": docker.get("runtimes", []),
            "docker_missing": docker.get("missing_binaries", []),
            "docker_error": docker.get("error"),
            "containerd_nvidia": bool(containerd.get("nvidia")),
            "containerd_cdi": bool(containerd.get("cdi")),
            "podman_hook": seen["podman_hook"],
            "cdi_devices": sum(len(one["devices"]) for one in _ours(seen)),
        },
        None,
    )
    loaded = module(root)["loaded"]
    there = [n["path"] for n in nodes["files"] if re.match(r"^/dev/nvidia\d+$", n["path"])]
    emit("containers.cdi", {"specifications": _ours(seen), "loaded": loaded, "gpus": there}, None)
    emit(
        "containers.reload",
        {
            "missing_char_links": nodes["missing_char_links"],
            "cgroup_v2": seen["cgroup_v2"],
            "exec_opts": docker.get("exec_opts", []),
            "docker_cdi": docker.get("cdi") is True,
            "mode": (seen["toolkit_settings"] or {}).get("mode"),
        },
        None,
    )
    if request.get("image"):
        emit("containers.gpus", *_inside(root, request))


def _ours(seen: Dict[str, Any]) -> List[Dict[str, Any]]:
    return [one for one in seen["cdi"] if str(one["kind"]).startswith("nvidia.com/")]


def _toolkit(ctk: str) -> Tuple[Values, Optional[str]]:
    values: Values = {"path": None, "version": None}
    if not os.path.exists(ctk):
        return values, "%s is not there" % ctk
    values["path"] = os.path.realpath(ctk)
    # Not a library, but told like one: to whom it belongs, and whether it is the lab's.
    values["mapped"] = [values["path"]]
    code, out, err = _run([ctk, "--version"], ASK_S)
    match = VERSION.search(out)
    values["version"] = match.group(1) if match else None
    return values, None if match else (err or out)[-400:] or "exit status %d" % code


def _inside(root: Root, request: Values) -> Tuple[Values, Optional[str]]:
    """Start a container and compare the GPUs that it sees with the host's; then reload systemd."""
    engine = str(request.get("engine") or "docker")
    program = root.at("/usr/bin/" + engine)
    values: Values = {
        "engine": engine,
        "image": str(request["image"]),
        "host": _host_gpus(root),
        "before": None,
        "after": None,
        "reloaded": False,
    }
    gpus = ["--gpus", "all"] if engine == "docker" else ["--device", "nvidia.com/gpu=all"]
    name = "%s-%d" % (NAME, os.getpid())
    start = [program, "run", "--rm", "--pull", "never", "-d", "--name", name, *gpus]
    code, out, err = _run([*start, str(request["image"]), "sleep", "300"], START_S)
    if code != 0:
        return values, (err or out)[-600:] or "%s run: exit status %d" % (engine, code)
    try:
        values["before"], error = _seen(program, name)
        if error is None and request.get("daemon_reload"):
            code, out, err = _run(["systemctl", "daemon-reload"], ASK_S)
            if code != 0:
                return values, "systemctl daemon-reload: " + (err or out)[-300:]
            values["reloaded"] = True
            values["after"], error = _seen(program, name)
            if error is not None:
                values["after"], values["after_error"], error = [], error, None
        return values, error
    finally:
        _run([program, "rm", "-f", name], ASK_S)


def _seen(program: str, name: str) -> Tuple[Optional[List[str]], Optional[str]]:
    code, out, err = _run([program, "exec", name, "nvidia-smi", "-L"], ASK_S)
    if code != 0:
        return None, (out + err)[-400:] or "nvidia-smi: exit status %d" % code
    return sorted(UUID.findall(out)), None


def _host_gpus(root: Root) -> List[str]:
    found = []
    for address in root.list(device.INFORMATION):
        text = root.text("%s/%s/information" % (device.INFORMATION, address)) or ""
        match = re.search(r"GPU UUID:\s*(GPU-[0-9a-fA-F-]{36})", text)
        found.append(match.group(1) if match else address)
    return sorted(found)


def _run(command: List[str], deadline: float) -> Tuple[int, str, str]:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=deadline,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, "", "%s did not end within %.0f s" % (command[0], deadline)
    except OSError as error:
        return 127, "", str(error)
    out, err = (x.decode("utf-8", errors="replace").strip() for x in (done.stdout, done.stderr))
    return done.returncode, out, err
