"""What a lock promises, leg by leg: each module adds what it asks the probe and what must hold.

They run in this order; `expect_libraries` last, since it looks at what the others ask.
"""

from cudactl.certify.expectations.collectives import expect_collectives
from cudactl.certify.expectations.containers import expect_containers
from cudactl.certify.expectations.cudnn import expect_cudnn
from cudactl.certify.expectations.cudnn_gpu import expect_cudnn_gpu
from cudactl.certify.expectations.driver import expect_driver
from cudactl.certify.expectations.driver_gpu import expect_driver_gpu
from cudactl.certify.expectations.driver_host import expect_driver_host
from cudactl.certify.expectations.energy import expect_energy
from cudactl.certify.expectations.frameworks import expect_frameworks
from cudactl.certify.expectations.health import expect_health
from cudactl.certify.expectations.nvcc import expect_nvcc
from cudactl.certify.expectations.nvcc_gpu import expect_nvcc_gpu
from cudactl.certify.expectations.stack import expect_libraries, expect_stack
from cudactl.certify.expectations.tensorrt import expect_tensorrt
from cudactl.certify.expectations.toolkit import expect_toolkit
from cudactl.certify.expectations.toolkit_gpu import expect_toolkit_gpu

EVERY = (
    expect_stack,
    expect_driver,
    expect_driver_gpu,
    expect_driver_host,
    expect_health,
    expect_toolkit,
    expect_toolkit_gpu,
    expect_cudnn,
    expect_cudnn_gpu,
    expect_tensorrt,
    expect_nvcc,
    expect_nvcc_gpu,
    expect_collectives,
    expect_containers,
    expect_energy,
    expect_frameworks,
    expect_libraries,
)
