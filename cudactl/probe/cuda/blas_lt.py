"""cuBLASLt: one matrix product, described as every type on every GPU can do it.

Everything is column-major with the first operand transposed (T, N): the only order that FP8 and
INT8 know. By rows that reads D[n][m] = Σ_k B[n][k] · A[m][k].
"""

from __future__ import annotations

import ctypes
from typing import Any, Dict, List, NamedTuple

from ..loading import Loaded
from .calls import CallFailed, Calls

PROTOTYPES = """
cublasStatus_t cublasLtCreate(cublasLtHandle_t *);
cublasStatus_t cublasLtDestroy(cublasLtHandle_t);
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *, cublasComputeType_t, cudaDataType_t);
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t, const void *, size_t);
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *, cudaDataType, uint64_t, uint64_t, int64_t);
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *);
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void *, size_t);
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t *, int *);
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t, const void *, const void *, cublasLtMatrixLayout_t, const void *, cublasLtMatrixLayout_t, const void *, const void *, cublasLtMatrixLayout_t, void *, cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *, void *, size_t, cudaStream_t);
const char * cublasLtGetStatusString(cublasStatus_t);
"""  # noqa: E501 - a line is a prototype
# library_types.h, cublas_api.h, cublasLt.h
ENUMS = {
    "CUDA_R_32F": 0,
    "CUDA_R_64F": 1,
    "CUDA_R_16F": 2,
    "CUDA_R_8I": 3,
    "CUDA_R_32I": 10,
    "CUDA_R_16BF": 14,
    "CUDA_R_8F_E4M3": 28,
    "CUBLAS_COMPUTE_32F": 68,
    "CUBLAS_COMPUTE_64F": 70,
    "CUBLAS_COMPUTE_32I": 72,
    "CUBLAS_COMPUTE_32F_FAST_TF32": 77,
    "CUBLAS_OP_N": 0,
    "CUBLAS_OP_T": 1,
    "CUBLASLT_MATMUL_DESC_TRANSA": 3,
    "CUBLASLT_MATMUL_DESC_TRANSB": 4,
    "CUBLASLT_MATMUL_DESC_FAST_ACCUM": 25,
    "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES": 1,
}
WORKSPACE_BYTES = 32 << 20


class Kind(NamedTuple):
    """A type of matrix product."""

    operand: str
    compute: str
    scale: str
    exact: str
    """Type of D in which sums of small integers are exact."""
    fast: str
    """Type of D that frameworks ask for."""


KINDS: Dict[str, Kind] = {
    "fp64": Kind("CUDA_R_64F", "CUBLAS_COMPUTE_64F", "CUDA_R_64F", "CUDA_R_64F", "CUDA_R_64F"),
    "fp32": Kind("CUDA_R_32F", "CUBLAS_COMPUTE_32F", "CUDA_R_32F", "CUDA_R_32F", "CUDA_R_32F"),
    "tf32": Kind(
        *("CUDA_R_32F", "CUBLAS_COMPUTE_32F_FAST_TF32", "CUDA_R_32F", "CUDA_R_32F", "CUDA_R_32F")
    ),
    "bf16": Kind("CUDA_R_16BF", "CUBLAS_COMPUTE_32F", "CUDA_R_32F", "CUDA_R_32F", "CUDA_R_16BF"),
    "fp16": Kind("CUDA_R_16F", "CUBLAS_COMPUTE_32F", "CUDA_R_32F", "CUDA_R_32F", "CUDA_R_16F"),
    "fp8": Kind("CUDA_R_8F_E4M3", "CUBLAS_COMPUTE_32F", "CUDA_R_32F", "CUDA_R_32F", "CUDA_R_16BF"),
    "int8": Kind("CUDA_R_8I", "CUBLAS_COMPUTE_32I", "CUDA_R_32I", "CUDA_R_32I", "CUDA_R_32I"),
}
WIDTH = {
    "CUDA_R_64F": 8,
    "CUDA_R_32F": 4,
    "CUDA_R_32I": 4,
    "CUDA_R_16F": 2,
    "CUDA_R_16BF": 2,
    "CUDA_R_8I": 1,
    "CUDA_R_8F_E4M3": 1,
}
"""Bytes of an entry."""
ARRAY = {"CUDA_R_64F": "d", "CUDA_R_32F": "f", "CUDA_R_32I": "i"}
"""Type codes of Python's `array`."""
SCALARS = {"CUDA_R_64F": ctypes.c_double, "CUDA_R_32F": ctypes.c_float, "CUDA_R_32I": ctypes.c_int}


