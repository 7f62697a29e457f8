"""Simulated libraries answer like a machine without GPU, and nvcc compiles and links for real."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cudactl.lab.simulated.build import MARKER

Unpack = Callable[..., Path]


@pytest.mark.parametrize(
    ("package", "library", "symbol", "answer"),
    [
        ("libcudnn9-cuda-13_9.13.1.26-1", "libcudnn.so.9", "cudnnGetVersion", 91301),
        ("libnvinfer10_10.13.3.9-1+cuda13.0", "libnvinfer.so.10", "getInferLibVersion", 101303),
        ("libnvinfer11_11.0.0.114-1+cuda13.2", "libnvinfer.so.11", "getInferLibVersion", 110000),
        ("libcublas-13-0_13.1.0.3-1", "libcublasLt.so.13", "cublasLtGetVersion", 130100),
    ],
)
def test_libraries_answer_their_version_and_carry_the_mark(
    extract: Unpack,
    tmp_path: Path,
    package: str,
    library: str,
    symbol: str,
    answer: int,
) -> None:
    root = extract(tmp_path, f"{package}_amd64.deb")
    (path,) = root.rglob(library)
    assert MARKER in path.read_bytes()
    loaded = ctypes.CDLL(str(path))
    assert loaded[symbol]() == answer
    assert bytes((ctypes.c_char * 25).in_dll(loaded, "cudactl_simulated")) == MARKER


def test_the_runtime_and_the_driver_answer_as_on_a_machine_without_gpu(
    extract: Unpack, tmp_path: Path
) -> None:
    root = extract(
        tmp_path,
        "cuda-cudart-13-0_13.0.96-1_amd64.deb",
        "libnvidia-compute-580_580.95.05-1ubuntu1_amd64.deb",
    )
    runtime = ctypes.CDLL(str(next(root.rglob("libcudart.so.13"))))
    number, text = ctypes.c_int(7), ctypes.create_string_buffer(80)
    assert runtime.cudaRuntimeGetVersion(ctypes.byref(number)) == 0
    assert number.value == 13000
    assert runtime.cudaGetDeviceCount(ctypes.byref(number)) in (35, 100)
    assert number.value == 0
    driver = ctypes.CDLL(str(next(root.rglob("libcuda.so.1"))))
    assert driver.cuInit(0) == 100
    nvml = ctypes.CDLL(str(next(root.rglob("libnvidia-ml.so.1"))))
    assert nvml.nvmlSystemGetDriverVersion(text, 80) == 1  # not initialised yet
    assert nvml.nvmlInit_v2() == 0
    assert nvml.nvmlSystemGetDriverVersion(text, 80) == 0
    assert text.value == b"580.95.05"
    assert nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)) == 0
    assert number.value == 0


PROGRAM = """
#include <cstdio>
#include <cublas_v2.h>
#include <cudnn_v9.h>
int main() {
  int cublas = 0;
  cublasGetVersion(nullptr, &cublas);
  std::printf("%d %zu\\n", cublas, cudnnGetVersion());
}
"""


def test_nvcc_compiles_links_and_fails_for_real(extract: Unpack, tmp_path: Path) -> None:
    root = extract(
        tmp_path / "root",
        *(f"{name}_13.0.96-1_amd64.deb" for name in ("cuda-cudart-13-0", "cuda-cudart-dev-13-0")),
        *(f"{name}_13.1.0.3-1_amd64.deb" for name in ("libcublas-13-0", "libcublas-dev-13-0")),
        "cuda-nvcc-13-0_13.0.88-1_amd64.deb",
        *(f"libcudnn9-{part}cuda-13_9.13.0.50-1_amd64.deb" for part in ("", "headers-")),
    )
    lib, include = root / "usr/lib/x86_64-linux-gnu", root / "usr/include/x86_64-linux-gnu"
    # What the -dev package's postinst does with alternatives.
    (lib / "libcudnn.so").symlink_to("libcudnn.so.9")
    (include / "cudnn_version.h").symlink_to("cudnn_version_v9.h")
    (tmp_path / "p.cu").write_text(PROGRAM)
    nvcc = [root / "usr/local/cuda-13.0/bin/nvcc", f"-I{include}", f"-L{lib}", "p.cu", "-o", "p"]

    def build(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, nvcc), *options], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    told = subprocess.run([nvcc[0], "--version"], capture_output=True, text=True, check=True)
    assert "release 13.0, V13.0.88" in told.stdout
    assert "undefined reference" in build("-lcublas").stderr
    assert "Unsupported gpu architecture 'compute_70'" in build("-arch=sm_70").stderr
    toolkit = root / "usr/local/cuda-13.0/targets/x86_64-linux/lib"
    done = build("-arch=sm_90", "-lcublas", "-lcudnn", "-Xlinker", f"-rpath-link,{toolkit}")
    assert done.returncode == 0, done.stderr
    answer = subprocess.run(
        [tmp_path / "p"],
        env={"LD_LIBRARY_PATH": f"{toolkit}:{lib}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "130100 91300\n"
