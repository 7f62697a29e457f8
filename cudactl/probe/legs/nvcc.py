"""nvcc: its release, and a program that it compiles and links against cuBLAS and cuDNN, run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from typing import Any, Dict, List, Optional

from ..loading import VENDOR
from . import Emit, Values

RELEASE = re.compile(r"release (\d+\.\d+), V(\d+\.\d+\.\d+)")
VERSIONED = re.compile(r"^(lib[A-Za-z0-9_]+\.so)\.\d+$")
SOURCE = r"""
#include <cstdio>
#include <cuda_runtime.h>
#include <cublas_v2.h>
#include <cudnn.h>
#ifdef __CUDACC__
__global__ void twice(float *x) { x[threadIdx.x] *= 2.0f; }
#endif
int main() {
  int count = -1, runtime = 0, driver = 0;
  cudaError_t counted = cudaGetDeviceCount(&count);
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  cublasHandle_t blas;
  cudnnHandle_t dnn;
  int created_blas = (int)cublasCreate(&blas);
  int created_dnn = (int)cudnnCreate(&dnn);
  std::printf("count_code=%d\ncount=%d\nruntime=%d\ndriver=%d\ncudnn=%zu\nblas_code=%d\n"
              "dnn_code=%d\n", (int)counted, counted == cudaSuccess ? count : 0, runtime, driver,
              cudnnGetVersion(), created_blas, created_dnn);
  std::FILE *maps = std::fopen("/proc/self/maps", "r");
  char line[4096];
  while (maps && std::fgets(line, sizeof line, maps)) std::printf("map=%s", line);
  return 0;
}
"""


def measure(request: Values, emit: Emit) -> None:
    """Measure nvcc.version and nvcc.link."""
    nvcc = str(request["nvcc"])
    if not os.path.exists(nvcc):
        emit("nvcc.version", {"path": None}, "%s is not there" % nvcc)
        return
    done = finished([nvcc, "--version"])
    match = RELEASE.search(done.stdout)
    emit(
        "nvcc.version",
        {
            "path": os.path.realpath(nvcc),
            "release": match.group(1) if match else None,
            "version": match.group(2) if match else None,
        },
        None if match else (done.stderr or done.stdout)[-400:],
    )
    if not request.get("link"):
        return
    folder = tempfile.mkdtemp(prefix="cudactl-nvcc-")
    try:
        link(nvcc, request, folder, emit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def link(nvcc: str, request: Values, folder: str, emit: Emit) -> None:
    """Compile, link and run the program in `folder`."""
    libraries = [str(f) for f in request.get("folders", [])]
    links = unversioned(libraries, os.path.join(folder, "links"))
    source, program = os.path.join(folder, "check.cu"), os.path.join(folder, "check")
    with open(source, "w", encoding="utf-8") as sink:
        sink.write(SOURCE)
    command = [nvcc, "-O1", "--cudart", "shared", source, "-o", program]
    for arch in request.get("architectures", []):
        command += ["-gencode", "arch=compute_%s,code=sm_%s" % (arch, arch)]
    command += ["-I" + str(f) for f in request.get("includes", [])]
    command += ["-L" + f for f in [links, *libraries]] + ["-lcublas", "-lcudnn", "-lcudart"]
    for path in libraries:
        command += ["-Xlinker", "-rpath," + path, "-Xlinker", "-rpath-link," + path]
    begun = time.monotonic()
    built = finished(command)
    values: Dict[str, Any] = {
        "compiled": built.returncode == 0,
        "compile_s": time.monotonic() - begun,
        "architectures": list(request.get("architectures", [])),
    }
    if built.returncode != 0:
        emit("nvcc.link", values, (built.stderr or built.stdout)[-800:])
        return
    ran = finished([program])
    values["exit_status"] = ran.returncode
    for line in ran.stdout.splitlines():
        key, _, value = line.partition("=")
        if value.lstrip("-").isdigit():
            values[key] = int(value)
    values["mapped"] = mapped(ran.stdout)
    emit("nvcc.link", values, None if ran.returncode == 0 else ran.stderr[-400:] or "it failed")


def mapped(out: str) -> List[str]:
    """Return the vendor libraries in the memory map that a program printed as "map=" lines."""
    found = set()
    for line in out.splitlines():
        parts = line.split(None, 5)
        if line.startswith("map=") and len(parts) == 6 and VENDOR.search(parts[5]):
            found.add(os.path.realpath(parts[5]))
    return sorted(found)


def unversioned(folders: List[str], into: str) -> str:
    """Link libX.so to libX.so.N where only the latter is there; wheels leave the former out."""
    os.makedirs(into)
    for folder in folders:
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for name in names:
            match = VERSIONED.match(name)
            if match and match.group(1) not in names:
                bare = os.path.join(into, match.group(1))
                if not os.path.lexists(bare):
                    os.symlink(os.path.join(folder, name), bare)
    return into


def finished(
    command: List[str], environment: Optional[Dict[str, str]] = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; one that cannot be started ends with 127."""
    # No deadline of its own: measure kills the leg with everything that it started.
    try:
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            env=environment,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
