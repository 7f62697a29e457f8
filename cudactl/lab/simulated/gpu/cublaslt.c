/* libcublasLt: matrix products on the processor. Faults: matmul.* of product.h, and
   matmul.no_algorithm[.KIND], matmul.status[.KIND] (the status), cublaslt.create (the status). */
#include "product.h"

typedef struct { int compute, scale, transa, transb; } operation;
typedef struct { int type; uint64_t rows, columns; int64_t leading; } layout;
typedef struct {
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
} heuristic;

static const char *kind_of(const operation *op, const layout *a) {
  switch (a->type) {
    case R64F: return "fp64";
    case R32F: return op->compute == 77 ? "tf32" : "fp32";
    case R16F: return "fp16";
    case R16BF: return "bf16";
    case R8I: return "int8";
    default: return "fp8";
  }
}

EXPORT size_t cublasLtGetVersion(void) {
  misbehave("cublasLtGetVersion");
  return (size_t)conf_number("cublas.version", 130100);
}
EXPORT size_t cublasLtGetCudartVersion(void) { return (size_t)conf_number("driver.cuda", 13000); }
EXPORT int cublasLtCreate(void **handle) {
  misbehave("cublasLtCreate");
  *handle = calloc(1, 8);
  return (int)fault("cublaslt.create");
}
EXPORT int cublasLtDestroy(void *handle) { return free(handle), 0; }
EXPORT int cublasLtMatmulDescCreate(void **made, int compute, int scale) {
  operation *op = calloc(1, sizeof *op);
  op->compute = compute;
  op->scale = scale;
  *made = op;
  return 0;
}
EXPORT int cublasLtMatmulDescSetAttribute(void *made, int attribute, const void *value, size_t size) {
  operation *op = made;
  if (attribute == 3) memcpy(&op->transa, value, 4);
  if (attribute == 4) memcpy(&op->transb, value, 4);
  return 0;
}
EXPORT int cublasLtMatrixLayoutCreate(void **made, int type, uint64_t rows, uint64_t columns,
                                      int64_t leading) {
  layout *one = calloc(1, sizeof *one);
  *one = (layout){type, rows, columns, leading};
  *made = one;
  return 0;
}
EXPORT int cublasLtMatmulPreferenceCreate(void **made) { return *made = calloc(1, 8), 0; }
EXPORT int cublasLtMatmulPreferenceSetAttribute(void *p, int a, const void *v, size_t s) { return 0; }
EXPORT int cublasLtMatmulAlgoGetHeuristic(void *handle, operation *op, layout *a, layout *b,
                                          layout *c, layout *d, void *preference, int asked,
                                          heuristic *results, int *found) {
  misbehave("cublasLtMatmulAlgoGetHeuristic");
  *found = 0;
  if (fault_of("matmul.no_algorithm", kind_of(op, a))) return 15;
  *found = asked < 2 ? asked : 2;
  memset(results, 0, sizeof *results * *found);
  for (int i = 0; i < *found; i++) results[i].algorithm[0] = i + 1;
  return 0;
}
EXPORT int cublasLtMatmul(void *handle, operation *op, const void *alpha, const void *A, layout *a,
                          const void *B, layout *b, const void *beta, const void *C, layout *c,
                          void *D, layout *d, const uint64_t *algorithm, void *workspace,
                          size_t room, void *stream) {
  misbehave("cublasLtMatmul");
  const char *kind = kind_of(op, a);
  if (fault_of("matmul.status", kind)) return (int)fault_of("matmul.status", kind);
  if (op->transa != 1 || op->transb != 0 || a->rows != b->rows || a->columns != d->rows) return 7;
  /* The second proposal is the slower one. */
  clock_work(kind, 2.0 * d->rows * d->columns * a->rows * (algorithm[0] > 1 ? 1.3 : 1));
  product("matmul", kind, a->type, d->type, d->rows, d->columns, a->rows, A, B, D);
  return 0;
}
EXPORT const char *cublasLtGetStatusString(int code) {
  return code == 15   ? "the functionality requested is not supported"
         : code == 13 ? "the GPU program failed to execute"
         : code == 1  ? "the library was not initialized"
                      : "an internal operation failed";
}
