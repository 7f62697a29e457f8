"""Which copy of a library a program would get: the environment, ld.so's cache, wheels, conda.

Only names and places are read; nothing is loaded.
"""

from __future__ import annotations

import glob
import os
import re
import struct
from typing import Any, Dict, List, Optional, Tuple

from ..files import Root
from ..loading import NEW_FORMAT, WORD_64

CACHE = "/etc/ld.so.cache"
SONAMES = re.compile(
    r"^lib(cuda|nvidia-ml|cudart|cublas|cublasLt|nvrtc|cudnn|cudnn_\w+|nvinfer|nvinfer_plugin"
    r"|nvonnxparser|nccl)\.so\.\d+$"
)
VERSIONED = re.compile(
    r"^lib(cudnn|cudnn_[a-z_]+|nvinfer|nvinfer_\w+|nvonnxparser)\.so\.(\d+\.\d.*)$"
)
DRIVER_FILE = re.compile(r"^lib(cuda|nvidia-ml)\.so\.(\d+\.\d[0-9.]*)$")
SYSTEM_FOLDERS = (
    *("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"),
    *("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/local/lib", "/usr/lib/wsl/lib"),
)
INTERESTING = (
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"),
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "VIRTUAL_ENV", "CONDA_PREFIX"),
    *("CUDA_INJECTION64_PATH", "CUDA_INJECTION32_PATH", "NSIGHT_CUDA_DEBUGGER"),
    *("CUDA_ENABLE_COREDUMP_ON_EXCEPTION", "CUDA_DEVICE_WAITS_ON_EXCEPTION", "CUDA_PROFILE"),
    *("CUDA_LAUNCH_BLOCKING", "CUDA_MPS_PIPE_DIRECTORY", "PYTHONPATH"),
)
MOST = 400
MAX_WHEEL_FOLDERS = 40


def of_interest(environment: Dict[str, str]) -> Dict[str, str]:
    """Return the variables that change which CUDA a program gets."""
    return {name: environment[name][:4000] for name in INTERESTING if name in environment}


def loader(root: Root, environment: Dict[str, str]) -> Dict[str, Any]:
    """Return, in the order in which the loader looks, where each library lies; and nvcc by PATH."""
    paths = [p for p in environment.get("LD_LIBRARY_PATH", "").split(":") if p.startswith("/")]
    found: List[Dict[str, Any]] = []
    for folder in dict.fromkeys(os.path.normpath(path) for path in paths):
        found += _in(root, folder, "LD_LIBRARY_PATH")
    cached = _cache(root)
    if cached is None:
        cached = [e for folder in _configured(root) for e in _in(root, folder, "ld.so.conf")]
    found += cached
    folders = [os.path.dirname(entry["path"]) for entry in found]
    return {
        "found": found[:MOST],
        "sets": _sets(root, folders),
        "driver_files": _driver_files(root, folders),
        "configured": _configured_by(root),
        "preload": root.line("/etc/ld.so.preload"),
        "nvcc": _on_path(root, environment.get("PATH", ""), "nvcc"),
    }


def _in(root: Root, folder: str, source: str) -> List[Dict[str, Any]]:
    return [
        _entry(root, name, "%s/%s" % (folder, name), source)
        for name in root.list(folder)
        if SONAMES.match(name)
    ]


def _entry(root: Root, soname: str, path: str, source: str) -> Dict[str, Any]:
    return {"soname": soname, "path": path, "real": _real(root, path), "source": source}


def _real(root: Root, path: str) -> str:
    """Return the file behind a link, as the tree itself names it."""
    if root.live:
        return os.path.realpath(path)
    for _ in range(5):
        target = root.link(path)
        if target is None:
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return path


