"""NVIDIA's files outside dpkg: what a runfile, a tarball, pip or conda left where people put it.

The plan and the lock know packages; what no package owns is only found by looking. It is looked for
in the usual places, never in home folders (they may be thousands, on a network), and only names are
read. dpkg's file lists are read only where something was found that they could explain.
"""

from __future__ import annotations

import os
import re

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Set

MOST = 200
"""Files that are named one by one; a machine with more has one reason for all of them."""
LINK_STEPS = 5

INFO = "/var/lib/dpkg/info"
# Patterns are texts, compiled where something first looks like a match: on most hosts nothing does,
# and the probe is done before five of them would be compiled.
NAMES = (
    *(
        "cuda",
        "cudart",
        "cublas",
        "cublasLt",
        "cufft",
        "cufftw",
        "curand",
        "cusolver",
        "cusolverMg",
    ),
    *("cusparse", "cupti", "nvonnxparser", "nvrtc", "nvrtc-builtins", "nvJitLink", "nvidia-ml"),
    *("nvidia-ptxjitcompiler", "nvjpeg", "nccl"),
)
FAMILIES = ("cudnn", "cutensor", "nvinfer", "npp")  # libcudnn_ops.so.9, libnppc.so.13 …
BEGINNINGS = tuple("lib" + name for name in NAMES + FAMILIES)
LIBRARY = r"^lib(?:%s|(?:%s)[A-Za-z_]*)\.so(?:\.([0-9][0-9.]*))?$" % (
    "|".join(NAMES),
    "|".join(FAMILIES),
)
LIBRARY_FOLDERS = (
    *("/usr/local/lib", "/usr/local/lib64", "/usr/local/nvidia/lib64", "/usr/lib64", "/usr/lib"),
    *("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"),
)
TOOLKIT = r"^cuda(?:-([0-9]+\.[0-9]+))?$"
RUNFILE_DRIVER = ("/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")
# Wheels that bring NVIDIA's libraries: "nvidia_cudnn_cu12-9.1.0.70.dist-info".
WHEEL = (
    r"^(nvidia_(?!ml_py)[a-z0-9_]+|torch|tensorrt[a-z0-9_]*|tensorflow)-([0-9][^-]*)\.dist-info$"
)
WHEEL_BEGINNINGS = ("nvidia_", "torch-", "tensorrt", "tensorflow-")
# Conda's record of a package: "cudnn-9.1.0.70-h1234_0.json".
CONDA = (
    r"^((?:lib)?(?:cuda|cublas|cufft|curand|cusolver|cusparse|cudnn|nvjitlink|npp)[a-z0-9-]*"
    r"|nccl|tensorrt|pytorch)-([0-9][^-]*)-[^-]+\.json$"
)
# Packages whose file lists are read first, because they most likely own what was found.
LIKELY = (
    *("libcu", "libn", "cuda", "cudnn", "cccl", "nvidia", "tensorrt", "python3-libnv"),
    "firmware-nv",
)


def vendor_files(root: Root) -> Dict[str, Any]:
    """Return VendorFiles: the active toolkit, toolkit folders, and files that no package owns."""
    homes = _homes(root)
    candidates: List[Dict[str, Any]] = []
    for home in homes:
        candidates += _libraries(root, home["folders"])
    candidates += _libraries(root, LIBRARY_FOLDERS)
    candidates += [
        {"path": path, "kind": "driver", "version": None}
        for path in RUNFILE_DRIVER
        if root.exists(path)
    ]
    wheels = _wheels(root)
    sought = {one["path"] for one in candidates} | {one["path"] for one in wheels}
    owned = _owned(root, sought | {home["marker"] for home in homes})
    foreign_homes = [home for home in homes if home["marker"] not in owned]
    inside = tuple(home["path"] + "/" for home in foreign_homes)
    foreign = [
        {"path": home["path"], "kind": "toolkit", "version": home["version"]}
        for home in foreign_homes
    ]
    foreign += [
        one
        for one in [*candidates, *wheels]
        # A foreign toolkit is one finding, whatever lies in it.
        if one["path"] not in owned and not one["path"].startswith(inside)
    ]
    foreign += _conda(root)
    return {
        "active_toolkit": _active(root),
        "toolkits": [
            {
                "path": home["path"],
                "version": home["version"],
                "packaged": home["marker"] in owned,
            }
            for home in homes
        ],
        "foreign": foreign[:MOST],
        "more": max(0, len(foreign) - MOST),
    }


