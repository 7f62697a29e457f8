/* CUDACTL-SIMULATED-LIBRARY: the lab compiles with the host's compiler; nothing runs on a GPU. */
#ifndef CUDACTL_SIMULATED_CUDA_RUNTIME_H
#define CUDACTL_SIMULATED_CUDA_RUNTIME_H
#include "cuda_runtime_api.h"
#define __global__
#define __device__
#define __host__
#define __shared__
#define __constant__
#endif
