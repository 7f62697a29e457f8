"""The child's side of a leg: measure, and write one JSON line per result to the pipe.

A module of its own, so that a leg's process imports nothing that only its parent needs.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time

from . import TYPE_CHECKING, loading
from .legs import measure as measure_leg

if TYPE_CHECKING:
    from typing import Any, Dict, Optional

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def leg_main(name: str, descriptor: int) -> None:
    """Run one leg; its request comes on standard input."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        # Nobody keeps the deadline of a leg whose parent is gone: it goes too.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sink = os.fdopen(descriptor, "wb", 0)
    started = [time.monotonic()]

    def emit(check: str, values: Dict[str, Any], error: Optional[str]) -> None:
        now = time.monotonic()
        line = {
            "check": check,
            "values": values,
            "error": error,
            "duration_s": now - started[0],
        }
        started[0] = now
        sink.write(json.dumps(line).encode() + b"\n")
        # Said after every check, so that a later crash still tells what was mapped.
        sink.write(json.dumps({"libraries": loading.mapped()}).encode() + b"\n")

    loading.announce = lambda path: sink.write(json.dumps({"loading": path}).encode() + b"\n")
    request = json.loads(sys.stdin.read() or "{}")
    gc.enable()  # it was off while this process started; a leg may run for hours
    measure_leg(name.partition("@")[0], request, emit)
    sink.write(b'{"end":true}\n')
    sink.close()
    # Vendor libraries may crash in their destructors; everything is said, so none are run.
    os._exit(0)
