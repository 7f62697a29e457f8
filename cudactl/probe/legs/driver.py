"""driver: libcuda by itself, and what the kernel says about the module."""

from __future__ import annotations

import ctypes

from ..files import Root
from ..hardware import device_nodes, module
from ..loading import Loaded
from . import Emit, Values, libraries


def measure(request: Values, emit: Emit) -> None:
    """Measure driver.libcuda and driver.module."""
    wanted = libraries(request).get("cuda")
    if wanted is not None:
        cuda = Loaded(*wanted)
        values = cuda.values()
        if cuda.library is not None:
            version = ctypes.c_int(-1)
            get_version = cuda.function(
                "cuDriverGetVersion", ctypes.c_int, ctypes.POINTER(ctypes.c_int)
            )
            values["get_version_code"] = get_version(ctypes.byref(version))
            values["cuda_version"] = version.value
            values["init_code"] = cuda.function("cuInit", ctypes.c_int, ctypes.c_uint)(0)
        emit("driver.libcuda", values, cuda.error)
    root = Root()
    state = module(root)
    state["device_nodes"] = device_nodes(root)
    emit("driver.module", state, None)