class Algorithm(ctypes.Structure):
    """cublasLtMatmulAlgo_t."""

    _fields_ = [("data", ctypes.c_uint64 * 8)]


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = [
        ("algo", Algorithm),
        ("workspace_size", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves_count", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    ]


class BlasLt:
    """cuBLASLt on the present GPU."""

    def __init__(self, library: Loaded, workspace: int) -> None:
        """Create a handle.

        Args:
            library: libcublasLt.
            workspace: Address of WORKSPACE_BYTES on the GPU.
        """
        self.call = Calls(library, PROTOTYPES, "cublasLtGetStatusString")
        self.handle = self.call.pointer("cublasLtCreate")
        self.workspace = workspace
        self.preference = self.call.pointer("cublasLtMatmulPreferenceCreate")
        self.call(
            "cublasLtMatmulPreferenceSetAttribute",
            self.preference,
            ENUMS["CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES"],
            ctypes.byref(ctypes.c_uint64(WORKSPACE_BYTES)),
            8,
        )


class Matmul:
    """A product of one type and shape, with the algorithms that cuBLASLt proposes, best first."""

    def __init__(
        self, blas: BlasLt, kind: str, m: int, n: int, k: int, *, fast: bool, ask: int = 1
    ) -> None:
        """Describe it and ask for algorithms.

        Args:
            blas: cuBLASLt.
            kind: One of KINDS.
            m: Rows of A.
            n: Rows of B.
            k: Length of both operands' rows.
            fast: As frameworks ask for it; otherwise so that sums of integers are exact.
            ask: How many algorithms.

        Raises:
            CallFailed: when there is none.
        """
        self._blas, self._call = blas, blas.call
        described = KINDS[kind]
        self.out = described.fast if fast else described.exact
        operand = ENUMS[described.operand]
        make = self._call.pointer
        scale, compute = ENUMS[described.scale], ENUMS[described.compute]
        self._operation = make("cublasLtMatmulDescCreate", compute, scale)
        self._set("CUBLASLT_MATMUL_DESC_TRANSA", ctypes.c_int32(ENUMS["CUBLAS_OP_T"]))
        self._set("CUBLASLT_MATMUL_DESC_TRANSB", ctypes.c_int32(ENUMS["CUBLAS_OP_N"]))
        if kind == "fp8" and fast:
            self._set("CUBLASLT_MATMUL_DESC_FAST_ACCUM", ctypes.c_int8(1))
        self._a = make("cublasLtMatrixLayoutCreate", operand, k, m, k)
        self._b = make("cublasLtMatrixLayoutCreate", operand, k, n, k)
        self._d = make("cublasLtMatrixLayoutCreate", ENUMS[self.out], m, n, m)
        scalar = SCALARS[described.scale]
        self._one: Any = scalar(1)
        self._zero: Any = scalar(0)
        self.algorithms: List[Heuristic] = []
        proposed, count = (Heuristic * ask)(), ctypes.c_int(0)
        name = "cublasLtMatmulAlgoGetHeuristic"
        shape = (self._operation, self._a, self._b, self._d, self._d)
        found = ctypes.byref(count)
        self._call(name, blas.handle, *shape, blas.preference, ask, proposed, found)
        self.algorithms = [one for one in proposed[: count.value] if one.state == 0]
        if not self.algorithms:
            raise CallFailed(name, 0, "no algorithm for this type and shape")

    def _set(self, attribute: str, value: Any) -> None:  # noqa: ANN401 - ctypes' own classes
        name, size = "cublasLtMatmulDescSetAttribute", ctypes.sizeof(value)
        self._call(name, self._operation, ENUMS[attribute], ctypes.byref(value), size)

    def run(self, a: int, b: int, d: int, choice: int = 0) -> None:
        """Start D = B·Aᵀ by rows, on operands at these addresses; the GPU works on by itself."""
        chosen = self.algorithms[choice]
        self._call(
            "cublasLtMatmul",
            self._blas.handle,
            self._operation,
            ctypes.byref(self._one),
            *(a, self._a, b, self._b),
            ctypes.byref(self._zero),
            *(d, self._d, d, self._d),
            ctypes.byref(chosen.algo),
            self._blas.workspace,
            WORKSPACE_BYTES,
            None,
        )
