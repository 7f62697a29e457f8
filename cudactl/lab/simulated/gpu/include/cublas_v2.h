/* CUDACTL-SIMULATED-LIBRARY: what programs compiled by the simulated nvcc call of cuBLAS. */
#ifndef CUDACTL_SIMULATED_GPU_CUBLAS
#define CUDACTL_SIMULATED_GPU_CUBLAS
extern "C" {
typedef struct cublasContext *cublasHandle_t;
typedef enum { CUBLAS_STATUS_SUCCESS = 0 } cublasStatus_t;
typedef enum { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 } cublasOperation_t;
cublasStatus_t cublasCreate_v2(cublasHandle_t *handle);
cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t transa,
                              cublasOperation_t transb, int m, int n, int k, const float *alpha,
                              const float *a, int lda, const float *b, int ldb, const float *beta,
                              float *c, int ldc);
}
#define cublasCreate cublasCreate_v2
#define cublasSgemm cublasSgemm_v2
#endif
