"""Container engines as configured: do they know of NVIDIA's runtime, is it the default, and CDI?

Configuration is read as the engine merges it, tolerantly: what is not understood is not there.
"""

from __future__ import annotations

import json
import os

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

RUNTIME = "nvidia-container-runtime"
DOCKERD = ("/usr/bin/dockerd", "/usr/sbin/dockerd")  # Debian's is in sbin
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi", "/run/cdi")
PODMAN_HOOKS = ("/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d")
# A vendor's specification is some 60 KB.
LARGEST = 1024 * 1024
MOST_FILES = 50


def runtimes(root: Root, packages: Dict[str, str]) -> List[Dict[str, Any]]:
    """Return ContainerRuntime for each engine that is installed."""
    readers = (
        ((*DOCKERD, "/snap/bin/docker"), _docker),
        (("/usr/bin/containerd", "/usr/local/bin/containerd"), _containerd),
        (("/usr/bin/podman",), _podman),
        (("/usr/bin/crio", "/usr/local/bin/crio"), _crio),
        (("/usr/bin/enroot",), _enroot),
        (("/usr/bin/apptainer", "/usr/local/bin/apptainer", "/usr/bin/singularity"), _apptainer),
    )
    return [
        read(root, packages)
        for programs, read in readers
        if any(root.exists(program) for program in programs)
    ]


def _engine(name: str, config: Optional[str], **known: Any) -> Dict[str, Any]:  # noqa: ANN401
    blank = {"nvidia": None, "default": None, "cdi": None, "problem": None}
    return dict(blank, name=name, config=config, **known)


def _docker(root: Root, _: Dict[str, str]) -> Dict[str, Any]:
    path = "/etc/docker/daemon.json"
    if not any(root.exists(program) for program in DOCKERD):
        path = "/var/snap/docker/current/config/daemon.json"
    text = root.text(path)
    if text is None and root.exists(path):
        return _engine("docker", path, problem="it cannot be read")
    try:
        said = json.loads(text) if text and text.strip() else {}
    except (ValueError, RecursionError) as error:
        return _engine("docker", path, problem="it is no JSON: %s" % str(error)[:200])
    if not isinstance(said, dict):
        return _engine("docker", path, problem="it is no JSON object")
    known, features = said.get("runtimes"), said.get("features")
    known = known if isinstance(known, dict) else {}
    ours = {
        name
        for name, one in known.items()
        if name == "nvidia" or (isinstance(one, dict) and str(one.get("path")).endswith(RUNTIME))
    }
    cdi = features.get("cdi") if isinstance(features, dict) else None
    tasks = root.list("/run/containerd/io.containerd.runtime.v2.task/moby")
    tasks += root.list("/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby")
    containers = [root.json("/var/lib/docker/containers/%s/config.v2.json" % t) for t in tasks]
    return _engine(
        "docker",
        path if text is not None else None,
        nvidia=bool(ours),
        default=said.get("default-runtime") in ours,
        cdi=cdi if isinstance(cdi, bool) else None,
        running=sorted(str(c.get("Name", "?")).lstrip("/") for c in containers[:MOST_FILES] if c),
        live_restore=said.get("live-restore") is True,
    )


def toml(text: str) -> Iterator[Tuple[List[str], str, str]]:
    """Yield (table, key, value as written) of a TOML text: enough for engines' configurations.

    Multi-line arrays are joined; inline tables stay text; multi-line strings are not read.
    """
    table: List[str] = []
    pending = ""
    for raw in text.splitlines():
        line = (pending + " " + _without_comment(raw).strip()).strip()
        pending = ""
        if not line:
            continue
        if line.startswith("[") and line.endswith("]") and "=" not in line.split("]")[0]:
            table = _dotted(line.strip("[]"))
            continue
        key, separator, value = line.partition("=")
        if not separator:
            continue
        if value.count("[") > value.count("]") and len(line) < 10000:
            pending = line
            continue
        parts = _dotted(key)
        yield table + parts[:-1], parts[-1] if parts else "", value.strip()


def _without_comment(line: str) -> str:
    quote = ""
    for index, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#":
            return line[:index]
    return line


def _dotted(text: str) -> List[str]:
    """Return the parts of a TOML key: plugins."io.containerd.grpc.v1.cri".containerd."""
    parts, part, quote = [], "", ""
    for char in text.strip():
        if quote:
            if char == quote:
                quote = ""
            else:
                part += char
        elif char in "\"'":
            quote = char
        elif char == ".":
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return [*parts, part.strip()]


def _plain(value: str) -> str:
    return value.strip().strip("\"'")


def _containerd(root: Root, _: Dict[str, str]) -> Dict[str, Any]:
    path = "/etc/containerd/config.toml"
    if not root.exists(path):
        return _engine("containerd", None, nvidia=False, default=False)
    text = root.text(path)
    if text is None:
        return _engine("containerd", path, problem="it cannot be read")
    settings = list(toml(text))
    for table, key, value in list(settings):
        if not table and key == "imports":
            settings += _imported(root, value, os.path.dirname(path))
    return _engine("containerd", path, **_cri(settings, "default_runtime_name", "containerd"))


