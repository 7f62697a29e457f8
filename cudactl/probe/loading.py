"""Find a vendor library, load it by absolute path, and read back what was really mapped.

Runs inside a leg. It knows no versions: which sonames, and in which folders, comes in the request.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct

from . import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

VENDOR = re.compile(
    r"/lib(cuda|cudart|cublas|cublasLt|nvrtc|nvrtc-builtins|cudnn\w*|nvinfer\w*|nvonnxparser"
    r"|nvJitLink|nccl|nvidia-ml|nvidia-ptxjitcompiler|tensorrt\w*)(-[0-9.]+)?\.so"
)
LOADER = "loader"
CACHE = "/etc/ld.so.cache"
NEW_FORMAT = b"glibc-ld.so.cache1.1"
# ldconfig.h: FLAG_X8664_LIB64 and FLAG_AARCH64_LIB64; 32-bit libraries have others.
WORD_64 = (0x0300, 0x0A00)


def _tell_nobody(path: str) -> None:
    """Stand in for `announce` where nobody listens."""


# Called with each path before it is loaded, so that a crash can be laid at the right door.
announce: Callable[[str], object] = _tell_nobody


def find(soname: str, folders: List[str]) -> Optional[str]:
    """Return the real path of `soname`: in the folders in their order, or as the loader would.

    Args:
        soname: E.g. "libcudart.so.13".
        folders: Absolute folders; the word "loader" stands for the loader's own search.
    """
    for folder in folders:
        path = by_loader(soname) if folder == LOADER else os.path.join(folder, soname)
        if path and os.path.exists(path):
            return os.path.realpath(path)
    return None


def by_loader(soname: str) -> Optional[str]:
    """Return the path that ld.so's cache gives for `soname`, for this machine's word size.

    Source of the format: glibc's sysdeps/generic/dl-cache.h (struct cache_file_new, 48 bytes,
    entries of 24 bytes with the offsets of key and value counted from the header's start).
    """
    try:
        with open(CACHE, "rb") as stream:
            data = stream.read()
    except OSError:
        return None
    start = data.find(NEW_FORMAT)
    if start < 0:
        return None
    try:
        (count,) = struct.unpack_from("<I", data, start + 20)
        for number in range(count):
            flags, key, value = struct.unpack_from("<iII", data, start + 48 + 24 * number)
            if flags & 0xFF00 in WORD_64 and _string(data, start + key) == soname:
                return _string(data, start + value)
    except (struct.error, ValueError):
        pass  # cut short; ld.so does not read on either
    return None


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("utf-8", errors="replace")


class _Origin(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


class Loaded:
    """A library that a leg loaded, or the reason why not."""

    def __init__(self, soname: str, folders: List[str]) -> None:
        self.soname = soname
        self.path = find(soname, folders)
        self.library: Optional[ctypes.CDLL] = None
        self.error: Optional[str] = None
        if self.path is None:
            self.error = "%s was not found in %s" % (soname, ", ".join(folders))
            return
        announce(self.path)
        try:
            self.library = ctypes.CDLL(self.path, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            self.error = str(error)

    def function(self, name: str, restype: Any, *argtypes: Any) -> Any:  # noqa: ANN401
        """Return a function with its prototype; raises AttributeError when it is not there."""
        if self.library is None:
            raise AttributeError("%s is not loaded: %s" % (self.soname, self.error))
        function = getattr(self.library, name)
        function.restype = restype
        function.argtypes = list(argtypes)
        return function

    def owns(self, name: str) -> bool:
        """Return whether the library itself defines a function; one it depends on does not count.

        dlsym also finds what a dependency defines, which would answer for the wrong file.
        """
        if self.library is None or not hasattr(self.library, name):
            return False
        info = _Origin()
        find_origin = ctypes.CDLL(None).dladdr
        find_origin.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Origin)]
        address = ctypes.cast(getattr(self.library, name), ctypes.c_void_p)
        if not find_origin(address, ctypes.byref(info)) or not info.file:
            return False
        return os.path.realpath(os.fsdecode(info.file)) == self.path

    def values(self) -> Dict[str, Any]:
        """Return what every measurement says about the library."""
        return {"soname": self.soname, "path": self.path, "loaded": self.library is not None}


def mapped() -> List[str]:
    """Return the real paths of the vendor libraries in this process's memory map, sorted."""
    found = set()
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                parts = line.split(None, 5)
                if len(parts) == 6 and VENDOR.search(parts[5]):
                    found.add(os.path.realpath(parts[5].rstrip("\n")))
    except OSError:
        return []
    return sorted(found)
