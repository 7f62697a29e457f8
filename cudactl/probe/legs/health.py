"""health: is NVML reachable, and what does it answer.

Return codes and prototypes: NVIDIA's nvml.h (nvmlReturn_t), cross-checked against the pynvml module
in the tests.
"""

from __future__ import annotations

import ctypes
from typing import Any

from ..loading import Loaded
from . import Emit, Values, libraries

TEXT_BYTES = 96  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE is 80


def measure(request: Values, emit: Emit) -> None:
    """Measure health.nvml."""
    wanted = libraries(request).get("nvml")
    if wanted is None:
        return
    nvml = Loaded(*wanted)
    values = nvml.values()
    if nvml.library is not None:
        code = nvml.function("nvmlInit_v2", ctypes.c_int)()
        values["init_code"] = code
        explain = nvml.function("nvmlErrorString", ctypes.c_char_p, ctypes.c_int)
        values["init_text"] = (explain(code) or b"").decode("utf-8", errors="replace")
        if code == 0:
            values["driver_version"] = _text(nvml, "nvmlSystemGetDriverVersion")
            values["nvml_version"] = _text(nvml, "nvmlSystemGetNVMLVersion")
            count = ctypes.c_uint(0)
            get = nvml.function(
                "nvmlDeviceGetCount_v2", ctypes.c_int, ctypes.POINTER(ctypes.c_uint)
            )
            values["count_code"] = get(ctypes.byref(count))
            values["gpu_count"] = count.value
            nvml.function("nvmlShutdown", ctypes.c_int)()
    emit("health.nvml", values, nvml.error)


def _text(nvml: Loaded, name: str) -> Any:  # noqa: ANN401
    buffer = ctypes.create_string_buffer(TEXT_BYTES)
    function = nvml.function(name, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    code = function(buffer, TEXT_BYTES)
    return buffer.value.decode("utf-8", errors="replace") if code == 0 else None
