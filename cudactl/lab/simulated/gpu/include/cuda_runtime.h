/* CUDACTL-SIMULATED-LIBRARY: enough of cudart for programs that the simulated nvcc compiles with the
   host's compiler. Kernels run on the processor, thread after thread. */
#ifndef CUDACTL_SIMULATED_CUDA
#define CUDACTL_SIMULATED_CUDA
#include <stddef.h>
extern "C" {
typedef enum { cudaSuccess = 0 } cudaError_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
cudaError_t cudaDeviceGetByPCIBusId(int *device, const char *address);
cudaError_t cudaDeviceGetPCIBusId(char *address, int room, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMalloc(void **memory, size_t size);
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, cudaMemcpyKind kind);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaGetLastError(void);
double cudactl_fault(const char *name);
int cudactl_architecture(void);
}
struct cudactl_place { unsigned x; };
static cudactl_place blockIdx, threadIdx, blockDim;
#define __global__
#define __CUDA_ARCH__ cudactl_architecture()
#define RUN(blocks, threads, kernel, ...)                                                          \
  do {                                                                                             \
    blockDim.x = threads;                                                                          \
    for (blockIdx.x = 0; blockIdx.x < (blocks); blockIdx.x++) {                                    \
      if (cudactl_fault("program.half") && blockIdx.x % 2) continue;                               \
      for (threadIdx.x = 0; threadIdx.x < (threads); threadIdx.x++) kernel(__VA_ARGS__);           \
    }                                                                                              \
  } while (0)
#endif
