"""driver: libcuda by itself, the kernel's module, and how the driver is installed here."""

from __future__ import annotations

import ctypes
from typing import Optional

from ..files import Root
from ..hardware import device_nodes, module
from ..loading import Loaded
from . import Emit, Values, libraries


def measure(request: Values, emit: Emit) -> None:
    """Measure driver.libcuda and driver.module, and what else the request's "host" names."""
    wanted = libraries(request).get("cuda")
    path: Optional[str] = None
    if wanted is not None:
        cuda = Loaded(*wanted)
        path = cuda.path
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
    asked = [str(name) for name in request.get("host") or []]
    if asked:
        from ..driver_host import read

        for check, facts in read(root, asked, path).items():
            emit(check, facts, None)
