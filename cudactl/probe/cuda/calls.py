"""C functions of a loaded library, called by the prototypes that their header gives them.

A prototype is one line of C; the ctypes signature is made from it, and a test compiles the same
line against the real header. So there is one text to be wrong, and a compiler that says so.
"""

from __future__ import annotations

import ctypes
import re
from typing import Any, Dict, List, Optional

from ..loading import Loaded

LINE = re.compile(r"^(?P<result>.+?)\b(?P<name>\w+)\((?P<arguments>.*)\);$")
PLAIN = {
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "size_t": ctypes.c_size_t,
    "uint64_t": ctypes.c_uint64,
    "int64_t": ctypes.c_int64,
    "float": ctypes.c_float,
    # Pointers to what only the library knows.
    "cudaStream_t": ctypes.c_void_p,
    "cudaEvent_t": ctypes.c_void_p,
    "cublasHandle_t": ctypes.c_void_p,
    "cublasLtHandle_t": ctypes.c_void_p,
    "cublasLtMatmulDesc_t": ctypes.c_void_p,
    "cublasLtMatrixLayout_t": ctypes.c_void_p,
    "cublasLtMatmulPreference_t": ctypes.c_void_p,
    "cudnnHandle_t": ctypes.c_void_p,
    "cudnnTensorDescriptor_t": ctypes.c_void_p,
    "cudnnFilterDescriptor_t": ctypes.c_void_p,
    "cudnnConvolutionDescriptor_t": ctypes.c_void_p,
    "nvrtcProgram": ctypes.c_void_p,
    "ncclComm_t": ctypes.c_void_p,
    "CUmodule": ctypes.c_void_p,
    "CUfunction": ctypes.c_void_p,
    "CUstream": ctypes.c_void_p,
}
# Everything else that is passed by value is an enumeration, which C passes as an int.


class CallFailed(Exception):
    """A call that answered something other than success."""

    def __init__(self, name: str, code: int, text: str) -> None:
        super().__init__("%s answers %d (%s)" % (name, code, text))
        self.name = name
        self.code = code


def prototypes(text: str) -> Dict[str, List[str]]:
    """Return name → [result, arguments…] of the C lines in `text`, as they are written."""
    found = {}
    for line in filter(None, (one.strip() for one in text.splitlines())):
        match = LINE.match(line)
        if match is None:
            raise ValueError("this is no prototype: " + line)
        arguments = [one.strip() for one in match.group("arguments").split(",")]
        found[match.group("name")] = [match.group("result").strip(), *arguments]
    return found


def ctype(written: str) -> Any:  # noqa: ANN401 - ctypes' own classes
    """Return the ctypes type of a C type, as an argument."""
    if "*" in written:
        return ctypes.c_void_p
    return PLAIN.get(re.sub(r"\b(const|enum)\b", "", written).strip(), ctypes.c_int)


class Calls:
    """The functions of one library; a status other than 0 raises CallFailed."""

    def __init__(self, library: Loaded, text: str, says: Optional[str]) -> None:
        """Bind to a loaded library.

        Args:
            library: The library.
            text: Its prototypes, one a line.
            says: Function that turns a status into a text; None where there is none.

        Raises:
            AttributeError: when the library is not loaded.
        """
        if library.library is None:
            raise AttributeError(str(library.error))
        self._library = library
        self._known = prototypes(text)
        self._says = says
        self._bound: Dict[str, Any] = {}

    def raw(self, name: str, *arguments: object) -> Any:  # noqa: ANN401
        """Call and return what the function returns."""
        function = self._bound.get(name)
        if function is None:
            result, *types = self._known[name]
            returns = ctypes.c_char_p if result == "const char *" else ctype(result)
            wanted = [ctype(one) for one in types if one != "void"]
            function = self._bound[name] = self._library.function(name, returns, *wanted)
        return function(*arguments)

    def __call__(self, name: str, *arguments: object) -> None:
        """Call; raises CallFailed when the status is no success."""
        code = int(self.raw(name, *arguments))
        if code != 0:
            raise CallFailed(name, code, self.text(code))

    def text(self, code: int) -> str:
        """Return what a status means, in the library's words."""
        if self._says is None:
            return "no text"
        try:
            said = self.raw(self._says, code)
        except AttributeError:  # cuBLAS before 11.4.2 has no such function
            return "no text"
        return said.decode("utf-8", errors="replace") if said else "no text"

    def pointer(self, name: str, *arguments: object) -> int:
        """Call a function whose first argument is where it puts a pointer; return the pointer."""
        made = ctypes.c_void_p()
        self(name, ctypes.byref(made), *arguments)
        return int(made.value or 0)
