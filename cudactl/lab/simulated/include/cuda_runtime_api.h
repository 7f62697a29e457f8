/* CUDACTL-SIMULATED-LIBRARY: declares what the lab's libcudart has, and nothing more. */
#ifndef CUDACTL_SIMULATED_CUDA_RUNTIME_API_H
#define CUDACTL_SIMULATED_CUDA_RUNTIME_API_H
#include <stddef.h>
#define CUDART_VERSION @CUDART_NUMBER@
#ifdef __cplusplus
extern "C" {
#endif
typedef enum cudaError {
  cudaSuccess = 0,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100
} cudaError_t;
typedef enum libraryPropertyType_t { MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL } libraryPropertyType;
typedef struct CUstream_st *cudaStream_t;
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaMalloc(void **memory, size_t size);
cudaError_t cudaFree(void *memory);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorName(cudaError_t error);
const char *cudaGetErrorString(cudaError_t error);
#ifdef __cplusplus
}
#endif
#endif
