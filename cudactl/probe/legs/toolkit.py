"""toolkit: cudart, cuBLAS, cuBLASLt, NVRTC by absolute path, asked for their versions."""

from __future__ import annotations

import ctypes
from typing import Any, Callable, Dict

from ..loading import Loaded
from . import Emit, Values, libraries

# libraryPropertyType of library_types.h
MAJOR, MINOR, PATCH = 0, 1, 2


def measure(request: Values, emit: Emit) -> None:
    """Measure toolkit.cudart, toolkit.cublas, toolkit.cublaslt and toolkit.nvrtc."""
    wanted = libraries(request)
    # cuBLAS needs cuBLASLt: loaded first, it is the one that the loader then finds.
    for name in ("cudart", "cublaslt", "cublas", "nvrtc"):
        if name not in wanted:
            continue
        library = Loaded(*wanted[name])
        values = library.values()
        error = library.error
        if library.library is not None:
            try:
                values.update(ASK[name](library))
            except AttributeError as missing:
                error = str(missing)
        emit("toolkit." + name, values, error)


def _cudart(library: Loaded) -> Dict[str, Any]:
    version, count = ctypes.c_int(-1), ctypes.c_int(-1)
    pointer = ctypes.POINTER(ctypes.c_int)
    code = library.function("cudaRuntimeGetVersion", ctypes.c_int, pointer)(ctypes.byref(version))
    counted = library.function("cudaGetDeviceCount", ctypes.c_int, pointer)(ctypes.byref(count))
    return {
        "code": code,
        "runtime_version": version.value,
        "device_count_code": counted,
        "device_count": count.value if counted == 0 else 0,
    }


def _cublas(library: Loaded) -> Dict[str, Any]:
    value = ctypes.c_int(-1)
    get = library.function(
        "cublasGetProperty", ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
    )
    parts = []
    for kind in (MAJOR, MINOR, PATCH):
        if get(kind, ctypes.byref(value)) != 0:
            return {"version": None}
        parts.append(str(value.value))
    return {"version": ".".join(parts)}


def _cublaslt(library: Loaded) -> Dict[str, Any]:
    return {
        "version_number": library.function("cublasLtGetVersion", ctypes.c_size_t)(),
        "built_for_cudart": library.function("cublasLtGetCudartVersion", ctypes.c_size_t)(),
    }


def _nvrtc(library: Loaded) -> Dict[str, Any]:
    major, minor = ctypes.c_int(-1), ctypes.c_int(-1)
    pointer = ctypes.POINTER(ctypes.c_int)
    code = library.function("nvrtcVersion", ctypes.c_int, pointer, pointer)(
        ctypes.byref(major), ctypes.byref(minor)
    )
    return {"code": code, "version": "%d.%d" % (major.value, minor.value)}


ASK: Dict[str, Callable[[Loaded], Dict[str, Any]]] = {
    "cudart": _cudart,
    "cublas": _cublas,
    "cublaslt": _cublaslt,
    "nvrtc": _nvrtc,
}
