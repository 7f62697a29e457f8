"""Container engines: are they told of NVIDIA's runtime, and is their picture of the GPUs current?

The containers leg and `doctor` read the same; nothing is started here.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Optional

from ..files import Root
from ..ours import container_engines

CTK = "/usr/bin/nvidia-ctk"
RUNTIME = "/usr/bin/nvidia-container-runtime"
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi", "/run/cdi")
PODMAN_HOOK = "/usr/share/containers/oci/hooks.d/oci-nvidia-hook.json"
LIBRARY = re.compile(r"/lib(?:cuda|nvidia-ml)\.so\.(\d+\.\d[0-9.]*)$")
LARGEST = 4 * 1024 * 1024


def engines(root: Root) -> Dict[str, Any]:
    """Return the engines, how each is told of NVIDIA's runtime, and the CDI specifications."""
    there = container_engines(root)
    specifications: List[Dict[str, Any]] = []
    for folder in CDI_FOLDERS:
        if folder == "/run/cdi" and root.link("/var/run"):
            continue  # the same folder again
        for name in root.list(folder):
            if name.endswith((".yaml", ".yml", ".json")):
                specifications.append(cdi(root, "%s/%s" % (folder, name)))
    return {
        "engines": there,
        "docker": _docker(root),
        "containerd": _containerd(root),
        "podman_hook": root.exists(PODMAN_HOOK),
        "toolkit": {"ctk": root.exists(CTK), "runtime": root.exists(RUNTIME)},
        "toolkit_settings": _settings(root),
        "cdi": specifications,
        "cgroup_v2": root.exists("/sys/fs/cgroup/cgroup.controllers"),
    }


def _docker(root: Root) -> Optional[Dict[str, Any]]:
    path = "/etc/docker/daemon.json"
    text = root.text(path)
    if text is None:
        return None
    try:
        said = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        return {"path": path, "error": str(error), "runtimes": [], "default": None}
    said = said if isinstance(said, dict) else {}
    runtimes = said.get("runtimes")
    features = said.get("features")
    options = said.get("exec-opts")
    return {
        "path": path,
        "error": None,
        "runtimes": sorted(runtimes) if isinstance(runtimes, dict) else [],
        "missing_binaries": _missing_binaries(root, runtimes),
        "default": said.get("default-runtime"),
        "cdi": features.get("cdi") if isinstance(features, dict) else None,
        "exec_opts": [str(o) for o in options] if isinstance(options, list) else [],
    }


def _missing_binaries(root: Root, runtimes: Any) -> List[str]:  # noqa: ANN401
    """Return the runtimes' programs with an absolute path that are not there."""
    if not isinstance(runtimes, dict):
        return []
    paths = [str(r.get("path", "")) for r in runtimes.values() if isinstance(r, dict)]
    paths += [RUNTIME] * (paths.count("nvidia-container-runtime") > 0)
    return sorted({p for p in paths if p.startswith("/") and not root.exists(p)})


def _containerd(root: Root) -> Optional[Dict[str, Any]]:
    text = root.text("/etc/containerd/config.toml")
    if text is None:
        return None
    for folder in ("/etc/containerd/conf.d",):
        for name in root.list(folder):
            text += "\n" + (root.text("%s/%s" % (folder, name)) or "")
    lines = [line.split("#", 1)[0] for line in text.splitlines()]
    kept = "\n".join(lines)
    return {
        "path": "/etc/containerd/config.toml",
        "nvidia": "runtimes.nvidia" in kept or "nvidia-container-runtime" in kept,
        "cdi": bool(re.search(r"^\s*enable_cdi\s*=\s*true", kept, re.MULTILINE)),
        "systemd_cgroup": bool(re.search(r"^\s*SystemdCgroup\s*=\s*true", kept, re.MULTILINE)),
    }


def _settings(root: Root) -> Optional[Dict[str, Any]]:
    text = root.text("/etc/nvidia-container-runtime/config.toml")
    if text is None:
        return None
    said = dict(re.findall(r"^\s*([a-z-]+)\s*=\s*\"?([^\"\n#]+?)\"?\s*$", text, re.MULTILINE))
    return {"mode": said.get("mode"), "no_cgroups": said.get("no-cgroups")}


def cdi(root: Root, path: str) -> Dict[str, Any]:
    """Return what a CDI specification says of the driver and the device files, and what is gone.

    nvidia-ctk writes YAML or JSON; of YAML only the keys that are asked for are read, line by line.
    """
    text = (root.text(path) or "")[:LARGEST]
    values = {key: _all(text, key) for key in ("kind", "hostPath", "path", "name", "cdiVersion")}
    files = list(dict.fromkeys(values["hostPath"]))
    devices = [p for p in dict.fromkeys(values["path"]) if p.startswith("/dev/")]
    versions = {m.group(1) for m in map(LIBRARY.search, files) if m}
    return {
        "path": path,
        "kind": values["kind"][0] if values["kind"] else None,
        "version": values["cdiVersion"][0] if values["cdiVersion"] else None,
        "devices": values["name"][:200],
        "driver_versions": sorted(versions),
        "device_nodes": devices,
        "missing": [p for p in [*files, *devices] if not root.exists(os.path.normpath(p))][:20],
    }


def _all(text: str, key: str) -> List[str]:
    pattern = (
        r"(?m)^[ \t-]*\"?%s\"?[ \t]*:[ \t]*[\"']?([^\"'\n,#]+?)[\"']?[ \t]*,?[ \t]*$"
        % re.escape(key)
    )
    found = re.findall(pattern, text)
    if not found and text.lstrip().startswith("{"):  # JSON on one line
        found = re.findall(r"\"%s\"\s*:\s*\"([^\"]+)\"" % re.escape(key), text)
    return found
