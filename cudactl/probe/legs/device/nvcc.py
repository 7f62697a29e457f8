"""nvcc on a GPU: a program compiled for it, as machine code and as PTX, linked, and run.

It runs twice: as compiled, with cuBLAS and cuDNN where they are linked, and once more with the
kernel's machine code ignored, so that the driver compiles the PTX.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from typing import Dict, List

from ...cuda.calls import CallFailed
from ...cuda.runtime_api import compute_capability
from ...loading import Loaded
from .. import Emit, Values, libraries
from ..nvcc import finished, mapped, unversioned
from .nvcc_source import SOURCE

CHECK = "nvcc.run"
NO_TRACES = {"CUDA_CACHE_DISABLE": "1"}
FROM_PTX = {"CUDA_FORCE_PTX_JIT": "1"}


def measure(request: Values, emit: Emit) -> None:
    """Measure nvcc.run."""
    address = str(request["gpu"]["address"])
    nvcc = str(request["nvcc"])
    try:
        cc = compute_capability(Loaded(*libraries(request)["cudart"]), address)
    except (CallFailed, AttributeError, KeyError) as error:
        emit(CHECK, {}, "%s: %s" % (type(error).__name__, error))
        return
    if not os.path.exists(nvcc):
        emit(CHECK, {}, "%s is not there" % nvcc)
        return
    values: Values = {
        "architecture": "sm_%d%d" % cc,
        "cc": "%d.%d" % cc,
        "linked": bool(request.get("link")),
    }
    folder = tempfile.mkdtemp(prefix="cudactl-nvcc-")
    try:
        program = os.path.join(folder, "check")
        begun = time.monotonic()
        built = finished(_command(request, nvcc, folder, program, "%d%d" % cc))
        values.update(compiled=built.returncode == 0, compile_s=time.monotonic() - begun)
        if built.returncode != 0:
            emit(CHECK, values, (built.stderr or built.stdout).strip()[-600:] or "nvcc failed")
            return
        ran = finished([program, address], dict(os.environ, **NO_TRACES))
        values.update(_told(ran.stdout), exit_status=ran.returncode, mapped=mapped(ran.stdout))
        if ran.returncode < 0 or "end" not in values:
            emit(CHECK, values, _why(values, ran.returncode, ran.stderr))
            return
        environment = dict(os.environ, **NO_TRACES, **FROM_PTX)
        again = finished([program, address, "kernel"], environment)
        found = _told(again.stdout)
        values.update({"ptx_" + key: value for key, value in found.items()})
        values["ptx_exit_status"] = again.returncode
        why = None if "end" in found else "from PTX: " + _why(found, again.returncode, again.stderr)
        emit(CHECK, values, why)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(request: Values, nvcc: str, folder: str, program: str, number: str) -> List[str]:
    source = os.path.join(folder, "check.cu")
    with open(source, "w", encoding="utf-8") as sink:
        sink.write(SOURCE)
    folders = [str(one) for one in request.get("folders", [])]
    links = unversioned(folders, os.path.join(folder, "links"))
    command = [nvcc, "-O2", "--cudart", "shared", source, "-o", program]
    for code in ("sm_" + number, "compute_" + number):
        command += ["-gencode", "arch=compute_%s,code=%s" % (number, code)]
    command += ["-I" + str(one) for one in request.get("includes", [])]
    command += ["-L" + one for one in [links, *folders]]
    if request.get("link"):
        command += ["-DCUDACTL_LINK", "-lcublas", "-lcudnn"]
    command += ["-lcudart"]
    for path in folders:
        command += ["-Xlinker", "-rpath," + path, "-Xlinker", "-rpath-link," + path]
    return command


def _told(out: str) -> Dict[str, object]:
    """Return what the program says: numbers as numbers."""
    found: Dict[str, object] = {}
    for line in out.splitlines():
        key, mark, value = line.partition("=")
        if mark and key != "map":
            found[key] = int(value) if value.lstrip("-").isdigit() else value
    return found


def _why(found: Values, status: int, err: str) -> str:
    if "failed" in found:
        return "%s answers %s in the compiled program" % (found["failed"], found.get("code"))
    return "the compiled program ended with %d: %s" % (status, err.strip()[-300:])
