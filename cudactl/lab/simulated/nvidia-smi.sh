#!/bin/sh
# CUDACTL-SIMULATED-LIBRARY: the lab's nvidia-smi; a driver is installed, no GPU is there.
case "$*" in
*--version*)
    echo "NVIDIA-SMI version  : @DRIVER@ (simulated by cudactl's lab)"
    echo "NVML version        : @BRANCH@"
    echo "DRIVER version      : @DRIVER@"
    echo "CUDA Version        : @CUDA@"
    exit 0 ;;
esac
echo "No devices were found"
exit 6
