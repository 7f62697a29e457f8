"""What we know of cudart, cuBLAS, cuBLASLt, NVRTC and cuDNN is what NVIDIA's headers say.

Each line of C that the probe makes its ctypes from is compiled against the header, for CUDA 12 with
cuDNN 8 and for CUDA 13 with cuDNN 9. Only the headers are fetched, out of the wheels.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from cudactl.probe.cuda import blas, blas_lt, dnn, nvrtc_api, runtime_api
from cudactl.probe.cuda.calls import PLAIN, ctype, prototypes

BLAS = (runtime_api.PROTOTYPES, blas_lt.PROTOTYPES, blas.PROTOTYPES)
COMPILER = (nvrtc_api.PROTOTYPES, nvrtc_api.LAUNCHING)
INCLUDES = ("cuda.h", "cuda_runtime_api.h", "cublas_v2.h", "cublasLt.h", "nvrtc.h", "cudnn.h")
WHEELS = {
    "CUDA 12, cuDNN 8": {
        "nvidia-cuda-runtime-cu12": "12.4",
        "nvidia-cuda-nvcc-cu12": "12.4",
        "nvidia-cublas-cu12": "12.4",
        "nvidia-cuda-nvrtc-cu12": "12.4",
        "nvidia-cudnn-cu12": "8.9",
    },
    "CUDA 13, cuDNN 9": {
        "nvidia-cuda-runtime": "13.0",
        "nvidia-cuda-crt": "13.0",
        "nvidia-cublas": "13.0",
        "nvidia-cuda-nvrtc": "13.0",
        "nvidia-cudnn-cu13": "9.13",
    },
}
# cuda_fp16.h, which cuBLAS includes, asks for libcu++ where it is compiled for a device only.
TARGET = "#define NV_IF_TARGET(a, b)\n#define NV_IF_ELSE_TARGET(a, b, c)\n"


@pytest.fixture(scope="module", params=sorted(WHEELS))
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The include folders of a set of wheels."""
    from pypi_simple import PyPISimple
    from remotezip import RemoteZip

    from cudactl.stack.index.wheel_source import configured_index

    root = tmp_path_factory.mktemp("headers")
    with PyPISimple(configured_index()) as index:
        for project, prefix in WHEELS[request.param].items():
            found = [
                package
                for package in index.get_project_page(project).packages
                if f"-{prefix}." in package.filename and "x86_64" in package.filename
            ]
            with RemoteZip(found[-1].url) as archive:
                names = [name for name in archive.namelist() if "/include/" in name]
                archive.extractall(root, names)
    (root / "nv").mkdir()
    (root / "nv" / "target").write_text(TARGET)
    return [
        root,
        *sorted({path.parent for name in (*INCLUDES, "crt") for path in root.rglob(name)}),
    ]


def complaints(folders: list[Path], *lines: str) -> str:
    """Compile C against the headers and return what the compiler says against it."""
    text = "".join(f"#include <{name}>\n" for name in INCLUDES) + "\n".join(lines) + "\n"
    command = ["gcc", "-std=c11", "-Werror", "-Wno-deprecated-declarations", "-fsyntax-only"]
    command += [f"-I{folder}" for folder in folders] + ["-x", "c", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def pointer(name: str, result: str, arguments: list[str]) -> str:
    """A pointer of our prototype, set to the header's function."""
    return f"{result} (*our_{name})({', '.join(arguments)}) = {name};"


@pytest.mark.wheels
def test_every_prototype_is_the_headers(folders: list[Path]) -> None:
    lines = [
        pointer(name, result, arguments)
        for text in (*BLAS, *COMPILER, dnn.PROTOTYPES)
        for name, (result, *arguments) in prototypes(text).items()
    ]
    assert len(lines) > 50
    assert complaints(folders, *lines) == ""


@pytest.mark.wheels
def test_every_number_is_the_headers(folders: list[Path]) -> None:
    numbers = {**runtime_api.ENUMS, **blas_lt.ENUMS, **blas.ENUMS, **dnn.ENUMS}
    sizes = {
        "cublasLtMatmulAlgo_t": ctypes.sizeof(blas_lt.Algorithm),
        "cublasLtMatmulHeuristicResult_t": ctypes.sizeof(blas_lt.Heuristic),
    }
    lines = [f'_Static_assert({name} == {number}, "");' for name, number in numbers.items()]
    lines += [f'_Static_assert(sizeof({name}) == {size}, "");' for name, size in sizes.items()]
    assert complaints(folders, *lines) == ""


@pytest.mark.wheels
def test_what_is_passed_by_value_is_as_large_as_in_the_headers(folders: list[Path]) -> None:
    written = {
        one.replace("const ", "")
        for text in (*BLAS, *COMPILER, dnn.PROTOTYPES)
        for parts in prototypes(text).values()
        for one in parts
        if "*" not in one and one != "void"
    }
    lines = [
        f'_Static_assert(sizeof({one}) == {ctypes.sizeof(ctype(one))}, "{one}");'
        for one in sorted(written)
    ]
    assert complaints(folders, *lines) == ""
    assert {"cublasComputeType_t", "cudnnDataType_t", "size_t"} <= written


@pytest.mark.wheels
def test_a_wrong_prototype_or_number_would_be_noticed(folders: list[Path]) -> None:
    wrong = pointer("cudaMalloc", "cudaError_t", ["void **", "int"])
    assert "incompatible" in complaints(folders, wrong)
    assert complaints(folders, '_Static_assert(CUBLAS_COMPUTE_32F == 69, "");')


def test_prototypes_become_ctypes() -> None:
    found = prototypes("int f(const char *, size_t, enum kind, void **);\nconst char * g(int);")
    assert found == {
        "f": ["int", "const char *", "size_t", "enum kind", "void **"],
        "g": ["const char *", "int"],
    }
    assert [ctype(one) for one in found["f"]] == [
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)
    ]
    assert PLAIN["cudaStream_t"] is ctypes.c_void_p
    with pytest.raises(ValueError, match="no prototype"):
        prototypes("int f(int)")
