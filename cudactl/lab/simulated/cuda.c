/* libcuda: the driver's library on a machine without GPU. number[0] is the CUDA version it brings. */
#include "mark.h"
#define NO_DEVICE 100
#define NOT_INITIALIZED 3
EXPORT int cuInit(unsigned flags) { (void)flags; return NO_DEVICE; }
EXPORT int cuDriverGetVersion(int *version) { *version = NUMBER(0); return SUCCESS; }
EXPORT int cuDeviceGetCount(int *count) { *count = 0; return NOT_INITIALIZED; }
EXPORT int cuGetErrorName(int error, const char **text) {
  *text = error == 0 ? "CUDA_SUCCESS" : error == 100 ? "CUDA_ERROR_NO_DEVICE"
        : error == 3 ? "CUDA_ERROR_NOT_INITIALIZED" : "CUDA_ERROR_UNKNOWN";
  return SUCCESS;
}
EXPORT int cuGetErrorString(int error, const char **text) {
  *text = error == 0 ? "no error" : error == 100 ? "no CUDA-capable device is detected"
        : error == 3 ? "initialization error" : "unknown error";
  return SUCCESS;
}
