/* libcudart: memory is the host's, work is done when it is asked for, and time is the simulated
   GPU's own. Faults: cudart.no_device, cudart.out_of_memory, cudart.sync (its status),
   cudart.other_device, copy.flip_bit, copy.nothing, set.nothing. */
#include "clock.h"

enum { OK = 0, BAD = 1, NO_MEMORY = 2, NO_DEVICE = 100, BAD_DEVICE = 101 };
static double now_s;

EXPORT void cudactl_advance(double seconds) { now_s += seconds; }

EXPORT int cudaRuntimeGetVersion(int *version) {
  misbehave("cudaRuntimeGetVersion");
  *version = (int)conf_number("driver.cuda", 13000);
  return OK;
}
EXPORT int cudaDriverGetVersion(int *version) { return cudaRuntimeGetVersion(version); }
EXPORT int cudaGetDeviceCount(int *count) {
  misbehave("cudaGetDeviceCount");
  *count = fault("cudart.no_device") ? 0 : 1;
  return *count ? OK : NO_DEVICE;
}
EXPORT int cudaSetDevice(int device) {
  misbehave("cudaSetDevice");
  return device ? BAD_DEVICE : OK;
}
EXPORT int cudaGetDevice(int *device) { return *device = 0, OK; }
EXPORT int cudaDeviceGetByPCIBusId(int *device, const char *address) {
  misbehave("cudaDeviceGetByPCIBusId");
  if (fault("cudart.no_device")) return NO_DEVICE;
  if (strcasecmp(address, conf_text("gpu.address", ""))) return BAD;
  *device = 0;
  return OK;
}
EXPORT int cudaDeviceGetPCIBusId(char *address, int room, int device) {
  misbehave("cudaDeviceGetPCIBusId");
  if (device) return BAD_DEVICE;
  snprintf(address, room, "%s",
           fault("cudart.other_device") ? "0000:65:00.0" : conf_text("gpu.address", ""));
  return OK;
}
EXPORT int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  misbehave("cudaDeviceGetAttribute");
  const char *cc = conf_text("gpu.cc", "9.0");
  if (device) return BAD_DEVICE;
  if (attribute == 75) *value = atoi(cc);
  else if (attribute == 76) *value = atoi(strchr(cc, '.') + 1);
  else if (attribute == 16) *value = (int)conf_number("gpu.sm_count", 132);
  else return BAD;
  return OK;
}
EXPORT int cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  misbehave("cudaMemGetInfo");
  *total = *free_bytes = (size_t)conf_number("gpu.memory_bytes", 1e9);
  return OK;
}
EXPORT int cudaMalloc(void **memory, size_t size) {
  misbehave("cudaMalloc");
  if (fault("cudart.out_of_memory")) return NO_MEMORY;
  *memory = aligned_alloc(256, (size + 255) / 256 * 256 + 256);
  return *memory ? OK : NO_MEMORY;
}
EXPORT int cudaFree(void *memory) { return misbehave("cudaFree"), free(memory), OK; }
EXPORT int cudaMemset(void *memory, int byte, size_t size) {
  misbehave("cudaMemset");
  if (!fault("set.nothing")) memset(memory, byte, size);
  return OK;
}
EXPORT int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
  misbehave("cudaMemcpy");
  if (kind == 2 && fault("copy.nothing")) return OK;
  memmove(to, from, size);
  if (kind == 2 && size > 64 && fault("copy.flip_bit")) ((unsigned char *)to)[size / 2] ^= 4;
  return OK;
}
EXPORT int cudaDeviceSynchronize(void) {
  misbehave("cudaDeviceSynchronize");
  return (int)fault("cudart.sync");
}
EXPORT int cudaGetLastError(void) { return OK; }
EXPORT int cudaEventCreate(void **event) { return *event = calloc(1, sizeof(double)), OK; }
EXPORT int cudaEventDestroy(void *event) { return free(event), OK; }
EXPORT int cudaEventRecord(void *event, void *stream) {
  misbehave("cudaEventRecord");
  *(double *)event = now_s;
  return OK;
}
EXPORT int cudaEventSynchronize(void *event) {
  misbehave("cudaEventSynchronize");
  return (int)fault("cudart.sync");
}
EXPORT int cudaEventElapsedTime(float *milliseconds, void *start, void *stop) {
  misbehave("cudaEventElapsedTime");
  *milliseconds = (float)((*(double *)stop - *(double *)start) * 1e3);
  return OK;
}
EXPORT const char *cudaGetErrorString(int code) {
  switch (code) {
    case OK: return "no error";
    case BAD: return "invalid argument";
    case NO_MEMORY: return "out of memory";
    case NO_DEVICE: return "no CUDA-capable device is detected";
    case BAD_DEVICE: return "invalid device ordinal";
    case 700: return "an illegal memory access was encountered";
    case 214: return "uncorrectable ECC error encountered";
    default: return "unrecognized error code";
  }
}
EXPORT const char *cudaGetErrorName(int code) { return cudaGetErrorString(code); }

/* For programs that the simulated nvcc compiles. Fault program.architecture: the code that runs is
   another GPU's (its __CUDA_ARCH__). */
EXPORT double cudactl_fault(const char *name) { return fault(name); }
EXPORT int cudactl_architecture(void) {
  const char *cc = conf_text("gpu.cc", "9.0");
  int found = atoi(cc) * 100 + atoi(strchr(cc, '.') + 1) * 10;
  return fault("program.architecture") ? (int)fault("program.architecture") : found;
}
