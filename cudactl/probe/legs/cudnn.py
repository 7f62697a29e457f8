"""cudnn: the library and every sub-library that lies beside it, with the version each answers.

cuDNN 9 is a thin front library that loads its sub-libraries by itself; a mixed set is what makes
convolutions fail at run time with SUBLIBRARY_VERSION_MISMATCH.
"""

from __future__ import annotations

import ctypes
import os
import re
from typing import Any, Dict, List

from ..loading import Loaded
from . import Emit, Values, libraries

# cudnn_graph.h, cudnn_ops.h, cudnn_cnn.h, cudnn_adv.h (cuDNN 9)
CHECKS = {
    "graph": "cudnnGraphVersionCheck",
    "ops": "cudnnOpsVersionCheck",
    "cnn": "cudnnCnnVersionCheck",
    "adv": "cudnnAdvVersionCheck",
    "ext": "cudnnSubquadraticOpsVersionCheck",
}
SUB_LIBRARY = re.compile(r"^libcudnn_(\w+)\.so\.(\d+)$")


def measure(request: Values, emit: Emit) -> None:
    """Measure cudnn.library and cudnn.sublibraries."""
    wanted = libraries(request)
    # What cuDNN links to is loaded first and by path, so that no other copy is picked up.
    for name in ("cudart", "cublaslt", "cublas", "nvrtc"):
        if name in wanted:
            Loaded(*wanted[name])
    if "cudnn" not in wanted:
        return
    cudnn = Loaded(*wanted["cudnn"])
    values = cudnn.values()
    if cudnn.library is not None:
        values["version_number"] = cudnn.function("cudnnGetVersion", ctypes.c_size_t)()
        values["built_for_cudart"] = cudnn.function("cudnnGetCudartVersion", ctypes.c_size_t)()
        values["version"] = _version(cudnn)
    emit("cudnn.library", values, cudnn.error)
    if cudnn.path is None:
        return
    files: List[Dict[str, Any]] = []
    folder = os.path.dirname(cudnn.path)
    soname = wanted["cudnn"][0].rsplit(".", 1)[1]
    errors = []
    for name in sorted(os.listdir(folder)):
        match = SUB_LIBRARY.match(name)
        if match is None or match.group(2) != soname:
            continue
        part = Loaded(name, [folder])
        version = code = None
        if part.library is not None:
            # Some parts answer a version, some check themselves against the others; the engines
            # and heuristics do neither: their files' hashes have to speak for them.
            if part.owns("cudnnGetVersion"):
                version = part.function("cudnnGetVersion", ctypes.c_size_t)()
            check = CHECKS.get(match.group(1))
            if check is not None and part.owns(check):
                code = part.function(check, ctypes.c_int)()
        if part.error:
            errors.append(part.error)
        real = os.path.basename(part.path or "")
        files.append(
            {
                "name": match.group(1),
                "loaded": part.library is not None,
                "path": part.path,
                "file_version": real.split(".so.", 1)[1] if ".so." in real else None,
                "version_number": version,
                "check_code": code,
            }
        )
    emit("cudnn.sublibraries", {"files": files}, "; ".join(errors) or None)


def _version(cudnn: Loaded) -> Any:  # noqa: ANN401
    value = ctypes.c_int(-1)
    get = cudnn.function(
        "cudnnGetProperty", ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
    )
    parts = []
    for kind in (0, 1, 2):
        if get(kind, ctypes.byref(value)) != 0:
            return None
        parts.append(str(value.value))
    return ".".join(parts)
