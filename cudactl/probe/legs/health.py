"""health: is NVML reachable and what does it answer; the kernel's log, services, stale processes.

Everything here is cheap and makes no CUDA context, so that a prolog can run it; what of it is
measured the request says.
"""

from __future__ import annotations

import ctypes

from .. import TYPE_CHECKING
from ..files import Root
from ..kernel_log import kernel_log
from ..loading import Loaded
from ..services import replaced_libraries, services
from . import Emit, Values, libraries

if TYPE_CHECKING:
    from typing import Any

    from ..nvml import Nvml

TEXT_BYTES = 96  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE is 80
MOST_GPUS = 64


def measure(request: Values, emit: Emit) -> None:
    """Measure health.nvml, and what else of this machine the request asks for."""
    wanted = libraries(request).get("nvml")
    if wanted is not None:
        found = Loaded(*wanted)
        if found.library is None:
            emit("health.nvml", found.values(), found.error)
        else:
            from ..nvml import Nvml  # a machine without NVML needs none of it

            _nvml(Nvml(*wanted), request, emit)
    root = Root()
    if request.get("kernel_log"):
        log = kernel_log(root, whole=request["kernel_log"] != "buffer")
        signs = {key: log.get(key) for key in ("readable", "source", "tried", "signs")}
        emit("health.xids", log, None)
        emit("health.driver_log", signs, None)
    if request.get("services"):
        emit("health.services", services(root), None)
    if request.get("stale"):
        emit("health.stale", replaced_libraries(root), None)


def _nvml(library: Nvml, request: Values, emit: Emit) -> None:
    values = library.loaded.values()
    code = library.call("nvmlInit_v2")
    values["init_code"] = code
    values["init_text"] = library.explain(code)
    if code:
        emit("health.nvml", values, None)
        return
    values["driver_version"] = _text(library, "nvmlSystemGetDriverVersion")
    values["nvml_version"] = _text(library, "nvmlSystemGetNVMLVersion")
    count = ctypes.c_uint(0)
    values["count_code"] = library.call("nvmlDeviceGetCount_v2", ctypes.byref(count))
    values["gpu_count"] = count.value
    emit("health.nvml", values, None)
    if request.get("gpus"):
        from ..nvml_readings import every_gpu

        emit("health.gpus", {"gpus": every_gpu(library, min(count.value, MOST_GPUS))}, None)
    library.call("nvmlShutdown")


def _text(library: Nvml, name: str) -> Any:  # noqa: ANN401
    buffer = ctypes.create_string_buffer(TEXT_BYTES)
    code = library.call(name, buffer, TEXT_BYTES)
    return buffer.value.decode("utf-8", errors="replace") if code == 0 else None
