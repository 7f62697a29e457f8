"""Every check, one file per leg. Importing this package registers them all.

A check is declared with its id, its leg, its title and the measured keys it cannot do without. It
is a pure function of context, measured values and expectation; only a measured value passes.
"""

from . import (
    collectives,
    containers,
    cudnn,
    cudnn_gpu,
    driver,
    driver_gpu,
    driver_host,
    energy,
    frameworks,
    health,
    health_gpu,
    health_links,
    health_log,
    health_memory,
    health_running,
    ingest,
    legs,
    nvcc,
    nvcc_gpu,
    stack,
    tensorrt,
    tensorrt_gpu,
    toolkit,
    toolkit_gpu,
)
from .registry import CHECKS, Check

__all__ = [
    "CHECKS",
    "Check",
    "collectives",
    "containers",
    "cudnn",
    "cudnn_gpu",
    "driver",
    "driver_gpu",
    "driver_host",
    "energy",
    "frameworks",
    "health",
    "health_gpu",
    "health_links",
    "health_log",
    "health_memory",
    "health_running",
    "ingest",
    "legs",
    "nvcc",
    "nvcc_gpu",
    "stack",
    "tensorrt",
    "tensorrt_gpu",
    "toolkit",
    "toolkit_gpu",
]
