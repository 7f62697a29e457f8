"""libcuda by ctypes: the calls that the device parts make, and an error that names the call.

The prototypes are written in C and turned into ctypes from there, so that a test can compile the
very same text against NVIDIA's cuda.h. Names are the exported ones (cuda.h maps `cuMemAlloc` to
`cuMemAlloc_v2`); all of them are there from driver 450 on, but for those that say otherwise.
"""

from __future__ import annotations

import ctypes
from typing import Any, Dict, List, Optional, Tuple

# C type → ctypes. Handles and streams are opaque pointers, device pointers 64-bit numbers.
C_TYPES: Dict[str, Any] = {
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "unsigned char": ctypes.c_ubyte,
    "size_t": ctypes.c_size_t,
    "float *": ctypes.POINTER(ctypes.c_float),
    "int *": ctypes.POINTER(ctypes.c_int),
    "size_t *": ctypes.POINTER(ctypes.c_size_t),
    "char *": ctypes.c_char_p,
    "const char *": ctypes.c_char_p,
    "const char **": ctypes.POINTER(ctypes.c_char_p),
    "void *": ctypes.c_void_p,
    "const void *": ctypes.c_void_p,
    "void **": ctypes.POINTER(ctypes.c_void_p),
    "CUresult": ctypes.c_int,
    "CUdevice": ctypes.c_int,
    "CUdevice *": ctypes.POINTER(ctypes.c_int),
    "CUdevice_attribute": ctypes.c_int,
    "CUuuid *": ctypes.c_char_p,
    "CUcontext": ctypes.c_void_p,
    "CUcontext *": ctypes.POINTER(ctypes.c_void_p),
    "CUmodule": ctypes.c_void_p,
    "CUmodule *": ctypes.POINTER(ctypes.c_void_p),
    "CUfunction": ctypes.c_void_p,
    "CUfunction *": ctypes.POINTER(ctypes.c_void_p),
    "CUstream": ctypes.c_void_p,
    "CUstream *": ctypes.POINTER(ctypes.c_void_p),
    "CUevent": ctypes.c_void_p,
    "CUevent *": ctypes.POINTER(ctypes.c_void_p),
    "CUdeviceptr": ctypes.c_uint64,
    "CUdeviceptr *": ctypes.POINTER(ctypes.c_uint64),
    "CUjit_option *": ctypes.POINTER(ctypes.c_int),
}
PROTOTYPES: Dict[str, Tuple[str, ...]] = {
    "cuInit": ("unsigned int",),
    "cuDriverGetVersion": ("int *",),
    "cuGetErrorName": ("CUresult", "const char **"),
    "cuGetErrorString": ("CUresult", "const char **"),
    "cuDeviceGetCount": ("int *",),
    "cuDeviceGet": ("CUdevice *", "int"),
    "cuDeviceGetByPCIBusId": ("CUdevice *", "const char *"),
    "cuDeviceGetPCIBusId": ("char *", "int", "CUdevice"),
    "cuDeviceGetName": ("char *", "int", "CUdevice"),
    "cuDeviceGetUuid": ("CUuuid *", "CUdevice"),
    "cuDeviceGetAttribute": ("int *", "CUdevice_attribute", "CUdevice"),
    "cuDeviceTotalMem_v2": ("size_t *", "CUdevice"),
    "cuDevicePrimaryCtxRetain": ("CUcontext *", "CUdevice"),
    "cuDevicePrimaryCtxRelease_v2": ("CUdevice",),
    "cuCtxSetCurrent": ("CUcontext",),
    "cuCtxSynchronize": (),
    "cuMemGetInfo_v2": ("size_t *", "size_t *"),
    "cuMemAlloc_v2": ("CUdeviceptr *", "size_t"),
    "cuMemFree_v2": ("CUdeviceptr",),
    "cuMemHostAlloc": ("void **", "size_t", "unsigned int"),
    "cuMemFreeHost": ("void *",),
    "cuMemcpyHtoD_v2": ("CUdeviceptr", "const void *", "size_t"),
    "cuMemcpyDtoH_v2": ("void *", "CUdeviceptr", "size_t"),
    "cuMemcpyDtoD_v2": ("CUdeviceptr", "CUdeviceptr", "size_t"),
    "cuMemcpyHtoDAsync_v2": ("CUdeviceptr", "const void *", "size_t", "CUstream"),
    "cuMemcpyDtoHAsync_v2": ("void *", "CUdeviceptr", "size_t", "CUstream"),
    "cuMemcpyDtoDAsync_v2": ("CUdeviceptr", "CUdeviceptr", "size_t", "CUstream"),
    "cuMemsetD8_v2": ("CUdeviceptr", "unsigned char", "size_t"),
    "cuModuleLoadDataEx": (
        *("CUmodule *", "const void *", "unsigned int"),
        *("CUjit_option *", "void **"),
    ),
    "cuModuleUnload": ("CUmodule",),
    "cuModuleGetFunction": ("CUfunction *", "CUmodule", "const char *"),
    "cuLaunchKernel": (
        "CUfunction",
        *("unsigned int", "unsigned int", "unsigned int"),
        *("unsigned int", "unsigned int", "unsigned int"),
        *("unsigned int", "CUstream", "void **", "void **"),
    ),
    "cuStreamCreate": ("CUstream *", "unsigned int"),
    "cuStreamSynchronize": ("CUstream",),
    "cuStreamDestroy_v2": ("CUstream",),
    "cuDeviceCanAccessPeer": ("int *", "CUdevice", "CUdevice"),
    "cuCtxEnablePeerAccess": ("CUcontext", "unsigned int"),
    "cuMemcpyPeer": ("CUdeviceptr", "CUcontext", "CUdeviceptr", "CUcontext", "size_t"),
    "cuEventCreate": ("CUevent *", "unsigned int"),
    "cuEventRecord": ("CUevent", "CUstream"),
    "cuEventSynchronize": ("CUevent",),
    "cuEventElapsedTime": ("float *", "CUevent", "CUevent"),
    "cuEventDestroy_v2": ("CUevent",),
}
CONSTANTS = {
    "CU_DEVICE_ATTRIBUTE_CLOCK_RATE": 13,
    "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT": 16,
    "CU_DEVICE_ATTRIBUTE_INTEGRATED": 18,
    "CU_DEVICE_ATTRIBUTE_COMPUTE_MODE": 20,
    "CU_DEVICE_ATTRIBUTE_ECC_ENABLED": 32,
    "CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE": 36,
    "CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH": 37,
    "CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE": 38,
    "CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT": 40,
    "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
    "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
    "CU_JIT_INFO_LOG_BUFFER": 3,
    "CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES": 4,
    "CU_JIT_ERROR_LOG_BUFFER": 5,
    "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES": 6,
    "CUDA_ERROR_OUT_OF_MEMORY": 2,
}
LOG_BYTES = 8192


