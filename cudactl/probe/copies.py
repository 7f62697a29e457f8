"""A load on one GPU: copies over PCIe, there and back.

With it the link trains up and clocks rise, so that what NVML then says of them means something. It
needs libcuda only. Prototypes: NVIDIA's cuda.h.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_int, c_size_t, c_ubyte, c_uint, c_ulonglong, c_void_p
from typing import Any, Dict, List, Optional

from .loading import Loaded

BYTES = 32 * 1024 * 1024


class Copies:
    """The load; `error` says why there is none."""

    def __init__(self, soname: str, folders: List[str]) -> None:
        self._cuda = Loaded(soname, folders)
        self._device = c_int(0)
        self._memory = c_ulonglong(0)
        self._host = (c_ubyte * BYTES)()
        self.rounds = 0
        self.error: Optional[str] = self._cuda.error

    def _call(self, name: str, *typed: Any) -> bool:  # noqa: ANN401
        """Call a function with arguments given as (type, value); keep the first error."""
        if self.error is not None:
            return False
        try:
            function = self._cuda.function(name, c_int, *(kind for kind, _ in typed))
        except AttributeError:
            self.error = "%s has no %s" % (self._cuda.soname, name)
            return False
        code = function(*(value for _, value in typed))
        if code:
            self.error = "%s answers %d" % (name, code)
        return not code

    def start(self, gpu: Dict[str, Any]) -> None:
        """Take hold of the GPU: device 0 where only it is seen, otherwise by its address."""
        context = c_void_p()
        self._call("cuInit", (c_uint, 0))
        where = (POINTER(c_int), ctypes.byref(self._device))
        if str(gpu["id"]).startswith("GPU-"):
            self._call("cuDeviceGet", where, (c_int, 0))
        else:
            address = str(gpu["address"]).encode()
            self._call("cuDeviceGetByPCIBusId", where, (ctypes.c_char_p, address))
        self._call(
            "cuDevicePrimaryCtxRetain",
            (POINTER(c_void_p), ctypes.byref(context)),
            (c_int, self._device),
        )
        self._call("cuCtxSetCurrent", (c_void_p, context))
        memory = (POINTER(c_ulonglong), ctypes.byref(self._memory))
        self._call("cuMemAlloc_v2", memory, (c_size_t, BYTES))

    def once(self) -> bool:
        """Copy there and back; return whether it went well."""
        host = ctypes.cast(self._host, c_void_p)
        self._call(
            "cuMemcpyHtoD_v2", (c_ulonglong, self._memory), (c_void_p, host), (c_size_t, BYTES)
        )
        self._call(
            "cuMemcpyDtoH_v2", (c_void_p, host), (c_ulonglong, self._memory), (c_size_t, BYTES)
        )
        self.rounds += self.error is None
        return self.error is None

    def stop(self) -> None:
        """Let go of the GPU."""
        if self._memory.value:
            self._call("cuMemFree_v2", (c_ulonglong, self._memory))
            self._call("cuDevicePrimaryCtxRelease_v2", (c_int, self._device))
