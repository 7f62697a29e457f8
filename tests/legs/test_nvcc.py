"""The nvcc leg on a simulated GPU: nvcc compiles with the host's compiler, and links for real."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.judge import judge
from cudactl.lab import gpus
from tests.judge.healthy import GPU, NOW, fresh
from tests.legs.conftest import Measure, values

LINKED = ("libcudart.so.13", "libcublas.so.13", "libcudnn.so.9")
Found = dict[str, tuple[str, str]]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def measured(measure_on: Measure, tmp_path: Path) -> Run:
    """Run nvcc's part with a toolkit of its own, in which the faults are."""

    def run(
        faults: dict[str, object] | None = None,
        *,
        gpu: gpus.SimulatedGpu = gpus.H200,
        without: str = "",
        **more: Any,
    ) -> dict[str, Any]:
        toolkit = tmp_path / "toolkit"
        gpus.build(toolkit / "lib", [one for one in LINKED if one != without], gpu, faults)
        shutil.copytree(gpus.SOURCES / "include", toolkit / "include")
        (toolkit / "bin").mkdir()
        nvcc = toolkit / "bin" / "nvcc"
        shutil.copyfile(gpus.SOURCES / "nvcc.sh", nvcc)
        nvcc.chmod(0o755)
        request = {"nvcc": str(nvcc), "link": True, "folders": [str(toolkit / "lib")]}
        request["includes"] = [str(toolkit / "include")]
        cudart = {"cudart": "libcudart.so.13"}
        return measure_on("nvcc", cudart, gpu=gpu, **{**request, **more})

    return run


def judged(result: dict[str, Any]) -> Found:
    """Return check → (status, reason) of a healthy machine whose GPU measured `result`."""
    evidence, policy = fresh("gpu")
    evidence["legs"] = [
        leg for leg in evidence["legs"] if (leg["leg"], leg["gpu"]) != ("nvcc", GPU["id"])
    ]
    evidence["legs"].append(result)
    certificate = judge(evidence, policy, "h1", NOW)
    if result["libraries"]:
        assert certificate["level"] == "simulated", "never mistaken for a real GPU's"
    verdicts = [v for v in certificate["verdicts"] if v["leg"] == "nvcc" and v["gpu"]]
    return {v["check"].partition(".")[2]: (v["status"], v["reason"]) for v in verdicts}


def test_a_program_is_compiled_linked_and_run_and_is_right(measured: Run) -> None:
    result = measured()
    found = judged(result)
    assert found["run"][0] == "PASS", found
    assert "compiled for sm_90" in found["run"][1]
    assert "as machine code and from PTX, with cuBLAS and cuDNN" in found["run"][1]
    numbers = values(result, "nvcc.run")
    assert (numbers["kernel_compared"], numbers["arch"]) == (262144, 900)
    assert (numbers["gemm_compared"], numbers["convolution_compared"]) == (4096, 960)
    assert numbers["ptx_kernel_wrong"] == 0
    assert {Path(path).name for path in numbers["mapped"]} == set(LINKED)


FAULTS = {
    "half of the blocks do not run": ({"program.half": 1}, "the kernel: 131072 of 262144"),
    "code of another GPU runs": ({"program.architecture": 800}, "code of another architecture"),
    "cuBLAS flips a bit": ({"gemm.flip_bit": 1}, "cuBLAS: 1 of 4096 values are wrong"),
    "cuBLAS returns zeros": ({"gemm.zeros": 1}, "cuBLAS: "),
    "cuDNN flips a bit": ({"conv.flip_bit": 1}, "cuDNN: 1 of 960 values are wrong"),
    "cuDNN turns the filter around": ({"conv.flipped": 1}, "cuDNN: "),
    "cuDNN refuses": (
        {"conv.unsupported": 1},
        "cudnnGetConvolutionForwardWorkspaceSize answers 3000",
    ),
    "cuBLAS cannot start": ({"cublas.create": 1}, "cublasCreate answers 1 in the compiled program"),
    "cuDNN cannot start": ({"cudnn.create": 1002}, "cudnnCreate answers 1002"),
    "no memory": ({"cudart.out_of_memory": 1}, "cudaMalloc answers 2 in the compiled program"),
    "the kernel faults": ({"cudart.sync": 700}, "cudaDeviceSynchronize answers 700"),
    "another GPU answers": ({"cudart.other_device": 1}, "the program ran on another GPU"),
    "copies lose a bit": ({"copy.flip_bit": 1}, "the kernel: 1 of 262144"),
    "the program crashes": ({"crash.cublasGemmEx": 1}, "the compiled program ended with -11"),
    "the program ends quietly": ({"exit.cublasGemmEx": 1}, "the compiled program ended with 0"),
    "nvcc knows no such GPU": (
        {"nvcc.architecture": 1},
        "Unsupported gpu architecture 'compute_90'",
    ),
    "nvcc crashes": ({"nvcc.crash": 1}, "'cudafe++' died due to signal 11"),
    "headers are missing": ({"nvcc.headers": 1}, "cuda_runtime.h"),
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_is_named(measured: Run, name: str) -> None:
    faults, says = FAULTS[name]
    more: dict[str, Any] = {"includes": []} if name == "headers are missing" else {}
    found = judged(measured(faults, **more))
    assert found["run"][0] == "FAIL"
    assert says in found["run"][1]


def test_a_library_that_is_not_there_is_named_by_the_linker(measured: Run) -> None:
    found = judged(measured(without="libcudnn.so.9"))
    assert found["run"][0] == "FAIL"
    assert "-lcudnn" in found["run"][1]


def _uses(maps: Path, folder: Path) -> bool:
    try:
        return str(folder) in maps.read_text()
    except OSError:
        return False


def test_a_hang_ends_with_everything_that_was_started(measured: Run, tmp_path: Path) -> None:
    found = judged(measured({"hang.cudnnConvolutionForward": 1}, deadline_s=8))
    assert "no end within 8 s" in found["ran_on_gpu"][1]
    assert found["run"][0] == "ERROR"
    assert not [one for one in Path("/proc").glob("[0-9]*/maps") if _uses(one, tmp_path)]


def test_an_nvcc_that_is_not_there_is_a_finding(measured: Run) -> None:
    found = judged(measured(nvcc="/nowhere/nvcc"))
    assert found["run"] == ("FAIL", "/nowhere/nvcc is not there")
