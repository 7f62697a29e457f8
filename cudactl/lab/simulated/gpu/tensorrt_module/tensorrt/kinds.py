"""TensorRT's enumerations that are the same in every version."""

from __future__ import annotations

import enum


class DataType(enum.IntEnum):
    """nvinfer1::DataType, NvInferRuntimeBase.h."""

    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    FP8 = 6


class ActivationType(enum.IntEnum):
    """nvinfer1::ActivationType."""

    RELU = 0


class PoolingType(enum.IntEnum):
    """nvinfer1::PoolingType."""

    MAX = 0
    AVERAGE = 1


class MatrixOperation(enum.IntEnum):
    """nvinfer1::MatrixOperation."""

    NONE = 0


class MemoryPoolType(enum.IntEnum):
    """nvinfer1::MemoryPoolType."""

    WORKSPACE = 0