def _active(root: Root) -> Optional[str]:
    """Return the folder that /usr/local/cuda leads to, link by link and never out of the root."""
    path = "/usr/local/cuda"
    if not root.exists(path):
        return None
    for _ in range(LINK_STEPS):
        target = root.link(path)
        if target is None:
            return path
        path = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return None


def _homes(root: Root) -> List[Dict[str, Any]]:
    """Return the toolkit folders, each with a file whose owner says whose it is."""
    found = []
    for name in root.list("/usr/local"):
        match = re.match(TOOLKIT, name) if name.startswith("cuda") else None
        path = "/usr/local/" + name
        # /usr/local/cuda is a link to one of the others, unless somebody made it a folder.
        if match is None or root.link(path) is not None:
            continue
        folders = ["%s/targets/%s/lib" % (path, target) for target in root.list(path + "/targets")]
        if root.link(path + "/lib64") is None:
            folders.append(path + "/lib64")
        runtime = [
            "%s/%s" % (folder, file)
            for folder in folders
            for file in root.list(folder)
            if file.startswith("libcudart.so.") and root.link("%s/%s" % (folder, file)) is None
        ]
        compiler = [path + "/bin/nvcc"] if root.exists(path + "/bin/nvcc") else []
        if runtime or compiler:
            found.append(
                {
                    "path": path,
                    "folders": folders,
                    "marker": (runtime or compiler)[0],
                    "version": _toolkit_version(root, path) or match.group(1),
                }
            )
    return found


def _toolkit_version(root: Root, path: str) -> Optional[str]:
    said = (root.json(path + "/version.json") or {}).get("cuda")
    version = said.get("version") if isinstance(said, dict) else None
    if isinstance(version, str) and re.match(r"^[0-9]+(\.[0-9]+){1,3}$", version):
        return version
    return None


def _libraries(root: Root, folders: Iterable[str]) -> List[Dict[str, Any]]:
    found = []
    for folder in folders:
        if root.link(folder) is not None:
            continue
        for name in root.list(folder):
            match = re.match(LIBRARY, name) if name.startswith(BEGINNINGS) else None
            path = "%s/%s" % (folder, name)
            if match is not None and root.link(path) is None:
                found.append({"path": path, "kind": "library", "version": match.group(1)})
    return found


def _wheels(root: Root) -> List[Dict[str, Any]]:
    """Return what pip installed for everyone, and in environments below /opt."""
    folders = ["/usr/lib/python3/dist-packages"]
    for base in ["/usr/local/lib"] + ["/opt/%s/lib" % name for name in root.list("/opt")]:
        for name in root.list(base):
            if name.startswith("python3"):
                folders += ["%s/%s/%s-packages" % (base, name, kind) for kind in ("dist", "site")]
    found = []
    for folder in folders:
        for name in root.list(folder):
            match = re.match(WHEEL, name) if name.startswith(WHEEL_BEGINNINGS) else None
            if match is not None:
                path = "%s/%s" % (folder, name)
                found.append({"path": path, "kind": "python", "version": match.group(2)})
    return found


def _conda(root: Root) -> List[Dict[str, Any]]:
    prefixes = ["/opt/" + name for name in root.list("/opt")]
    prefixes += ["%s/envs/%s" % (base, n) for base in prefixes for n in root.list(base + "/envs")]
    found = []
    for prefix in prefixes:
        for name in root.list(prefix + "/conda-meta"):
            match = re.match(CONDA, name)
            if match is not None:
                path = "%s/conda-meta/%s" % (prefix, name)
                found.append({"path": path, "kind": "conda", "version": match.group(2)})
    return found


def _owned(root: Root, paths: Set[str]) -> Set[str]:
    """Return those of `paths` that a Debian package owns.

    A merged /usr makes /lib and /usr/lib the same folder; dpkg's lists may say either.
    """
    sought: Dict[str, str] = {}
    for path in paths:
        sought[path] = path
        if path.startswith("/usr/"):
            sought[path[len("/usr") :]] = path
    owned: Set[str] = set()
    lists = [name for name in root.list(INFO) if name.endswith(".list")] if paths else []
    for likely in (True, False):
        if owned == paths:
            break
        keys = sought.keys()
        for name in lists:
            if name.startswith(LIKELY) == likely:
                text = root.text("%s/%s" % (INFO, name)) or ""
                owned.update(sought[hit] for hit in keys & set(text.split("\n")))
    return owned
