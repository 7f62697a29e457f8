/* libcudnn: convolutions on the processor, in FP32 and FP16, NCHW and NHWC. As on Hopper, Winograd
   is not supported, and of the transforms only the non-fused one is there, in FP32; it rounds.
   Faults (each also as NAME.OPERATION, e.g. conv.flip_bit.backward_data): conv.flip_bit, conv.nan,
   conv.zeros, conv.nothing, conv.stale, conv.ulp, conv.flipped (the filter is turned around),
   conv.border (the border is left out), conv.layout (the other layout's order), conv.unsupported
   (every algorithm), conv.status (of the call), conv.rough (the transform is off by half),
   conv.half (only FP16 is wrong), conv.flaky (from that call on); cudnn.create (the status). */
#include "product.h"

enum { FORWARD, DATA, FILTER };
static const char *const names[] = {"forward", "backward_data", "backward_filter"};
typedef struct { int type, nhwc, size[4]; } tensor;
typedef struct { int pad, flip, math; } operation;

EXPORT size_t cudnnGetVersion(void) {
  misbehave("cudnnGetVersion");
  return (size_t)conf_number("cudnn.version", 91300);
}
EXPORT size_t cudnnGetCudartVersion(void) { return (size_t)conf_number("driver.cuda", 13000); }
EXPORT const char *cudnnGetErrorString(int code) {
  return code >= 3000 && code < 4000 ? "CUDNN_STATUS_NOT_SUPPORTED"
         : code >= 5000              ? "CUDNN_STATUS_EXECUTION_FAILED"
         : code == 1002              ? "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"
         : code == 1001              ? "CUDNN_STATUS_NOT_INITIALIZED"
                                     : "CUDNN_STATUS_INTERNAL_ERROR";
}
EXPORT int cudnnCreate(void **handle) {
  misbehave("cudnnCreate");
  *handle = calloc(1, 8);
  return (int)fault("cudnn.create");
}
EXPORT int cudnnDestroy(void *handle) { return free(handle), 0; }
EXPORT int cudnnCreateTensorDescriptor(void **made) { return *made = calloc(1, sizeof(tensor)), 0; }
EXPORT int cudnnCreateFilterDescriptor(void **made) { return *made = calloc(1, sizeof(tensor)), 0; }
EXPORT int cudnnCreateConvolutionDescriptor(void **made) {
  return *made = calloc(1, sizeof(operation)), 0;
}
EXPORT int cudnnSetTensor4dDescriptor(tensor *t, int order, int type, int n, int c, int h, int w) {
  *t = (tensor){type, order, {n, c, h, w}};
  return 0;
}
EXPORT int cudnnSetFilter4dDescriptor(tensor *t, int type, int order, int k, int c, int h, int w) {
  return cudnnSetTensor4dDescriptor(t, order, type, k, c, h, w);
}
EXPORT int cudnnSetConvolution2dDescriptor(operation *op, int ph, int pw, int u, int v, int dh,
                                           int dw, int mode, int type) {
  *op = (operation){ph, mode == 0, 0};
  return ph == pw && u == 1 && v == 1 && dh == 1 && dw == 1 ? 0 : 3000;
}
EXPORT int cudnnSetConvolutionMathType(operation *op, int math) { return op->math = math, 0; }

static size_t at(const tensor *t, int a, int b, int c, int d) {
  const int *s = t->size;
  return t->nhwc ? (((size_t)a * s[2] + c) * s[3] + d) * s[1] + b
                 : (((size_t)a * s[1] + b) * s[2] + c) * s[3] + d;
}

static int read_type(const tensor *t) { return t->type == 2 ? R16F : R32F; }

/* Which algorithms there are: bit by number, the exact ones and the transform. */
static int known(int which, int algorithm, const tensor *t) {
  static const int exact[] = {1 << 0 | 1 << 1 | 1 << 2, 1 << 0 | 1 << 1, 1 << 0 | 1 << 1 | 1 << 3};
  static const int transform[] = {7, 5, 5};
  if (fault_of("conv.unsupported", names[which])) return 0;
  if (algorithm == transform[which]) return t->type == 0 ? 2 : 0;
  if (which == FORWARD && algorithm == 2 && t->nhwc) return 0;
  return exact[which] >> algorithm & 1;
}