def _imported(root: Root, value: str, base: str) -> List[Tuple[List[str], str, str]]:
    import fnmatch

    found: List[Tuple[List[str], str, str]] = []
    for pattern in value.strip("[] ").split(","):
        pattern = os.path.normpath(os.path.join(base, _plain(pattern) or "."))
        folder, names = os.path.split(pattern)
        matching = [n for n in root.list(folder) if fnmatch.fnmatchcase(n, names)]
        for name in matching[:MOST_FILES]:
            path = "%s/%s" % (folder, name)
            if os.path.isfile(root.at(path)):  # a pattern may also hit what never ends
                found += toml((root.text(path) or "")[:LARGEST])
    return found


def _cri(settings: List[Tuple[List[str], str, str]], default: str, _: str) -> Dict[str, Any]:
    """Return what a runtime of Kubernetes knows: later files win, as in the engine."""
    ours, chosen, cdi = set(), None, None
    for table, key, value in settings:
        if "runtimes" in table[:-1]:
            name = table[table.index("runtimes") + 1]
            program = key in ("BinaryName", "runtime_path") and _plain(value).endswith(RUNTIME)
            if name == "nvidia" or program:
                ours.add(name)
        if key == default and table:
            chosen = _plain(value)
        elif key == "enable_cdi" and value in ("true", "false"):
            cdi = value == "true"
    return {"nvidia": bool(ours), "default": chosen in ours, "cdi": cdi}


def _podman(root: Root, packages: Dict[str, str]) -> Dict[str, Any]:
    settings: List[Tuple[List[str], str, str]] = []
    config = None
    for path in ("/usr/share/containers/containers.conf", "/etc/containers/containers.conf"):
        text = root.text(path)
        if text is not None:
            config = path
            settings += toml(text[:LARGEST])
    runtime = any(t[:2] == ["engine", "runtimes"] and key == "nvidia" for t, key, _ in settings)
    default = any(
        t == ["engine"] and k == "runtime" and _plain(v) == "nvidia" for t, k, v in settings
    )
    hook = any("nvidia" in name for folder in PODMAN_HOOKS for name in root.list(folder))
    # CDI came with 4.1 (containers/podman, its release notes).
    version = packages.get("podman", "").rpartition(":")[2].split(".")
    cdi = None
    if len(version) > 1 and version[0].isdigit():
        minor = "".join(c for c in version[1][:3] if c.isdigit())
        cdi = (int(version[0]), int(minor or 0)) >= (4, 1)
    return _engine("podman", config, nvidia=runtime or hook, default=default, cdi=cdi)


def _crio(root: Root, _: Dict[str, str]) -> Dict[str, Any]:
    settings: List[Tuple[List[str], str, str]] = []
    config = "/etc/crio/crio.conf" if root.exists("/etc/crio/crio.conf") else None
    paths = ["/etc/crio/crio.conf"]
    paths += ["/etc/crio/crio.conf.d/" + name for name in root.list("/etc/crio/crio.conf.d")]
    for path in paths[:MOST_FILES]:
        settings += toml((root.text(path) or "")[:LARGEST])
    return _engine("crio", config, **_cri(settings, "default_runtime", "crio"))


def _enroot(root: Root, _: Dict[str, str]) -> Dict[str, Any]:
    config = "/etc/enroot/enroot.conf"
    folders = ("/etc/enroot/hooks.d", "/usr/etc/enroot/hooks.d", "/usr/local/etc/enroot/hooks.d")
    hooks = ["%s/%s" % (folder, name) for folder in folders for name in root.list(folder)]
    nvidia = any(
        "nvidia" in os.path.basename(hook)
        and hook.endswith(".sh")
        and os.access(root.at(hook), os.X_OK)
        for hook in hooks
    )
    return _engine("enroot", config if root.exists(config) else None, nvidia=nvidia)


def _apptainer(root: Root, _: Dict[str, str]) -> Dict[str, Any]:
    bases = ("/etc/apptainer", "/usr/local/etc/apptainer", "/etc/singularity")
    base = next((b for b in bases if root.exists(b)), None)
    if base is None:
        return _engine("apptainer", None)
    config = base + ("/singularity.conf" if base.endswith("singularity") else "/apptainer.conf")
    words = [line.split() for line in (root.text(config) or "").splitlines()]
    always = any(w[:3] == ["always", "use", "nv"] and w[-1] == "yes" for w in words)
    # The list names the driver's libraries that --nv brings.
    libraries = root.exists(base + "/nvliblist.conf")
    known = config if root.exists(config) else None
    return _engine("apptainer", known, nvidia=libraries, default=always)


def cdi(root: Root) -> List[Dict[str, Any]]:
    """Return CdiSpec for NVIDIA's specifications."""
    found = []
    for folder in CDI_FOLDERS:
        if folder == "/run/cdi" and root.link("/var/run"):
            continue  # the same folder again
        for name in root.list(folder):
            path = "%s/%s" % (folder, name)
            if not name.endswith((".yaml", ".yml", ".json")):
                continue
            try:
                with open(root.at(path), encoding="utf-8", errors="replace") as stream:
                    written = os.fstat(stream.fileno()).st_mtime
                    text = stream.read(LARGEST)
            except OSError:
                continue
            if "nvidia" in name or "nvidia.com/" in text[:4096]:
                found.append({"path": path, "driver": _driver(text), "written": written})
    return found


def _driver(text: str) -> Optional[str]:
    """Return the version in the name of a driver's library."""
    for library in ("/libcuda.so.", "/libnvidia-ml.so."):
        for piece in text.split(library)[1:]:
            version = ""
            for char in piece[:24]:
                if char not in "0123456789.":
                    break
                version += char
            if "." in version.strip("."):
                return version.strip(".")
    return None
