"""cuDNN's convolutions through the API that cuDNN 8 and 9 share.

NVIDIA calls it legacy and keeps it; it needs no descriptors beyond tensors, filters and the
convolution, and it lets the caller name the algorithm, so each can be tried by itself.
"""

from __future__ import annotations

import ctypes
from typing import Any, Dict, NamedTuple, Tuple

from ..loading import Loaded
from .calls import Calls

PROTOTYPES = """
size_t cudnnGetVersion(void);
cudnnStatus_t cudnnCreate(cudnnHandle_t *);
cudnnStatus_t cudnnDestroy(cudnnHandle_t);
const char * cudnnGetErrorString(cudnnStatus_t);
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *);
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t, cudnnTensorFormat_t, cudnnDataType_t, int, int, int, int);
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *);
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t, cudnnDataType_t, cudnnTensorFormat_t, int, int, int, int);
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *);
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t, int, int, int, int, int, int, cudnnConvolutionMode_t, cudnnDataType_t);
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t, cudnnMathType_t);
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t, const cudnnFilterDescriptor_t, const cudnnConvolutionDescriptor_t, const cudnnTensorDescriptor_t, cudnnConvolutionFwdAlgo_t, size_t *);
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t, const void *, const cudnnTensorDescriptor_t, const void *, const cudnnFilterDescriptor_t, const void *, const cudnnConvolutionDescriptor_t, cudnnConvolutionFwdAlgo_t, void *, size_t, const void *, const cudnnTensorDescriptor_t, void *);
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, const cudnnFilterDescriptor_t, const cudnnTensorDescriptor_t, const cudnnConvolutionDescriptor_t, const cudnnTensorDescriptor_t, cudnnConvolutionBwdDataAlgo_t, size_t *);
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t, const void *, const cudnnFilterDescriptor_t, const void *, const cudnnTensorDescriptor_t, const void *, const cudnnConvolutionDescriptor_t, cudnnConvolutionBwdDataAlgo_t, void *, size_t, const void *, const cudnnTensorDescriptor_t, void *);
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t, const cudnnConvolutionDescriptor_t, const cudnnFilterDescriptor_t, cudnnConvolutionBwdFilterAlgo_t, size_t *);
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t, const void *, const cudnnTensorDescriptor_t, const void *, const cudnnTensorDescriptor_t, const void *, const cudnnConvolutionDescriptor_t, cudnnConvolutionBwdFilterAlgo_t, void *, size_t, const void *, const cudnnFilterDescriptor_t, void *);
"""  # noqa: E501 - a line is a prototype
# cudnn_graph.h, cudnn_ops.h (cuDNN 9); cudnn_ops_infer.h (cuDNN 8)
ENUMS = {
    "CUDNN_DATA_FLOAT": 0,
    "CUDNN_DATA_HALF": 2,
    "CUDNN_TENSOR_NCHW": 0,
    "CUDNN_TENSOR_NHWC": 1,
    "CUDNN_CROSS_CORRELATION": 1,
    "CUDNN_DEFAULT_MATH": 0,
    "CUDNN_TENSOR_OP_MATH": 1,
    "CUDNN_FMA_MATH": 3,
    "CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM": 0,
    "CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM": 1,
    "CUDNN_CONVOLUTION_FWD_ALGO_GEMM": 2,
    "CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING": 5,
    "CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD": 6,
    "CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED": 7,
    "CUDNN_CONVOLUTION_BWD_DATA_ALGO_0": 0,
    "CUDNN_CONVOLUTION_BWD_DATA_ALGO_1": 1,
    "CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING": 3,
    "CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD": 4,
    "CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED": 5,
    "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0": 0,
    "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1": 1,
    "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3": 3,
    "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED": 5,
    "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING": 6,
}
TYPES = {
    "fp32": ("CUDNN_DATA_FLOAT", "CUDNN_FMA_MATH"),
    "tf32": ("CUDNN_DATA_FLOAT", "CUDNN_DEFAULT_MATH"),
    "fp16": ("CUDNN_DATA_HALF", "CUDNN_TENSOR_OP_MATH"),
}
"""Name → type of the data, and how it may be computed; sums are kept in FP32 always.

From Ampere on cuDNN's default permits TF32, which FMA_MATH forbids."""
ALGORITHMS: Dict[str, Dict[str, str]] = {
    "forward": {
        "implicit_gemm": "CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM",
        "implicit_precomp_gemm": "CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM",
        "gemm": "CUDNN_CONVOLUTION_FWD_ALGO_GEMM",
        "winograd": "CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD",
        "winograd_nonfused": "CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED",
        "fft_tiling": "CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING",
    },
    "backward_data": {
        "algo_0": "CUDNN_CONVOLUTION_BWD_DATA_ALGO_0",
        "algo_1": "CUDNN_CONVOLUTION_BWD_DATA_ALGO_1",
        "winograd": "CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD",
        "winograd_nonfused": "CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED",
        "fft_tiling": "CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING",
    },
    "backward_filter": {
        "algo_0": "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0",
        "algo_1": "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1",
        "algo_3": "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3",
        "winograd_nonfused": "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED",
        "fft_tiling": "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING",
    },
}
"""Operation → algorithm; those that transform (Winograd, FFT) round, the others are exact."""
TRANSFORMS = ("winograd", "winograd_nonfused", "fft_tiling")


