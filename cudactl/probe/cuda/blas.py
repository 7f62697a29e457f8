"""cuBLAS itself: the product that most programs call."""

from __future__ import annotations

import ctypes

from ..loading import Loaded
from .blas_lt import ENUMS as LT
from .calls import Calls

PROTOTYPES = """
cublasStatus_t cublasCreate_v2(cublasHandle_t *);
cublasStatus_t cublasDestroy_v2(cublasHandle_t);
cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void *, const void *, cudaDataType, int, const void *, cudaDataType, int, const void *, void *, cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);
const char * cublasGetStatusString(cublasStatus_t);
"""  # noqa: E501 - a line is a prototype
ENUMS = {"CUBLAS_GEMM_DEFAULT": -1}


def gemm(library: Loaded, a: int, b: int, d: int, m: int, n: int, k: int) -> None:
    """Start D = B·Aᵀ by rows in FP32 through cublasGemmEx; raises CallFailed."""
    call = Calls(library, PROTOTYPES, "cublasGetStatusString")
    handle = call.pointer("cublasCreate_v2")
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    single = LT["CUDA_R_32F"]
    call(
        "cublasGemmEx",
        *(handle, LT["CUBLAS_OP_T"], LT["CUBLAS_OP_N"], m, n, k, ctypes.byref(one)),
        *(a, single, k, b, single, k, ctypes.byref(zero), d, single, m),
        *(LT["CUBLAS_COMPUTE_32F"], ENUMS["CUBLAS_GEMM_DEFAULT"]),
    )
    call("cublasDestroy_v2", handle)
