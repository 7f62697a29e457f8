"""nvcc on each GPU: what it compiles for the GPU runs there, as machine code and from PTX."""

from __future__ import annotations

from typing import Optional

from ..context import Answer, Context, integer, number, text
from .registry import Values, check, failed, passed, unmeasured
from .toolkit_gpu import pci_address

PARTS = {
    "kernel": "the kernel",
    "gemm": "cuBLAS",
    "convolution": "cuDNN",
    "ptx_kernel": "the kernel from PTX",
}


def _wrong(values: Values, prefix: str) -> Optional[str]:
    """Return what a part of the program computed wrongly."""
    count = integer(values, prefix + "_wrong")
    if count == 0:
        return None
    return "%s: %d of %d values are wrong, the first is number %s" % (
        PARTS[prefix],
        count,
        integer(values, prefix + "_compared"),
        values.get(prefix + "_first"),
    )


@check(
    "nvcc.run",
    "nvcc",
    "A program compiled for the GPU runs on it and is right",
    needs=("compiled", "architecture", "exit_status", "address"),
    per_gpu=True,
    level="execution",
)
def nvcc_run(context: Context, values: Values, expect: Values) -> Answer:
    assert context.gpu is not None
    architecture = text(values, "architecture")
    found, wanted = text(values, "address"), str(context.gpu.get("address"))
    if pci_address(found) != pci_address(wanted):
        return failed(found, wanted, "the program ran on another GPU")
    parts = ["kernel"] + (["gemm", "convolution"] if expect["link"] else [])
    if expect["link"] and values.get("linked") is not True:
        return unmeasured("it was not linked against cuBLAS and cuDNN")
    for prefix in [*parts, "ptx_kernel"]:
        wrong = _wrong(values, prefix)
        if wrong is not None:
            return failed("wrong values", "none", wrong)
        if integer(values, prefix + "_compared") < 1:
            return unmeasured("no value of %s was compared" % PARTS[prefix])
    ran = "sm_%d" % (integer(values, "arch") // 10)
    if ran != architecture:
        return failed(ran, architecture, "code of another architecture ran")
    reason = "compiled for %s in %.1f s, as machine code and from PTX%s" % (
        architecture,
        number(values, "compile_s"),
        ", with cuBLAS and cuDNN" if expect["link"] else "",
    )
    compared = sum(integer(values, prefix + "_compared") for prefix in parts)
    return passed("%d values, 0 wrong" % compared, "0 wrong", reason)