class Shape(NamedTuple):
    """A convolution with a 3 × 3 filter, stride 1 and a border of 1: the image keeps its size."""

    n: int
    c: int
    h: int
    w: int
    k: int

    @property
    def x(self) -> Tuple[int, int, int, int]:
        """The image's dimensions."""
        return self.n, self.c, self.h, self.w

    @property
    def y(self) -> Tuple[int, int, int, int]:
        """The result's dimensions."""
        return self.n, self.k, self.h, self.w

    @property
    def filter(self) -> Tuple[int, int, int, int]:
        """The filter's dimensions."""
        return self.k, self.c, 3, 3

    @property
    def operations(self) -> float:
        """Floating point operations."""
        return 2.0 * self.n * self.c * self.h * self.w * self.k * 9


class Dnn:
    """cuDNN on the present GPU."""

    def __init__(self, library: Loaded) -> None:
        self.call = Calls(library, PROTOTYPES, "cudnnGetErrorString")
        self.version = int(self.call.raw("cudnnGetVersion"))
        self.handle = self.call.pointer("cudnnCreate")


class Convolution:
    """One convolution of a type and layout."""

    def __init__(self, dnn: Dnn, shape: Shape, kind: str, layout: str) -> None:
        """Describe it; raises CallFailed.

        Args:
            dnn: cuDNN.
            shape: Its dimensions.
            kind: One of TYPES.
            layout: "nchw" or "nhwc".
        """
        self._dnn, self._call = dnn, dnn.call
        data, math = (ENUMS[one] for one in TYPES[kind])
        order = ENUMS["CUDNN_TENSOR_" + layout.upper()]
        make, single = self._call.pointer, ENUMS["CUDNN_DATA_FLOAT"]
        self.x = make("cudnnCreateTensorDescriptor")
        self._call("cudnnSetTensor4dDescriptor", self.x, order, data, *shape.x)
        self.y = make("cudnnCreateTensorDescriptor")
        self._call("cudnnSetTensor4dDescriptor", self.y, order, data, *shape.y)
        self.w = make("cudnnCreateFilterDescriptor")
        self._call("cudnnSetFilter4dDescriptor", self.w, data, order, *shape.filter)
        self._operation = make("cudnnCreateConvolutionDescriptor")
        mode = ENUMS["CUDNN_CROSS_CORRELATION"]
        name = "cudnnSetConvolution2dDescriptor"
        self._call(name, self._operation, *(1, 1), *(1, 1), *(1, 1), mode, single)
        self._call("cudnnSetConvolutionMathType", self._operation, math)
        self._one: Any = ctypes.c_float(1)
        self._zero: Any = ctypes.c_float(0)

    def workspace(self, operation: str, algorithm: str) -> int:
        """Return how much memory an algorithm needs beside, bytes; raises CallFailed."""
        size = ctypes.c_size_t(0)
        first, second, target = self._order(operation)
        name = "cudnnGetConvolution%sWorkspaceSize" % NAMES[operation]
        chosen = ENUMS[ALGORITHMS[operation][algorithm]]
        shapes = (first, second, self._operation, target)
        self._call(name, self._dnn.handle, *shapes, chosen, ctypes.byref(size))
        return size.value

    def run(
        self, operation: str, algorithm: str, where: Tuple[int, int, int], room: Tuple[int, int]
    ) -> None:
        """Start it; the GPU works on by itself.

        Args:
            operation: One of ALGORITHMS.
            algorithm: One of the operation's.
            where: Addresses of its operands and of the result: (x, w, y), (w, dy, dx), (x, dy, dw).
            room: Address and bytes of the workspace.
        """
        first, second, target = self._order(operation)
        self._call(
            "cudnnConvolution" + NAMES[operation],
            self._dnn.handle,
            ctypes.byref(self._one),
            *(first, where[0], second, where[1], self._operation),
            ENUMS[ALGORITHMS[operation][algorithm]],
            *room,
            ctypes.byref(self._zero),
            *(target, where[2]),
        )

    def _order(self, operation: str) -> Tuple[int, int, int]:
        if operation == "forward":
            return self.x, self.w, self.y
        if operation == "backward_data":
            return self.w, self.y, self.x
        return self.x, self.y, self.w


NAMES = {
    "forward": "Forward",
    "backward_data": "BackwardData",
    "backward_filter": "BackwardFilter",
}