class CudaError(Exception):
    """A call of libcuda answered something else than success."""

    def __init__(self, call: str, code: int, name: str, text: str, more: str = "") -> None:
        detail = "%s answers %s (%d): %s" % (call, name or "an unknown code", code, text)
        super().__init__("; ".join(part for part in (detail, more.strip()) if part))
        self.call = call
        self.code = code
        self.name = name


class Driver:
    """The calls of one loaded libcuda; each raises CudaError unless it succeeds."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._functions: Dict[str, Any] = {}

    def _function(self, name: str) -> Any:  # noqa: ANN401 - ctypes makes its class on the fly
        if name not in self._functions:
            function = getattr(self._library, name)
            function.restype = ctypes.c_int
            function.argtypes = [C_TYPES[kind] for kind in PROTOTYPES[name]]
            self._functions[name] = function
        return self._functions[name]

    def call(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 - as the call wants
        """Call a function of `PROTOTYPES`.

        Raises:
            CudaError: with the call, the code and its name.
            AttributeError: when the library has no such function.
        """
        code = self._function(name)(*arguments)
        if code:
            raise self.error(name, code)

    def error(self, call: str, code: int, more: str = "") -> CudaError:
        """Return the error for a code."""
        return CudaError(
            call,
            code,
            self._text("cuGetErrorName", code),
            self._text("cuGetErrorString", code),
            more,
        )

    def _text(self, call: str, code: int) -> str:
        said = ctypes.c_char_p()
        if self._function(call)(code, ctypes.byref(said)) or not said.value:
            return ""
        return said.value.decode("utf-8", errors="replace")

    # --- devices --------------------------------------------------------------------------------

    def number(self, name: str, *arguments: Any) -> int:  # noqa: ANN401
        """Return what a call with an int as its first, outgoing argument answers."""
        value = ctypes.c_int(-1)
        self.call(name, ctypes.byref(value), *arguments)
        return value.value

    def attribute(self, device: int, name: str) -> int:
        """Return a device's attribute by its name without CU_DEVICE_ATTRIBUTE_."""
        return self.number("cuDeviceGetAttribute", CONSTANTS["CU_DEVICE_ATTRIBUTE_" + name], device)

    def text(self, name: str, device: int) -> str:
        """Return a device's name or PCI bus id."""
        room = ctypes.create_string_buffer(256)
        self.call(name, room, len(room), device)
        return room.value.decode("utf-8", errors="replace")

    def uuid(self, device: int) -> str:
        """Return a device's UUID as nvidia-smi writes it."""
        room = ctypes.create_string_buffer(16)
        self.call("cuDeviceGetUuid", room, device)
        digits = room.raw.hex()
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        return "GPU-" + "-".join(parts)

    def total_memory(self, device: int) -> int:
        """Return a device's memory, bytes."""
        total = ctypes.c_size_t()
        self.call("cuDeviceTotalMem_v2", ctypes.byref(total), device)
        return total.value

    def use(self, device: int) -> None:
        """Make a device's primary context the current one."""
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    # --- memory ---------------------------------------------------------------------------------

    def free_memory(self) -> int:
        """Return the current context's free memory, bytes."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate(self, size: int) -> int:
        """Return a device pointer to `size` bytes."""
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), size)
        return pointer.value

    def allocate_host(self, size: int) -> int:
        """Return the address of `size` bytes of pinned host memory."""
        pointer = ctypes.c_void_p()
        self.call("cuMemHostAlloc", ctypes.byref(pointer), size, 0)
        return int(pointer.value or 0)

    def upload(self, to: int, data: bytes) -> None:
        """Copy bytes to the device."""
        self.call("cuMemcpyHtoD_v2", to, data, len(data))

    def download(self, at: int, size: int) -> bytes:
        """Return `size` bytes from the device."""
        room = ctypes.create_string_buffer(size)
        self.call("cuMemcpyDtoH_v2", room, at, size)
        return room.raw

    # --- kernels --------------------------------------------------------------------------------

    def load(self, code: bytes) -> "Module":
        """Compile PTX (or take a cubin) for the current context's device."""
        log, errors = ctypes.create_string_buffer(LOG_BYTES), ctypes.create_string_buffer(LOG_BYTES)
        options = {
            "CU_JIT_INFO_LOG_BUFFER": ctypes.addressof(log),
            "CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES": LOG_BYTES,
            "CU_JIT_ERROR_LOG_BUFFER": ctypes.addressof(errors),
            "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES": LOG_BYTES,
        }
        names = (ctypes.c_int * len(options))(*(CONSTANTS[name] for name in options))
        values = (ctypes.c_void_p * len(options))(*options.values())
        module = ctypes.c_void_p()
        result = self._function("cuModuleLoadDataEx")(
            ctypes.byref(module), code, len(options), names, values
        )
        if result:
            said = errors.value.decode("utf-8", errors="replace")
            raise self.error("cuModuleLoadDataEx", result, said[:600])
        return Module(self, module)


class Module:
    """A loaded module: its kernels by name."""

    def __init__(self, driver: Driver, handle: ctypes.c_void_p) -> None:
        self.driver = driver
        self.handle = handle
        self._kernels: Dict[str, ctypes.c_void_p] = {}

    def kernel(self, name: str) -> ctypes.c_void_p:
        """Return a kernel's handle."""
        if name not in self._kernels:
            kernel = ctypes.c_void_p()
            self.driver.call(
                "cuModuleGetFunction", ctypes.byref(kernel), self.handle, name.encode()
            )
            self._kernels[name] = kernel
        return self._kernels[name]

    def launch(self, name: str, blocks: int, threads: int, *arguments: Any) -> None:  # noqa: ANN401
        """Start a kernel on the default stream.

        Args:
            name: The kernel.
            blocks: Blocks, in one dimension.
            threads: Threads per block.
            arguments: ctypes values of the kernel's own parameter types.
        """
        pointers: List[Optional[int]] = [ctypes.addressof(one) for one in arguments]
        parameters = (ctypes.c_void_p * len(pointers))(*pointers)
        kernel = self.kernel(name)
        self.driver.call(
            "cuLaunchKernel", kernel, blocks, 1, 1, threads, 1, 1, 0, None, parameters, None
        )
