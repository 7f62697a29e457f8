"""nvcc on a GPU: a program compiled for it, as machine code and as PTX, linked, and run.

Two programs: one of machine code, with cuBLAS and cuDNN where they are linked, and one that holds
the kernel's PTX only, so that the driver compiles it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from typing import Dict, List, Optional

from ...cuda.calls import CallFailed
from ...cuda.runtime_api import compute_capability
from ...loading import Loaded
from .. import Emit, Values, libraries
from ..nvcc import finished, mapped, unversioned
from .nvcc_source import SOURCE

CHECK = "nvcc.run"
NO_TRACES = {"CUDA_CACHE_DISABLE": "1"}


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
        emit(CHECK, values, _measured(request, nvcc, folder, values))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measured(request: Values, nvcc: str, folder: str, values: Values) -> Optional[str]:
    """Compile and run both programs; return what went wrong."""
    address, link = str(request["gpu"]["address"]), bool(values["linked"])
    for prefix, kind, linked in (("", "sm", link), ("ptx_", "compute", False)):
        program = os.path.join(folder, prefix + "check")
        begun = time.monotonic()
        number = str(values["architecture"]).partition("_")[2]
        codes = [kind + "_" + number] + (["compute_" + number] if kind == "sm" else [])
        built = finished(_command(request, nvcc, program, codes, linked))
        values.update(
            {
                prefix + "compiled": built.returncode == 0,
                prefix + "compile_s": time.monotonic() - begun,
            }
        )
        if built.returncode != 0:
            return (built.stderr or built.stdout).strip()[-600:] or "nvcc failed"
        ran = finished([program, address], dict(os.environ, **NO_TRACES))
        found = _told(ran.stdout)
        values.update({prefix + key: value for key, value in found.items()})
        values[prefix + "exit_status"] = ran.returncode
        values["mapped"] = sorted({*values.get("mapped", []), *mapped(ran.stdout)})
        if ran.returncode != 0 or "end" not in found:
            return ("from PTX: " if prefix else "") + _why(found, ran.returncode, ran.stderr)
    return None


def _command(request: Values, nvcc: str, program: str, codes: List[str], linked: bool) -> List[str]:
    source = program + ".cu"
    with open(source, "w", encoding="utf-8") as sink:
        sink.write(SOURCE)
    folders = [str(one) for one in request.get("folders", [])]
    links = unversioned(folders, program + "-links")
    command = [nvcc, "-O2", "--cudart", "shared", source, "-o", program]
    for code in codes:
        command += ["-gencode", "arch=compute_%s,code=%s" % (code.partition("_")[2], code)]
    command += ["-I" + str(one) for one in request.get("includes", [])]
    command += ["-L" + one for one in [links, *folders]]
    if linked:
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
