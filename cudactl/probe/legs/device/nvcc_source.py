"""The program that the nvcc leg compiles for the GPU: a kernel, and a call of cuBLAS and of cuDNN.

Everything it computes is whole numbers, compared one by one. It prints "key=value" lines, and ends
with a status other than 0 only when a call fails; wrong numbers are counted, not judged.
"""

from __future__ import annotations

SOURCE = r"""
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#include <cuda_runtime.h>
#ifdef CUDACTL_LINK
#include <cublas_v2.h>
#include <cudnn.h>
#endif
#ifndef CUDACTL_SIMULATED_CUDA
#define RUN(blocks, threads, kernel, ...) kernel<<<blocks, threads>>>(__VA_ARGS__)
#endif
#define TRY(call) check((int)(call), #call)

static void check(int code, const char *call) {
  if (code == 0) return;
  std::printf("failed=%.*s\ncode=%d\n", (int)std::strcspn(call, "("), call, code);
  std::exit(2);
}

template <int ROUNDS>
__global__ void mix(const unsigned *in, unsigned *out, unsigned count, int *arch) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
#ifdef __CUDA_ARCH__
  if (i == 0) *arch = __CUDA_ARCH__;
#endif
  unsigned x = in[i];
  for (int round = 0; round < ROUNDS; round++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }
  out[i] = x + i;
}

template <class T> static T *on_gpu(const std::vector<T> &data) {
  T *memory = nullptr;
  TRY(cudaMalloc((void **)&memory, data.size() * sizeof(T)));
  TRY(cudaMemcpy(memory, data.data(), data.size() * sizeof(T), cudaMemcpyHostToDevice));
  return memory;
}

template <class T> static std::vector<T> from_gpu(const T *memory, size_t count) {
  std::vector<T> data(count);
  TRY(cudaDeviceSynchronize());
  TRY(cudaMemcpy(data.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost));
  return data;
}

template <class T> static void compare(const char *what, const std::vector<T> &found,
                                       const std::vector<T> &expected) {
  size_t wrong = 0, first = 0;
  for (size_t i = 0; i < expected.size(); i++)
    if (!(found[i] == expected[i]) && !wrong++) first = i;
  std::printf("%s_compared=%zu\n%s_wrong=%zu\n", what, expected.size(), what, wrong);
  if (wrong) std::printf("%s_first=%zu\n", what, first);
}

static void kernel() {
  const unsigned count = 1u << 18;
  std::vector<unsigned> in(count), expected(count), blank(count, ~0u);
  for (unsigned i = 0; i < count; i++) {
    unsigned x = in[i] = 2654435761u * (i + 1);
    for (int round = 0; round < 4; round++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }
    expected[i] = x + i;
  }
  unsigned *from = on_gpu(in), *to = on_gpu(blank);
  int *arch = on_gpu(std::vector<int>(1, 0));
  RUN(count / 256, 256, mix<4>, from, to, count, arch);
  TRY(cudaGetLastError());
  compare("kernel", from_gpu(to, count), expected);
  std::printf("arch=%d\n", from_gpu(arch, 1)[0]);
}

#ifdef CUDACTL_LINK
static unsigned seed = 2463534242u;
static float small() {  /* -2, -1, 1 or 2 */
  static const float values[] = {-2, -1, 1, 2};
  seed ^= seed << 13; seed ^= seed >> 17; seed ^= seed << 5;
  return values[seed >> 7 & 3];
}

static void gemm() {
  const int n = 64;
  std::vector<float> a(n * n), b(n * n), expected(n * n), blank(n * n, -1e9f);
  for (float &x : a) x = small();
  for (float &x : b) x = small();
  for (int row = 0; row < n; row++)
    for (int column = 0; column < n; column++) {
      float sum = 0;
      for (int k = 0; k < n; k++) sum += b[row * n + k] * a[column * n + k];
      expected[row * n + column] = sum;
    }
  float *x = on_gpu(a), *y = on_gpu(b), *d = on_gpu(blank), one = 1, zero = 0;
  cublasHandle_t blas;
  TRY(cublasCreate(&blas));
  TRY(cublasSgemm(blas, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, x, n, y, n, &zero, d, n));
  compare("gemm", from_gpu(d, n * n), expected);
}

static void convolution() {
  const int c = 8, h = 12, w = 10, k = 8;
  std::vector<float> x(c * h * w), f(k * c * 9), expected(k * h * w), blank(k * h * w, -1e9f);
  for (float &v : x) v = small();
  for (float &v : f) v = small();
  for (int o = 0; o < k; o++) for (int p = 0; p < h; p++) for (int q = 0; q < w; q++) {
    float sum = 0;
    for (int i = 0; i < c; i++) for (int r = 0; r < 3; r++) for (int s = 0; s < 3; s++) {
      int y = p + r - 1, z = q + s - 1;
      if (y >= 0 && y < h && z >= 0 && z < w)
        sum += x[(i * h + y) * w + z] * f[((o * c + i) * 3 + r) * 3 + s];
    }
    expected[(o * h + p) * w + q] = sum;
  }
  float *px = on_gpu(x), *pf = on_gpu(f), *py = on_gpu(blank), one = 1, zero = 0;
  cudnnHandle_t dnn;
  cudnnTensorDescriptor_t dx, dy;
  cudnnFilterDescriptor_t df;
  cudnnConvolutionDescriptor_t conv;
  TRY(cudnnCreate(&dnn));
  TRY(cudnnCreateTensorDescriptor(&dx));
  TRY(cudnnSetTensor4dDescriptor(dx, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, c, h, w));
  TRY(cudnnCreateTensorDescriptor(&dy));
  TRY(cudnnSetTensor4dDescriptor(dy, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, k, h, w));
  TRY(cudnnCreateFilterDescriptor(&df));
  TRY(cudnnSetFilter4dDescriptor(df, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, k, c, 3, 3));
  TRY(cudnnCreateConvolutionDescriptor(&conv));
  TRY(cudnnSetConvolution2dDescriptor(conv, 1, 1, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION,
                                      CUDNN_DATA_FLOAT));
  cudnnConvolutionFwdAlgo_t algorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
  size_t room = 0;
  TRY(cudnnGetConvolutionForwardWorkspaceSize(dnn, dx, df, conv, dy, algorithm, &room));
  void *space = nullptr;
  TRY(cudaMalloc(&space, room + 1));
  TRY(cudnnConvolutionForward(dnn, &one, dx, px, df, pf, conv, algorithm, space, room, &zero, dy,
                              py));
  compare("convolution", from_gpu(py, k * h * w), expected);
}
#endif

int main(int count, char **arguments) {
  int device = -1;
  char address[64] = "";
  if (count < 2) return 3;
  TRY(cudaDeviceGetByPCIBusId(&device, arguments[1]));
  TRY(cudaSetDevice(device));
  TRY(cudaDeviceGetPCIBusId(address, 64, device));
  std::printf("address=%s\n", address);
  kernel();
#ifdef CUDACTL_LINK
  gemm();
  convolution();
#endif
  std::FILE *maps = std::fopen("/proc/self/maps", "r");
  char line[4096];
  while (maps && std::fgets(line, sizeof line, maps)) std::printf("map=%s", line);
  std::printf("end=1\n");
  return 0;
}
"""
