"""nvcc on a GPU: a program that an H200 runs, and what may be wrong with it."""

from __future__ import annotations

from typing import Any

from tests.judge.healthy import add_device_leg, device_leg, measurement, value
from tests.judge.red import Change, Red


def healthy(evidence: dict[str, Any]) -> None:
    """Add what an H200 shows."""
    kernel = {"kernel_compared": 262144, "kernel_wrong": 0, "arch": 900, "end": 1}
    found = {
        "architecture": "sm_90",
        "cc": "9.0",
        "linked": True,
        "compiled": True,
        "compile_s": 5.5,
        "exit_status": 0,
        "address": "0000:17:00.0",
        **kernel,
        "gemm_compared": 4096,
        "gemm_wrong": 0,
        "convolution_compared": 960,
        "convolution_wrong": 0,
        "ptx_address": "0000:17:00.0",
        **{f"ptx_{key}": number for key, number in kernel.items()},
        "ptx_exit_status": 0,
    }
    add_device_leg(evidence, "nvcc", {"nvcc.run": found})


def _set(**values: object) -> Change:
    return lambda e: value(e, "nvcc.run").update(values)


def _error(text: str) -> Change:
    return lambda e: measurement(e, "nvcc.run").update(error=text)


def _red(name: str, change: Change, says: str, status: str = "FAIL") -> Red:
    return Red("nvcc.run", name, "gpu", change, says, status)


RED: list[Red] = [
    _red("the kernel is wrong", _set(kernel_wrong=1, kernel_first=7), "the kernel: 1 of 262144"),
    _red("cuBLAS is wrong", _set(gemm_wrong=9, gemm_first=0), "cuBLAS: 9 of 4096 values are wrong"),
    _red(
        "cuDNN is wrong",
        _set(convolution_wrong=960, convolution_first=0),
        "cuDNN: 960 of 960 values are wrong",
    ),
    _red(
        "only what the driver compiles is wrong",
        _set(ptx_kernel_wrong=3, ptx_kernel_first=5),
        "the kernel from PTX: 3 of 262144",
    ),
    _red("another GPU ran it", _set(address="0000:65:00.0"), "ran on another GPU"),
    _red("another architecture's code ran", _set(arch=800), "code of another architecture ran"),
    _red(
        "it does not compile",
        _error("nvcc fatal   : Unsupported gpu architecture 'compute_90'"),
        "Unsupported gpu architecture",
    ),
    _red(
        "nothing was compared",
        _set(gemm_compared=0),
        "no value of cuBLAS was compared",
        "ERROR",
    ),
    _red("it was not linked", _set(linked=False), "it was not linked against cuBLAS", "ERROR"),
    _red(
        "PTX was not tried",
        lambda e: value(e, "nvcc.run").pop("ptx_kernel_wrong"),
        "ptx_kernel_wrong was not measured",
        "ERROR",
    ),
    Red(
        "nvcc.ran_on_gpu",
        "it hangs on the GPU",
        "gpu",
        lambda e: device_leg(e, "nvcc").update(outcome="timeout", detail="no end within 30 s"),
        "no end within 30 s",
    ),
]
