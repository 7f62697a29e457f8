/* CUDACTL-SIMULATED-LIBRARY: declares what the lab's libcudnn has, and nothing more. */
#ifndef CUDACTL_SIMULATED_CUDNN_H
#define CUDACTL_SIMULATED_CUDNN_H
#include <cuda_runtime_api.h>
#include "cudnn_version.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct cudnnContext *cudnnHandle_t;
typedef enum { CUDNN_STATUS_SUCCESS = 0, CUDNN_STATUS_NOT_INITIALIZED = @NOT_INITIALIZED@ } cudnnStatus_t;
size_t cudnnGetVersion(void);
size_t cudnnGetCudartVersion(void);
cudnnStatus_t cudnnGetProperty(libraryPropertyType type, int *value);
cudnnStatus_t cudnnCreate(cudnnHandle_t *handle);
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle);
const char *cudnnGetErrorString(cudnnStatus_t status);
#ifdef __cplusplus
}
#endif
#endif