def _cache(root: Root) -> Optional[List[Dict[str, Any]]]:
    """Return the 64-bit entries of ld.so's cache (format: glibc's dl-cache.h), in its order."""
    try:
        with open(root.at(CACHE), "rb") as stream:
            data = stream.read()
    except OSError:
        return None
    start = data.find(NEW_FORMAT)
    if start < 0:
        return None
    found = []
    try:
        (count,) = struct.unpack_from("<I", data, start + 20)
        for number in range(count):
            flags, key, value = struct.unpack_from("<iII", data, start + 48 + 24 * number)
            if flags & 0xFF00 not in WORD_64:
                continue
            soname = _string(data, start + key)
            if SONAMES.match(soname):
                found.append(_entry(root, soname, _string(data, start + value), "ld.so.cache"))
    except (struct.error, ValueError):
        pass  # cut short; ld.so does not read on either
    return found


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("utf-8", errors="replace")


def _configured_by(root: Root) -> List[Dict[str, str]]:
    """Return the folders of ld.so.conf.d, each with the file that names it."""
    found = []
    names = ["/etc/ld.so.conf"]
    names += ["/etc/ld.so.conf.d/" + n for n in root.list("/etc/ld.so.conf.d") if n[-5:] == ".conf"]
    for path in names:
        for line in (root.text(path) or "").splitlines():
            folder = line.split("#", 1)[0].strip()
            if folder.startswith("/"):
                found.append({"file": path, "folder": os.path.normpath(folder)})
    return found


def _configured(root: Root) -> List[str]:
    folders = [one["folder"] for one in _configured_by(root)] + list(SYSTEM_FOLDERS)
    return [f for f in dict.fromkeys(folders) if root.link(f) is None]


def _sets(root: Root, folders: List[str]) -> List[Dict[str, Any]]:
    """Return per folder the versions of the parts of cuDNN and TensorRT that lie in it."""
    found = []
    for folder in dict.fromkeys([*folders, *SYSTEM_FOLDERS]):
        parts: Dict[str, List[str]] = {}
        for name in root.list(folder):
            match = VERSIONED.match(name)
            if match and root.link("%s/%s" % (folder, name)) is None:
                parts.setdefault(match.group(1), []).append(match.group(2))
        if parts:
            found.append({"folder": folder, "parts": parts})
    return found


def _driver_files(root: Root, folders: List[str]) -> List[Dict[str, str]]:
    """Return the driver's libraries with a version in their name."""
    found = []
    for folder in dict.fromkeys([*folders, *SYSTEM_FOLDERS]):
        for name in root.list(folder):
            match = DRIVER_FILE.match(name)
            path = "%s/%s" % (folder, name)
            if match and root.link(path) is None:
                found.append({"path": path, "version": match.group(2)})
    return found


def _on_path(root: Root, path: str, name: str) -> List[str]:
    found = []
    for folder in path.split(":"):
        candidate = os.path.join(folder, name)
        if folder.startswith("/") and root.exists(candidate):
            found.append(_real(root, candidate))
    return list(dict.fromkeys(found))


def python_libraries(root: Root, environment: Dict[str, str]) -> List[Dict[str, Any]]:
    """Return the folders with NVIDIA's libraries in the active environment (venv, conda)."""
    prefixes: List[Tuple[str, str]] = []
    for kind, variable in (("venv", "VIRTUAL_ENV"), ("conda", "CONDA_PREFIX")):
        if environment.get(variable, "").startswith("/"):
            prefixes.append((kind, os.path.normpath(environment[variable])))
    found = []
    for kind, prefix in prefixes:
        patterns = ["lib/python3*/site-packages/nvidia/*/lib"]
        patterns += ["lib"] if kind == "conda" else []
        for pattern in patterns:
            for folder in sorted(glob.glob(root.at(prefix) + "/" + pattern))[:MAX_WHEEL_FOLDERS]:
                inside = folder if root.live else folder[len(root.path) :]
                names = [name for name in root.list(inside) if SONAMES.match(name)]
                if names:
                    found.append({"kind": kind, "folder": inside, "sonames": names})
    return found
