"""Starts the user's interpreter for the frameworks leg and passes on what it says, as it says it.

The interpreter belongs to the user's world: it, not the probe's own, finds the framework. In the
system world it is isolated, and sees only the site folder of the lock's stack.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import List, Optional

from ..child import archive
from ..legs import Emit, Values

CRASHED = 70  # sysexits.h EX_SOFTWARE
START = (
    "import sys;sys.path[:0]=[{package!r},*{sites!r}];"
    "from cudactl.probe.frameworks import known,tensorflow_work,torch_work,work;"
    "sys.path.remove({package!r});work.main()"
)


def measure(request: Values, emit: Emit) -> None:
    """Run the request's frameworks: {"frameworks", "interpreter", "sites", "on", "timed_s"}.

    Ends this process where the interpreter does not come to its end: the leg crashed.
    """
    names = [str(name) for name in request.get("frameworks") or []]
    wanted = str(request.get("interpreter") or "python3")
    interpreter = shutil.which(wanted)
    if interpreter is None:
        for name in names:
            emit("frameworks.%s.loaded" % name, {}, "there is no interpreter %s" % wanted)
        return
    sites = [str(site) for site in request.get("sites") or []]
    reader, writer = os.pipe()
    own = archive()
    inherited = [writer]
    if own is not None and own.startswith("/proc/self/fd/"):
        inherited.append(int(own.rsplit("/", 1)[1]))
    start = START.format(package=own or _checkout(), sites=sites)
    # Sums must not depend on which of cuBLAS's workspaces is free (cuBLAS, "Reproducibility").
    environment = dict(os.environ, CUBLAS_WORKSPACE_CONFIG=":4096:8", TF_CPP_MIN_LOG_LEVEL="2")
    flags = ["-I"] if sites else []
    child = subprocess.Popen(
        [interpreter, *flags, "-c", start, json.dumps(request), str(writer)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
        pass_fds=inherited,
    )
    os.close(writer)
    ended = False
    with os.fdopen(reader, "rb") as answers:
        for line in answers:
            ended = ended or _passed_on(line, emit)
    status = child.wait()
    if not ended or status != 0:
        sys.stderr.write("%s ended with status %d before all was said\n" % (interpreter, status))
        sys.stderr.flush()
        os._exit(CRASHED)


def _passed_on(line: bytes, emit: Emit) -> bool:
    """Emit one answer; return whether it was the last word."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    if entry == "end":
        return True
    if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[1], dict):
        error: Optional[str] = entry[2]
        emit(str(entry[0]), entry[1], error)
    return False


def _checkout() -> str:
    parts: List[str] = os.path.abspath(__file__).split(os.sep)
    return os.sep.join(parts[:-4])
