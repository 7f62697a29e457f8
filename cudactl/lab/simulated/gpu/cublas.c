/* libcublas: one product in FP32. Faults: gemm.* of product.h, cublas.create and gemm.status (the
   status). */
#include "product.h"

EXPORT int cublasGetProperty(int type, int *value) {
  int version = (int)conf_number("cublas.version", 130100);
  *value = type == 0 ? version / 10000 : type == 1 ? version / 100 % 100 : version % 100;
  return 0;
}
EXPORT int cublasCreate_v2(void **handle) {
  misbehave("cublasCreate_v2");
  *handle = calloc(1, 8);
  return (int)fault("cublas.create");
}
EXPORT int cublasDestroy_v2(void *handle) { return free(handle), 0; }
EXPORT int cublasGemmEx(void *handle, int transa, int transb, int m, int n, int k,
                        const void *alpha, const void *a, int a_type, int lda, const void *b,
                        int b_type, int ldb, const void *beta, void *c, int c_type, int ldc,
                        int compute, int algorithm) {
  misbehave("cublasGemmEx");
  if (fault("gemm.status")) return (int)fault("gemm.status");
  if (transa != 1 || transb != 0 || a_type != b_type) return 7;
  clock_work("fp32", 2.0 * m * n * k);
  product("gemm", "fp32", a_type, c_type, m, n, k, a, b, c);
  return 0;
}
EXPORT int cublasSgemm_v2(void *handle, int transa, int transb, int m, int n, int k,
                          const float *alpha, const float *a, int lda, const float *b, int ldb,
                          const float *beta, float *c, int ldc) {
  return cublasGemmEx(handle, transa, transb, m, n, k, alpha, a, R32F, lda, b, R32F, ldb, beta, c,
                      R32F, ldc, 68, -1);
}
EXPORT const char *cublasGetStatusString(int code) {
  return code == 1 ? "the library was not initialized" : "an internal operation failed";
}
