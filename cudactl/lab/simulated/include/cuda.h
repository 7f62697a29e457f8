/* CUDACTL-SIMULATED-LIBRARY: declares what the lab's libcuda has, and nothing more. */
#ifndef CUDACTL_SIMULATED_CUDA_H
#define CUDACTL_SIMULATED_CUDA_H
#define CUDA_VERSION @CUDART_NUMBER@
#ifdef __cplusplus
extern "C" {
#endif
typedef enum cudaError_enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_NO_DEVICE = 100
} CUresult;
CUresult cuInit(unsigned int flags);
CUresult cuDriverGetVersion(int *version);
CUresult cuDeviceGetCount(int *count);
CUresult cuGetErrorName(CUresult error, const char **text);
CUresult cuGetErrorString(CUresult error, const char **text);
#ifdef __cplusplus
}
#endif
#endif
