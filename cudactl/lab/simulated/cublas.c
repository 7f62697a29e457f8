/* libcublas (default) and libcublasLt (-DLT): versions; no handle without a GPU. */
#include "mark.h"
#define NOT_INITIALIZED 1

#ifdef LT
EXPORT unsigned long cublasLtGetVersion(void) { return (unsigned long)NUMBER(0); }
EXPORT unsigned long cublasLtGetCudartVersion(void) { return (unsigned long)NUMBER(4); }
EXPORT int cublasLtGetProperty(int type, int *value) { return get_property(type, value); }
EXPORT int cublasLtCreate(void **handle) { *handle = 0; return NOT_INITIALIZED; }
EXPORT int cublasLtDestroy(void *handle) { (void)handle; return NOT_INITIALIZED; }
#else
EXPORT int cublasGetVersion_v2(void *handle, int *version) {
  (void)handle;
  *version = NUMBER(0);
  return SUCCESS;
}
EXPORT int cublasGetProperty(int type, int *value) { return get_property(type, value); }
EXPORT unsigned long cublasGetCudartVersion(void) { return (unsigned long)NUMBER(4); }
EXPORT int cublasCreate_v2(void **handle) { *handle = 0; return NOT_INITIALIZED; }
EXPORT int cublasDestroy_v2(void *handle) { (void)handle; return NOT_INITIALIZED; }
EXPORT int cublasSgemm_v2(void *handle, int ta, int tb, int m, int n, int k, const float *alpha,
                          const float *a, int lda, const float *b, int ldb, const float *beta,
                          float *c, int ldc) {
  (void)handle; (void)ta; (void)tb; (void)m; (void)n; (void)k; (void)alpha; (void)a; (void)lda;
  (void)b; (void)ldb; (void)beta; (void)c; (void)ldc;
  return NOT_INITIALIZED;
}
EXPORT const char *cublasGetStatusName(int status) {
  return status == 0   ? "CUBLAS_STATUS_SUCCESS"
         : status == 1 ? "CUBLAS_STATUS_NOT_INITIALIZED"
                       : "CUBLAS_STATUS_INVALID_VALUE";
}
EXPORT const char *cublasGetStatusString(int status) {
  return status == 0 ? "success" : status == 1 ? "the library was not initialized" : "invalid value";
}
#endif
