/* libcudart: versions, and the answers of a machine without GPU. */
#include "mark.h"

/* The C library of the process brings these; weak, so that the file needs no C library itself. */
extern void *dlopen(const char *, int) __attribute__((weak));
extern void *dlsym(void *, const char *) __attribute__((weak));

static void *driver_function(const char *name) {
  void *driver = dlopen && dlsym ? dlopen("libcuda.so.1", 1) : 0;
  return driver ? dlsym(driver, name) : 0;
}

EXPORT int cudaRuntimeGetVersion(int *version) { *version = NUMBER(0); return SUCCESS; }

EXPORT int cudaDriverGetVersion(int *version) {
  int (*get)(int *) = (int (*)(int *))driver_function("cuDriverGetVersion");
  *version = 0;
  return get ? get(version) : SUCCESS;
}

/* 35 cudaErrorInsufficientDriver without a driver, 100 cudaErrorNoDevice without a GPU. */
EXPORT int cudaGetDeviceCount(int *count) {
  int (*init)(unsigned) = (int (*)(unsigned))driver_function("cuInit");
  int status = init ? init(0) : 35;
  *count = 0;
  return status ? status : 100;
}

EXPORT int cudaGetDevice(int *device) { return cudaGetDeviceCount(device); }
EXPORT int cudaSetDevice(int device) { int count; (void)device; return cudaGetDeviceCount(&count); }
EXPORT int cudaDeviceSynchronize(void) { int count; return cudaGetDeviceCount(&count); }
EXPORT int cudaMalloc(void **memory, unsigned long size) {
  int count; (void)size; *memory = 0; return cudaGetDeviceCount(&count);
}
EXPORT int cudaFree(void *memory) { int count; return memory ? cudaGetDeviceCount(&count) : SUCCESS; }
EXPORT int cudaGetLastError(void) { return SUCCESS; }

EXPORT const char *cudaGetErrorName(int error) {
  switch (error) {
    case 0: return "cudaSuccess";
    case 35: return "cudaErrorInsufficientDriver";
    case 100: return "cudaErrorNoDevice";
    default: return "unrecognized error code";
  }
}

EXPORT const char *cudaGetErrorString(int error) {
  switch (error) {
    case 0: return "no error";
    case 35: return "CUDA driver version is insufficient for CUDA runtime version";
    case 100: return "no CUDA-capable device is detected";
    default: return "unrecognized error code";
  }
}
