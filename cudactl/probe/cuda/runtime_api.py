"""cudart: memory, copies, events, and which device this is."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Iterator, List, Tuple

from ..loading import Loaded
from .calls import Calls

PROTOTYPES = """
cudaError_t cudaSetDevice(int);
cudaError_t cudaDeviceGetByPCIBusId(int *, const char *);
cudaError_t cudaDeviceGetPCIBusId(char *, int, int);
cudaError_t cudaDeviceGetAttribute(int *, enum cudaDeviceAttr, int);
cudaError_t cudaMemGetInfo(size_t *, size_t *);
cudaError_t cudaMalloc(void **, size_t);
cudaError_t cudaFree(void *);
cudaError_t cudaMemcpy(void *, const void *, size_t, enum cudaMemcpyKind);
cudaError_t cudaMemset(void *, int, size_t);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaEventCreate(cudaEvent_t *);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t cudaEventSynchronize(cudaEvent_t);
cudaError_t cudaEventElapsedTime(float *, cudaEvent_t, cudaEvent_t);
cudaError_t cudaEventDestroy(cudaEvent_t);
const char * cudaGetErrorString(cudaError_t);
"""
# driver_types.h
ENUMS = {
    "cudaMemcpyHostToDevice": 1,
    "cudaMemcpyDeviceToHost": 2,
    "cudaMemcpyDeviceToDevice": 3,
    "cudaDevAttrMultiProcessorCount": 16,
    "cudaDevAttrComputeCapabilityMajor": 75,
    "cudaDevAttrComputeCapabilityMinor": 76,
}


def compute_capability(library: Loaded, address: str) -> Tuple[int, int]:
    """Return the compute capability of the GPU at a PCI address, and make no context on it.

    Raises:
        CallFailed: when cudart does not see it.
    """
    call, number, found = Calls(library, PROTOTYPES, "cudaGetErrorString"), ctypes.c_int(-1), []
    call("cudaDeviceGetByPCIBusId", ctypes.byref(number), address.encode())
    for which in ("Major", "Minor"):
        value = ctypes.c_int(-1)
        name = "cudaDevAttrComputeCapability" + which
        call("cudaDeviceGetAttribute", ctypes.byref(value), ENUMS[name], number)
        found.append(value.value)
    return found[0], found[1]


class Runtime:
    """cudart on one GPU."""

    def __init__(self, library: Loaded, address: str) -> None:
        """Take hold of the GPU at a PCI address.

        Raises:
            CallFailed: when cudart does not see it.
        """
        self.call = Calls(library, PROTOTYPES, "cudaGetErrorString")
        number = ctypes.c_int(-1)
        self.call("cudaDeviceGetByPCIBusId", ctypes.byref(number), address.encode())
        self.call("cudaSetDevice", number)
        self.call("cudaFree", None)  # makes the context, so that its cost is nobody else's
        self.device = number.value
        said = ctypes.create_string_buffer(64)
        self.call("cudaDeviceGetPCIBusId", said, 64, number)
        self.address = said.value.decode("ascii", errors="replace").lower()
        major = self._attribute("cudaDevAttrComputeCapabilityMajor")
        minor = self._attribute("cudaDevAttrComputeCapabilityMinor")
        self.cc: Tuple[int, int] = (major, minor)
        self.sm_count = self._attribute("cudaDevAttrMultiProcessorCount")
        self._held: List[int] = []

    def _attribute(self, name: str) -> int:
        value = ctypes.c_int(-1)
        self.call("cudaDeviceGetAttribute", ctypes.byref(value), ENUMS[name], self.device)
        return value.value

    def free_bytes(self) -> int:
        """Return how much memory is free, bytes."""
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate(self, size: int) -> int:
        """Return the address of new memory on the GPU, `size` bytes."""
        memory = self.call.pointer("cudaMalloc", size)
        self._held.append(memory)
        return memory

    def put(self, data: bytes) -> int:
        """Return the address of a copy of `data` on the GPU."""
        memory = self.allocate(len(data))
        self.call("cudaMemcpy", memory, data, len(data), ENUMS["cudaMemcpyHostToDevice"])
        return memory

    def get(self, memory: int, size: int) -> bytes:
        """Return `size` bytes from the GPU."""
        data = ctypes.create_string_buffer(size)
        self.call("cudaMemcpy", data, memory, size, ENUMS["cudaMemcpyDeviceToHost"])
        return data.raw

    def fill(self, memory: int, byte: int, size: int) -> None:
        """Set every byte."""
        self.call("cudaMemset", memory, byte, size)

    def repeated(self, block: bytes, size: int) -> int:
        """Return the address of `size` bytes on the GPU that hold `block` again and again."""
        memory = self.allocate(size)
        done = min(len(block), size)
        self.call("cudaMemcpy", memory, block, done, ENUMS["cudaMemcpyHostToDevice"])
        while done < size:  # what is there is copied behind itself; it stays whole blocks
            more = min(done, size - done)
            kind = ENUMS["cudaMemcpyDeviceToDevice"]
            self.call("cudaMemcpy", memory + done, memory, more, kind)
            done += more
        return memory

    @contextlib.contextmanager
    def scratch(self) -> Iterator[None]:
        """Give back at the end what is allocated inside; after an error nobody asks how."""
        before = len(self._held)
        try:
            yield
        finally:
            while len(self._held) > before:
                self.call.raw("cudaFree", self._held.pop())

    def synchronize(self) -> None:
        """Wait for the GPU; an error of anything before shows here."""
        self.call("cudaDeviceSynchronize")


class Stopwatch:
    """Two events: the GPU's own time between them."""

    def __init__(self, runtime: Runtime) -> None:
        self.call = runtime.call
        self.start = self.call.pointer("cudaEventCreate")
        self.stop = self.call.pointer("cudaEventCreate")

    def begin(self) -> None:
        """Mark the beginning in the default stream."""
        self.call("cudaEventRecord", self.start, None)

    def end(self) -> float:
        """Mark the end, wait for it, and return the seconds between."""
        self.call("cudaEventRecord", self.stop, None)
        self.call("cudaEventSynchronize", self.stop)
        passed = ctypes.c_float(-1.0)
        self.call("cudaEventElapsedTime", ctypes.byref(passed), self.start, self.stop)
        return passed.value / 1000.0
