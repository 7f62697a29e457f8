"""toolkit: cudart, cuBLAS, cuBLASLt and NVRTC load from the lock's files, at its versions."""

from __future__ import annotations

from ..context import Answer, Context, Unmeasured, cuda_version, dotted, integer, text
from .provenance import library
from .registry import Values, check

LOADED = ("path", "loaded")


def _no_error(values: Values, call: str) -> None:
    if integer(values, "code") != 0:
        raise Unmeasured("%s answers %s" % (call, values["code"]))


@check("toolkit.cudart", "toolkit", "cudart loads and answers the lock's CUDA minor", needs=LOADED)
def toolkit_cudart(context: Context, values: Values, expect: Values) -> Answer:
    def version(values: Values) -> str:
        _no_error(values, "cudaRuntimeGetVersion")
        return cuda_version(integer(values, "runtime_version"))

    return library(context, values, expect, version)


@check("toolkit.cublas", "toolkit", "cuBLAS loads and answers the locked version", needs=LOADED)
def toolkit_cublas(context: Context, values: Values, expect: Values) -> Answer:
    return library(context, values, expect, lambda v: text(v, "version"))


@check("toolkit.cublaslt", "toolkit", "cuBLASLt loads and answers the locked version", needs=LOADED)
def toolkit_cublaslt(context: Context, values: Values, expect: Values) -> Answer:
    return library(context, values, expect, lambda v: dotted(integer(v, "version_number")))


@check("toolkit.nvrtc", "toolkit", "NVRTC loads and answers the lock's CUDA minor", needs=LOADED)
def toolkit_nvrtc(context: Context, values: Values, expect: Values) -> Answer:
    def version(values: Values) -> str:
        _no_error(values, "nvrtcVersion")
        return text(values, "version")

    return library(context, values, expect, version)