static int run(int which, const operation *op, const tensor *x, const void *px, const tensor *w,
               const void *pw, const tensor *y, const void *py, int algorithm, void *out) {
  static char *stale[3];
  static size_t stale_bytes[3];
  static long calls;
  const char *name = names[which];
  const tensor *target = which == FORWARD ? y : which == DATA ? x : w;
  int how = known(which, algorithm, target), flipped = fault_of("conv.flipped", name) != 0;
  int border = fault_of("conv.border", name) != 0;
  if (!how) return 3000;
  if (fault_of("conv.status", name)) return (int)fault_of("conv.status", name);
  size_t count = (size_t)target->size[0] * target->size[1] * target->size[2] * target->size[3];
  size_t wide = target->type == 2 ? 2 : 4, bytes = count * wide;
  clock_work("conv", 2.0 * y->size[0] * y->size[1] * y->size[2] * y->size[3] * w->size[1] *
                         w->size[2] * w->size[3]);
  calls++;
  if (fault_of("conv.nothing", name)) return 0;
  if (fault_of("conv.stale", name) && stale_bytes[which] == bytes) {
    memcpy(out, stale[which], bytes);
    return 0;
  }
  double *sum = calloc(count, sizeof *sum);
  for (int n = 0; n < y->size[0]; n++)
    for (int k = 0; k < y->size[1]; k++)
      for (int p = 0; p < y->size[2]; p++)
        for (int q = 0; q < y->size[3]; q++)
          for (int c = 0; c < x->size[1]; c++)
            for (int r = 0; r < w->size[2]; r++)
              for (int s = 0; s < w->size[3]; s++) {
                int i = p + r - op->pad, j = q + s - op->pad;
                if (i < 0 || j < 0 || i >= x->size[2] || j >= x->size[3]) continue;
                if (border && (!i || !j)) continue;
                size_t ix = at(x, n, c, i, j), iy = at(y, n, k, p, q);
                size_t iw = at(w, k, c, flipped ? w->size[2] - 1 - r : r,
                               flipped ? w->size[3] - 1 - s : s);
                if (which == FORWARD)
                  sum[iy] += read_value(read_type(x), px, ix) * read_value(read_type(w), pw, iw);
                else if (which == DATA)
                  sum[ix] += read_value(read_type(y), py, iy) * read_value(read_type(w), pw, iw);
                else
                  sum[iw] += read_value(read_type(x), px, ix) * read_value(read_type(y), py, iy);
              }
  double off = how == 2 ? fault_of("conv.rough", name) ? 0.5 : 1e-3 : 0;
  tensor other = *target;
  other.nhwc = !other.nhwc;
  int wrong_order = fault_of("conv.layout", name) != 0;
  for (int a = 0; a < target->size[0]; a++)
    for (int b = 0; b < target->size[1]; b++)
      for (int c = 0; c < target->size[2]; c++)
        for (int d = 0; d < target->size[3]; d++)
          write_value(read_type(target), out, at(wrong_order ? &other : target, a, b, c, d),
                      sum[at(target, a, b, c, d)] + off);
  free(sum);
  size_t middle = count / 2;
  double flaky = fault_of("conv.flaky", name);
  if (fault_of("conv.zeros", name)) memset(out, 0, bytes);
  if (fault_of("conv.nan", name)) write_value(read_type(target), out, middle, NAN);
  if (fault_of("conv.ulp", name)) ((unsigned char *)out)[middle * wide] ^= 1;
  if (fault_of("conv.flip_bit", name) || (flaky && calls >= flaky && calls % 2) ||
      (target->type == 2 && fault_of("conv.half", name)))
    ((unsigned char *)out)[middle * wide + wide - 1] ^= 1;
  stale[which] = realloc(stale[which], bytes);
  stale_bytes[which] = bytes;
  memcpy(stale[which], out, bytes);
  return 0;
}

static int room(int which, const tensor *target, int algorithm, size_t *size) {
  misbehave("cudnnGetConvolutionWorkspaceSize");
  *size = 1024;
  return known(which, algorithm, target) ? 0 : 3000;
}
EXPORT int cudnnGetConvolutionForwardWorkspaceSize(void *h, tensor *x, tensor *w, operation *op,
                                                   tensor *y, int algorithm, size_t *size) {
  return room(FORWARD, y, algorithm, size);
}
EXPORT int cudnnGetConvolutionBackwardDataWorkspaceSize(void *h, tensor *w, tensor *y,
                                                        operation *op, tensor *x, int algorithm,
                                                        size_t *size) {
  return room(DATA, x, algorithm, size);
}
EXPORT int cudnnGetConvolutionBackwardFilterWorkspaceSize(void *h, tensor *x, tensor *y,
                                                          operation *op, tensor *w, int algorithm,
                                                          size_t *size) {
  return room(FILTER, w, algorithm, size);
}
EXPORT int cudnnConvolutionForward(void *h, const float *alpha, tensor *x, const void *px,
                                   tensor *w, const void *pw, operation *op, int algorithm,
                                   void *space, size_t size, const float *beta, tensor *y,
                                   void *py) {
  misbehave("cudnnConvolutionForward");
  return run(FORWARD, op, x, px, w, pw, y, 0, algorithm, py);
}
EXPORT int cudnnConvolutionBackwardData(void *h, const float *alpha, tensor *w, const void *pw,
                                        tensor *y, const void *py, operation *op, int algorithm,
                                        void *space, size_t size, const float *beta, tensor *x,
                                        void *px) {
  misbehave("cudnnConvolutionBackwardData");
  return run(DATA, op, x, 0, w, pw, y, py, algorithm, px);
}
EXPORT int cudnnConvolutionBackwardFilter(void *h, const float *alpha, tensor *x, const void *px,
                                          tensor *y, const void *py, operation *op, int algorithm,
                                          void *space, size_t size, const float *beta, tensor *w,
                                          void *pw) {
  misbehave("cudnnConvolutionBackwardFilter");
  return run(FILTER, op, x, px, w, 0, y, py, algorithm, pw);
}
