"""NCCL by ctypes, one process over all GPUs; the prototypes are nccl.h's (2.18 and later)."""

from __future__ import annotations

import array
import ctypes
import struct
from typing import Any, Dict, List, Sequence

from ..loading import Loaded
from .calls import Calls

PROTOTYPES = """
ncclResult_t ncclGetVersion(int *);
ncclResult_t ncclCommInitAll(ncclComm_t *, int, const int *);
ncclResult_t ncclCommDestroy(ncclComm_t);
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);
ncclResult_t ncclAllReduce(const void *, void *, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t);
const char * ncclGetErrorString(ncclResult_t);
"""  # noqa: E501 - one prototype a line
ENUMS = {"ncclInt32": 2, "ncclFloat16": 6, "ncclFloat32": 7, "ncclBfloat16": 9, "ncclSum": 0}
TYPES = {
    "int32": ("ncclInt32", 4),
    "fp32": ("ncclFloat32", 4),
    "fp16": ("ncclFloat16", 2),
    "bf16": ("ncclBfloat16", 2),
}
PERIOD, HALF = 31, 15
MOST_GPUS = 17
"""Entries within ±15: the sum over 17 GPUs stays within ±255, which even BF16 holds exactly."""


class Nccl:
    """One communicator per GPU."""

    def __init__(self, library: Loaded) -> None:
        """Bind to libnccl.

        Raises:
            AttributeError: when it is not loaded.
        """
        self.call = Calls(library, PROTOTYPES, "ncclGetErrorString")
        self._communicators: List[int] = []

    def version(self) -> int:
        """Return the version, major × 10000 + minor × 100 + patch."""
        value = ctypes.c_int(-1)
        self.call("ncclGetVersion", ctypes.byref(value))
        return value.value

    def begin(self, devices: Sequence[int]) -> None:
        """Make the communicators.

        Raises:
            CallFailed: when the GPUs do not find together.
        """
        made = (ctypes.c_void_p * len(devices))()
        wanted = (ctypes.c_int * len(devices))(*devices)
        self.call("ncclCommInitAll", made, len(devices), wanted)
        self._communicators = [int(one or 0) for one in made]

    def all_reduce(
        self,
        kind: str,
        count: int,
        given: Sequence[int],
        taken: Sequence[int],
        streams: "Sequence[ctypes.c_void_p]",
    ) -> None:
        """Start the sum over all GPUs of `count` elements.

        Args:
            kind: Key of `TYPES`.
            count: Elements.
            given: Address on each GPU that is read.
            taken: Address on each GPU that is written.
            streams: Stream of each GPU.
        """
        self.call("ncclGroupStart")
        for at, communicator in enumerate(self._communicators):
            self.call(
                "ncclAllReduce",
                given[at],
                taken[at],
                count,
                ENUMS[TYPES[kind][0]],
                ENUMS["ncclSum"],
                communicator,
                streams[at],
            )
        self.call("ncclGroupEnd")

    def end(self) -> None:
        """Give the communicators back."""
        for communicator in self._communicators:
            self.call("ncclCommDestroy", communicator)
        self._communicators = []


def contribution(rank: int) -> List[int]:
    """Return what a GPU gives, again and again: whole numbers within ±15."""
    return [(7 * i + 13 * rank) % PERIOD - HALF for i in range(PERIOD)]


def total(gpus: int) -> List[int]:
    """Return the sum of all contributions, again and again."""
    return [sum(column) for column in zip(*(contribution(rank) for rank in range(gpus)))]


def encoded(kind: str, period: Sequence[int], count: int) -> bytes:
    """Return `count` numbers of a type, `period` again and again."""
    if kind == "int32":
        block = struct.pack("<%di" % len(period), *period)
    elif kind == "fp16":
        block = struct.pack("<%de" % len(period), *map(float, period))
    else:
        block = struct.pack("<%df" % len(period), *map(float, period))
        if kind == "bf16":  # the upper half of an FP32; whole numbers this small lose nothing
            block = b"".join(block[at + 2 : at + 4] for at in range(0, len(block), 4))
    size = count * TYPES[kind][1]
    return (block * (size // len(block) + 1))[:size]


def compared(kind: str, found: bytes, wanted: bytes) -> Dict[str, Any]:
    """Return how many elements differ, and how the first one does."""
    size = TYPES[kind][1]
    values: Dict[str, Any] = {"checked": len(wanted) // size, "wrong": 0, "first": None}
    if found == wanted:
        return values
    code = "I" if size == 4 else "H"
    left, right = array.array(code, found), array.array(code, wanted)
    different = [at for at, pair in enumerate(zip(left, right)) if pair[0] != pair[1]]
    first = different[0]
    values["wrong"] = len(different)
    values["untouched"] = sum(left[at] == (1 << 8 * size) - 1 for at in different)
    values["first"] = {
        "at": first,
        "found_hex": "%0*x" % (2 * size, left[first]),
        "expected_hex": "%0*x" % (2 * size, right[first]),
    }
    return values
