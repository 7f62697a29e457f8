"""NVRTC: C++ to machine code for one architecture; and libcuda, which launches it."""

from __future__ import annotations

import ctypes
import os
from typing import Tuple

from ..loading import Loaded
from .calls import CallFailed, Calls

PROTOTYPES = """
nvrtcResult nvrtcCreateProgram(nvrtcProgram *, const char *, const char *, int, const char * const *, const char * const *);
nvrtcResult nvrtcDestroyProgram(nvrtcProgram *);
nvrtcResult nvrtcCompileProgram(nvrtcProgram, int, const char * const *);
nvrtcResult nvrtcGetCUBINSize(nvrtcProgram, size_t *);
nvrtcResult nvrtcGetCUBIN(nvrtcProgram, char *);
nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram, size_t *);
nvrtcResult nvrtcGetProgramLog(nvrtcProgram, char *);
const char * nvrtcGetErrorString(nvrtcResult);
"""  # noqa: E501 - a line is a prototype
LAUNCHING = """
CUresult cuModuleLoadData(CUmodule *, const void *);
CUresult cuModuleGetFunction(CUfunction *, CUmodule, const char *);
CUresult cuLaunchKernel(CUfunction, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, CUstream, void **, void **);
CUresult cuCtxSynchronize(void);
"""  # noqa: E501


def load_builtins(library: Loaded) -> None:
    """Load what NVRTC looks for by name when it compiles, from the folder that it lies in itself.

    Where that folder is not the loader's (wheels), NVRTC 13.0 would not find it, or find another.
    """
    folder = os.path.dirname(library.path or "")
    for name in sorted(os.listdir(folder)) if folder else []:
        # E.g. libnvrtc-builtins.so.13.0, its soname; longer names are the file behind it.
        if name.startswith("libnvrtc-builtins.so.") and name.count(".") == 3:
            Loaded(name, [folder])


def compiled(library: Loaded, source: str, cc: Tuple[int, int]) -> bytes:
    """Return the machine code of `source` for a compute capability.

    Raises:
        CallFailed: with the compiler's log.
    """
    call = Calls(library, PROTOTYPES, "nvrtcGetErrorString")
    load_builtins(library)
    program = call.pointer("nvrtcCreateProgram", source.encode(), b"check.cu", 0, None, None)
    options = [b"--gpu-architecture=sm_%d%d" % cc, b"--std=c++14"]
    try:
        call("nvrtcCompileProgram", program, len(options), (ctypes.c_char_p * 2)(*options))
    except CallFailed as error:
        log = _text(call, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog", program)
        said = log.rstrip(b"\0").decode("utf-8", errors="replace").strip()[-400:]
        raise CallFailed(error.name, error.code, call.text(error.code) + ": " + said) from error
    code = _text(call, "nvrtcGetCUBINSize", "nvrtcGetCUBIN", program)
    call("nvrtcDestroyProgram", ctypes.byref(ctypes.c_void_p(program)))
    return code


def _text(call: Calls, size_of: str, get: str, program: int) -> bytes:
    size = ctypes.c_size_t(0)
    call(size_of, program, ctypes.byref(size))
    data = ctypes.create_string_buffer(max(1, size.value))
    call(get, program, data)
    return data.raw[: size.value]


def launch(
    library: Loaded, code: bytes, name: str, blocks: int, threads: int, arguments: Tuple[int, ...]
) -> None:
    """Load machine code, run one of its kernels, and wait for it.

    Args:
        library: libcuda, whose current context is cudart's.
        code: The machine code.
        name: The kernel.
        blocks: How many blocks.
        threads: Threads in each.
        arguments: Addresses, and last of all one unsigned int.
    """
    call = Calls(library, LAUNCHING, None)
    module = call.pointer("cuModuleLoadData", code)
    kernel = call.pointer("cuModuleGetFunction", module, name.encode())
    held = [ctypes.c_void_p(one) for one in arguments[:-1]]
    last = ctypes.c_uint(arguments[-1])
    pointers = [ctypes.cast(ctypes.byref(one), ctypes.c_void_p) for one in [*held, last]]
    passed = (ctypes.c_void_p * len(pointers))(*pointers)
    call("cuLaunchKernel", kernel, blocks, 1, 1, threads, 1, 1, 0, None, passed, None)
    call("cuCtxSynchronize")
