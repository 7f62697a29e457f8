/* CUDACTL-SIMULATED-LIBRARY: declares what the lab's libcublasLt has, and nothing more. */
#ifndef CUDACTL_SIMULATED_CUBLASLT_H
#define CUDACTL_SIMULATED_CUBLASLT_H
#include "cublas_v2.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct cublasLtContext *cublasLtHandle_t;
size_t cublasLtGetVersion(void);
size_t cublasLtGetCudartVersion(void);
cublasStatus_t cublasLtGetProperty(libraryPropertyType type, int *value);
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle);
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle);
#ifdef __cplusplus
}
#endif
#endif
